"""The previous release works with the newest schema, beside this release."""

import re
import shutil
import subprocess
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path

import flask_migrate
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import BigInteger, Integer, SmallInteger, String, inspect

from app.data.base import db
from support.api import API, PASSWORD, bearer, make_admin
from support.machines import call
from support.serving import ROOT, serving

SCRIPTS = ScriptDirectory(ROOT / "migrations")
# The line that a migration which contracts must have in its docstring (docs/operations.md).
CONTRACTS = re.compile(r"^Contracts: .+, unused since \d+\.\d+\.\d+\.$", re.MULTILINE)


def git(*words):
    """The output of a git command, or an empty string if it fails."""
    run = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    return run.stdout.strip() if run.returncode == 0 else ""


def release_before():
    """The latest tag, or without one the commit before the last migration."""
    if shutil.which("git") is None or git("rev-parse", "--show-toplevel") != str(ROOT):
        pytest.skip("the previous release is in the git history, which is missing: is this a source archive?")
    if git("rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("the previous release is in the git history, which is incomplete in this shallow clone")
    if tag := git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^"):
        return tag
    newest = SCRIPTS.get_revision("head").path
    added = git("log", "-1", "--diff-filter=A", "--format=%H", "--", newest)
    return f"{added}^" if added else "HEAD"  # not committed yet


@pytest.fixture(scope="module")
def code_of_before(tmp_path_factory):
    """A folder with the code of the previous release."""
    folder = tmp_path_factory.mktemp("before")
    git("archive", "--format=zip", "--output", str(folder / "code.zip"), release_before())
    shutil.unpack_archive(folder / "code.zip", folder / "code")
    return folder / "code"


@pytest.fixture(scope="module")
def old(migrated, code_of_before):
    """Calls the previous release, on a database that this release has migrated."""
    shared = {name: migrated.config[name] for name in ("DATABASE_URL", "JWT_SECRET_KEY")}
    # Not /health/ready: a release from before 0004 knows only its own schema.
    with (
        serving(code_of_before, "/health/live", APP_ENV="testing", **shared) as (port, _process),
        closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection,
    ):
        yield lambda *request, **headers: call(connection, *request, **headers)


@pytest.fixture
def new(client):
    """Calls this release, with the arguments of `old`."""

    def call_new(method, path, body=None, **headers):
        response = client.open(path, method=method, json=body, headers=headers)
        return response.status_code, response.json

    return call_new


def same(one, other):
    """Whether two answers have the same values in their common fields."""
    shared = one.keys() & other.keys()
    return {"id"} < shared and all(one[name] == other[name] for name in shared)


class TestReleaseBefore:
    """`here` is the release that makes a change, `there` the other one."""

    def test_runs_beside_this_one(self, app, old, new):
        """On the newest schema, each release can use the other's sessions and items."""
        for name, here, there in (("grace", old, new), ("linus", new, old)):
            credentials = {"username": name, "password": PASSWORD}
            assert here("POST", f"{API}/auth/register", credentials)[0] == 201
            make_admin(app, name)
            self.follow_a_session(here, there, credentials)
            self.follow_an_item(here, there, credentials)

    def follow_a_session(self, here, there, credentials):
        """Both releases accept the tokens, and refuse them after the logout."""
        tokens = here("POST", f"{API}/auth/login", credentials)[1]
        for release in (here, there, here):
            status, renewed = release("POST", f"{API}/auth/refresh", **bearer(tokens["refresh_token"]))
            assert status == 200, renewed
            tokens |= renewed
            mine = here("GET", f"{API}/users/me", **bearer(tokens["access_token"]))[1]
            assert same(mine, there("GET", f"{API}/users/me", **bearer(tokens["access_token"]))[1])
        assert here("POST", f"{API}/auth/logout", **bearer(tokens["access_token"]))[0] == 200
        status, answer = there("GET", f"{API}/users/me", **bearer(tokens["access_token"]))
        assert (status, answer["error"]) == (401, "token_revoked")

    def follow_an_item(self, here, there, credentials):
        """Create, change, list and delete an item; the other release shows each change."""
        headers = bearer(here("POST", f"{API}/auth/login", credentials)[1]["access_token"])
        status, item = here("POST", f"{API}/items", {"name": "Lamp", "price": "19.90"}, **headers)
        path = f"{API}/items/{item.get('id')}"
        assert status == 201, item
        assert same(item, there("GET", path, **headers)[1])
        status, item = here("PATCH", path, {"name": "Läuchter", "description": "bright"}, **headers)
        assert (status, item["name"]) == (200, "Läuchter"), item
        for release in (here, there):
            [listed] = release("GET", f"{API}/items", **headers)[1]["items"]
            assert same(item, listed)
        assert here("DELETE", path, **headers)[0] == 200
        assert there("GET", path, **headers)[0] == 404


@dataclass
class Table:
    """The columns and constraints of a table."""

    columns: dict  # name → column, as SQLAlchemy reflects it
    rules: set  # (kind of constraint, its columns)

    def refused(self, after):
        """The actions that this table allows and the new one refuses."""
        for name, old in self.columns.items():
            new = after.columns.get(name)
            if new is None:
                yield f"{name} is gone"
            elif takes_less(old["type"], new["type"]):
                yield f"{name} takes less"
            elif old["nullable"] and not new["nullable"]:
                yield f"{name} must have a value"
        # The previous release inserts no value into a new column.
        added = after.columns.keys() - self.columns.keys()
        empty = {name for name in added if after.columns[name]["nullable"]}
        yield from (f"{name} must have a value" for name in added - empty if after.columns[name]["default"] is None)
        for rule, of in after.rules - self.rules:
            if not of & empty and not (rule.startswith("checked") and of <= added):
                yield f"{'+'.join(sorted(of))} must be {rule}"


def schema():
    """The tables of the database, by name."""
    inspector = inspect(db.engine)
    tables = {}
    for name in inspector.get_table_names():
        columns = {column["name"]: column for column in inspector.get_columns(name)}
        rules = {("unique", frozenset(key["column_names"])) for key in inspector.get_unique_constraints(name)}
        rules |= {("unique", frozenset(key["column_names"])) for key in inspector.get_indexes(name) if key["unique"]}
        rules |= {("a reference", frozenset(key["constrained_columns"])) for key in inspector.get_foreign_keys(name)}
        for check in inspector.get_check_constraints(name):
            text = re.sub(r"[`\"()]", "", check["sqltext"])
            rules.add((f"checked: {text}", frozenset(columns.keys() & set(text.split()))))
        tables[name] = Table(columns, rules)
    return tables


def refused(before, after):
    """The actions that the old schema allows and the new one refuses."""
    for name, table in before.items():
        if name in after:
            yield from (f"{name}.{what}" for what in table.refused(after[name]))
        else:
            yield f"{name} is gone"


def takes_less(old, new):
    sizes = (SmallInteger, Integer, BigInteger)
    if isinstance(old, String) and isinstance(new, String):
        return (new.length or 2**31) < (old.length or 2**31)
    if type(old) in sizes and type(new) in sizes:
        return sizes.index(type(new)) < sizes.index(type(old))
    return repr(old) != repr(new)


class TestMigrationsOnlyExpand:
    def test_each(self, empty):
        """Each migration without a `Contracts` line refuses nothing that the previous release does."""
        revisions = [script.revision for script in SCRIPTS.walk_revisions()][::-1]
        schemas = []
        for revision in revisions:
            flask_migrate.upgrade(revision=revision)
            schemas.append(schema())

        for revision, (before, after) in zip(revisions[1:], pairwise(schemas), strict=True):
            script = SCRIPTS.get_revision(revision)
            assert CONTRACTS.search(script.module.__doc__) or [*refused(before, after)] == [], script.path

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_the_comparison(self, empty, tmp_path):
        """The comparison finds each way of contracting, and nothing in additions."""
        copy = tmp_path / "migrations"
        shutil.copytree(ROOT / "migrations", copy)
        Path(copy / "versions" / "9999_bad.py").write_text(BAD.replace("HEAD", SCRIPTS.get_current_head()))
        flask_migrate.upgrade()
        before = schema()
        flask_migrate.upgrade(directory=str(copy))

        assert sorted(refused(before, schema())) == [
            "failed_logins is gone",
            "items.description takes less",
            "items.name_key+price must be unique",
            "items.price must be a reference",
            "items.price must be checked: price < 100",
            "items.shape must be unique",
            "items.shape must have a value",
            "sessions.ip_address is gone",
            "sessions.refresh_jti must have a value",
            "sessions.user_agent is gone",
            "users.password_version takes less",
        ]

    @pytest.mark.parametrize(
        ("docstring", "permitted"),
        [
            ("Drop it.\n\nContracts: items.colour, unused since 1.4.0.\n", True),
            ("Drop it.\n\nContracts: items.colour.\n", False),
            ("Drop items.colour, unused since 1.4.0.", False),
        ],
    )
    def test_the_contracts_line(self, docstring, permitted):
        """Only a complete `Contracts` line permits a contraction."""
        assert bool(CONTRACTS.search(docstring)) is permitted


BAD = '''"""Take away, one way each."""
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "HEAD"


def upgrade() -> None:
    op.drop_table("failed_logins")
    op.drop_column("sessions", "ip_address")
    op.execute("ALTER TABLE sessions RENAME COLUMN user_agent TO agent")
    with op.batch_alter_table("sessions") as sessions:
        sessions.alter_column("refresh_jti", nullable=False)
    with op.batch_alter_table("users") as users:
        users.alter_column("password_version", type_=sa.SmallInteger())
        users.alter_column("password_hash", type_=sa.String(300))
    with op.batch_alter_table("items", recreate="always") as items:
        items.alter_column("description", type_=sa.String(50))
        items.add_column(sa.Column("shape", sa.String(9), nullable=False))
        items.create_unique_constraint("uq_items_shape", ["shape"])
        items.create_check_constraint("ck_items_price_small", "price < 100")
        items.create_foreign_key("fk_items_price", "users", ["price"], ["id"])
        items.add_column(sa.Column("fine", sa.String(9)))
        items.create_unique_constraint("uq_items_fine_name", ["fine", "name"])
        items.add_column(sa.Column("good", sa.Integer(), nullable=False, server_default="7"))
        items.create_check_constraint("ck_items_good", "good > 0")
    op.create_index("ix_bad", "items", ["name_key", "price"], unique=True)
    op.create_index("ix_fine", "items", ["price", "name"])
    op.create_table("fine", sa.Column("id", sa.Integer(), primary_key=True))
'''
