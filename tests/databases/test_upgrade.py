"""The previous release works with the newest schema, beside this release."""

import os
import re
import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import flask_migrate
import pytest
from sqlalchemy import BigInteger, Integer, SmallInteger, String, inspect

from app.data.base import db
from support import releases
from support.api import API, PASSWORD, bearer, me, refresh
from support.releases import SCRIPTS, git, release_before, same
from support.serving import ROOT

# What the docstring of a migration must say that takes something away (docs/operations.md).
CONTRACTS = re.compile(r"^Contracts: .+, unused since \d+\.\d+\.\d+\.$", re.MULTILINE)


class TestReleaseBefore:
    """`here` is the release that does something, `there` is the other one."""

    def test_runs_beside_this_one(self, old, new):
        """A session of one release is a session of the other, on the schema of this one."""
        for name, here, there in (("grace", old, new), ("linus", new, old)):
            credentials = {"username": name, "password": PASSWORD}
            assert here("POST", f"{API}/auth/register", credentials)[0] == 201
            self.follow_a_session(here, there, credentials)

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

    def test_its_tokens_after_the_upgrade(self, old, client):
        """This release accepts the tokens of the release before without any setting, and renews them."""
        credentials = {"username": "ada", "password": PASSWORD}
        assert old("POST", f"{API}/auth/register", credentials)[0] == 201
        tokens = old("POST", f"{API}/auth/login", credentials)[1]

        assert me(client, tokens["access_token"]).status_code == 200
        renewed = refresh(client, tokens["refresh_token"])

        assert renewed.status_code == 200
        assert me(client, renewed.json["access_token"]).status_code == 200


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
class TestWhichRelease:
    @pytest.fixture
    def commit(self, tmp_path, monkeypatch):
        """Commits the schema under the name of a product, in an empty repository."""
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        monkeypatch.setattr(releases, "ROOT", tmp_path)
        git("init")
        schema = tmp_path / "migrations" / "versions" / Path(SCRIPTS.get_revision("head").path).name
        schema.parent.mkdir(parents=True)
        schema.touch()

        def commit(name):
            (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
            git("add", ".")
            identity = ("-c", "user.name=Grace", "-c", "user.email=grace@example.com")
            assert git(*identity, "commit", "--allow-empty", "--message", name)

        return commit

    def test_the_newest_tag(self, commit):
        """The release before is the newest tag before this commit."""
        for version in ("v1.0.0", "v1.1.0"):
            commit("shop")
            git("tag", version)
        commit("shop")

        assert release_before() == "v1.1.0"

    def test_a_renamed_product(self, commit):
        """The first release after a rename is not compared with the releases of the other name."""
        commit("shop")
        git("tag", "v1.0.0")
        commit("market")
        with pytest.raises(pytest.skip.Exception, match="no earlier release"):
            release_before()

        git("tag", "v2.0.0")
        commit("market")
        assert release_before() == "v2.0.0"

    def test_a_new_history(self, commit):
        """A history that starts with today's schema has no release before."""
        commit("shop")

        with pytest.raises(pytest.skip.Exception, match="no earlier release"):
            release_before()


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
            "sessions.ip_address is gone",
            "sessions.refresh_jti must have a value",
            "sessions.user_agent is gone",
            "users.created_at+is_admin must be unique",
            "users.id must be a reference",
            "users.id must be checked: id < 100",
            "users.password_version takes less",
            "users.shape must be unique",
            "users.shape must have a value",
            "users.username takes less",
        ]

    @pytest.mark.parametrize(
        ("docstring", "permitted"),
        [
            ("Drop it.\n\nContracts: users.colour, unused since 1.4.0.\n", True),
            ("Drop it.\n\nContracts: users.colour.\n", False),
            ("Drop users.colour, unused since 1.4.0.", False),
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
    with op.batch_alter_table("users", recreate="always") as users:
        users.alter_column("username", type_=sa.String(5))
        users.add_column(sa.Column("shape", sa.String(9), nullable=False))
        users.create_unique_constraint("uq_users_shape", ["shape"])
        users.create_check_constraint("ck_users_id_small", "id < 100")
        users.create_foreign_key("fk_users_id", "sessions", ["id"], ["id"])
        users.add_column(sa.Column("fine", sa.String(9)))
        users.create_unique_constraint("uq_users_fine_username", ["fine", "username"])
        users.add_column(sa.Column("good", sa.Integer(), nullable=False, server_default="7"))
        users.create_check_constraint("ck_users_good", "good > 0")
    op.create_index("ix_bad", "users", ["created_at", "is_admin"], unique=True)
    op.create_index("ix_fine", "users", ["is_admin", "username"])
    op.create_table("fine", sa.Column("id", sa.Integer(), primary_key=True))
'''
