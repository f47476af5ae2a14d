"""The tables of the features' routes, in tests/features/<feature>/routes.py.

POLICY, by method and path: the body, then the response to each of CALLERS.  The body may be a function of the client
and the user.
EVENTS, by method and path: the security events of a success, where there are some, or a function of the caller.
STATEMENTS, by method and path: how many statements a success sends.
PATHS, by argument: a function of the client and the user that creates the object and returns the value.
"""

from collections.abc import Mapping
from pathlib import Path
from runpy import run_path
from typing import Any

from flask import Flask

from support import things

Route = tuple[str, str]  # method and rule
FEATURES = Path(__file__).parents[1] / "features"


def tables(name: str) -> dict[Any, Any]:
    """The rows of that name of all features."""
    found = [run_path(str(path)).get(name, {}) for path in sorted(FEATURES.glob("*/routes.py"))]
    return {route: row for table in (*found, getattr(things, name, {})) for route, row in table.items()}


# `user` owns the session, the account and the objects of the paths.
# `stale` is the same user with a token from a refresh.
# `admin` has a fresh token, and is the only administrator.
CALLERS = ("nobody", "user", "other", "admin", "refresh", "revoked", "stale")
MATRIX = tables("POLICY")


def routes(app: Flask) -> set[Route]:
    """Every method and path of the application, without the methods that Flask answers by itself."""
    return {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def filled_in(path: str, client: Any, user: Any) -> str:
    """The path with a value for each argument."""
    for argument, make in tables("PATHS").items():
        if argument in path:
            path = path.replace(argument, str(make(client, user)))
    assert "<" not in path, f"{path}: add the argument to PATHS in tests/features/<feature>/routes.py"
    return path


def assert_same(routes: set[Route], table: Mapping[Route, object], value: object) -> None:
    """Check that each route has a row, and each row a route.

    The failure shows the rows to add, with `value`, or the rows to remove.
    """
    missing = "".join(f"    {route}: {value},\n" for route in sorted(routes - table.keys()))
    stray = "".join(f"    {route}\n" for route in sorted(table.keys() - routes))
    assert not missing, f"add to tests/features/<feature>/routes.py:\n{missing}"
    assert not stray, f"no route has these rows:\n{stray}"
