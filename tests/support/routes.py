"""What each feature says of its routes, out of tests/features/*/routes.py."""

from pathlib import Path
from runpy import run_path

FEATURES = Path(__file__).parents[1] / "features"


def tables(name):
    """The rows of that name of all features."""
    found = [run_path(str(path))[name] for path in sorted(FEATURES.glob("*/routes.py"))]
    return {route: row for table in found for route, row in table.items()}


def assert_same(routes, table, value):
    """Fail with the lines to paste, and with those to remove."""
    missing = "".join(f"    {route}: {value},\n" for route in sorted(routes - table.keys()))
    stray = "".join(f"    {route}\n" for route in sorted(table.keys() - routes))
    assert not missing, f"add to tests/features/<feature>/routes.py:\n{missing}"
    assert not stray, f"no route has these rows:\n{stray}"
