"""A server of the release before this one, over the same database."""

import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from flask.testing import FlaskClient

from config import TestingConfig
from support.machines import call
from support.serving import ROOT, serving

Call = Callable[..., tuple[int, Any]]
AUDIENCE = TestingConfig.FORMER_AUDIENCE  # both releases accept it during an upgrade (docs/operations.md)
SCRIPTS = ScriptDirectory(ROOT / "migrations")


def git(*words: str) -> str:
    """The output of git about this checkout; empty if git fails."""
    run = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    return run.stdout.strip() if run.returncode == 0 else ""


def product(pyproject: str) -> str | None:
    """The name of the product in a pyproject.toml; None for an empty file."""
    name: str | None = tomllib.loads(pyproject).get("project", {}).get("name")
    return name


def release_before() -> str:
    """The newest tag before this commit; before the first release, the last commit with another schema."""
    if shutil.which("git") is None or git("rev-parse", "--show-toplevel") != str(ROOT):
        pytest.skip("no git history, which has the code of the release before")
    if git("rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("the git history is shallow, and lacks the code of the release before")
    before = git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^")
    if not before:
        newest = Path(SCRIPTS.get_revision("head").path).name
        added = git("log", "-1", "--diff-filter=A", "--format=%H", "--", f"migrations/versions/{newest}")
        before = f"{added}^" if added else "HEAD"  # not committed yet
    if product(git("show", f"{before}:pyproject.toml")) != product((ROOT / "pyproject.toml").read_text()):
        pytest.skip("the history of git has no earlier release with the name in pyproject.toml")
    return before


@pytest.fixture(scope="module")
def code_of_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the code of the release before."""
    folder = tmp_path_factory.mktemp("before")
    git("archive", "--format=zip", "--output", str(folder / "code.zip"), release_before())
    shutil.unpack_archive(folder / "code.zip", folder / "code")
    return folder / "code"


@pytest.fixture(scope="module")
def old(migrated: Flask, code_of_before: Path) -> Iterator[Call]:
    """Calls a server of the release before, over a database that this release has migrated."""
    shared = {name: migrated.config[name] for name in ("DATABASE_URL", "JWT_SECRET_KEY")}
    # Not /health/ready, because an old release may accept only its own schema.
    with (
        serving(code_of_before, "/health/live", APP_ENV="testing", JWT_AUDIENCE=AUDIENCE, **shared) as (port, _process),
        closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection,
    ):
        yield lambda *request, **headers: call(connection, *request, **headers)


@pytest.fixture
def new(another: Callable[..., Flask]) -> Call:
    """Calls this release, with the audience of the release before."""
    return calls(another(JWT_AUDIENCE=AUDIENCE).test_client())


def calls(client: FlaskClient) -> Call:
    """A function that calls this release, as `old` calls the other one."""

    def call_new(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        response = client.open(path, method=method, json=body, headers=headers)
        return response.status_code, response.json

    return call_new


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two releases show the same object, in the fields that both have."""
    shared = one.keys() & other.keys()
    return {"id"} < shared and all(one[name] == other[name] for name in shared)
