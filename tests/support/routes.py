"""The tables of routes in tests/features/*/routes.py."""

from collections.abc import Mapping
from pathlib import Path
from runpy import run_path
from typing import Any

FEATURES = Path(__file__).parents[1] / "features"

Route = tuple[str, str]  # method and rule


def tables(name: str) -> dict[Route, Any]:
    """Merge the tables of this name of all features."""
    found = [run_path(str(path))[name] for path in sorted(FEATURES.glob("*/routes.py"))]
    return {route: row for table in found for route, row in table.items()}


def assert_same(routes: set[Route], table: Mapping[Route, object], value: object) -> None:
    """Check that each route has a row, and each row a route.

    The failure shows the rows to add, with `value`, or the rows to remove.
    """
    missing = "".join(f"    {route}: {value},\n" for route in sorted(routes - table.keys()))
    stray = "".join(f"    {route}\n" for route in sorted(table.keys() - routes))
    assert not missing, f"add to tests/features/<feature>/routes.py:\n{missing}"
    assert not stray, f"no route has these rows:\n{stray}"
