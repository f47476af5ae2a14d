"""Connections, and single statements outside the session, on each database."""

import os
import time
from decimal import Decimal
from pathlib import Path
from shutil import copytree

import flask_migrate
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Index, String, Table, UniqueConstraint, create_engine, literal, select, text, update
from sqlalchemy.exc import IntegrityError

from app import create_app
from app.data import connections
from app.data.base import Base, db
from app.data.connections import POSTGRESQL_SETTINGS, BoundedConnection, database_url, engine_options
from app.data.errors import unique_or
from app.data.statements import insert, read, write
from app.users.models import User
from config import TestingConfig
from support.api import API, error
from support.databases import ALL, ENDINGS, absent
from support.statements import statements
from support.things import Thing

MIGRATIONS = Path(__file__).parents[2] / "migrations"
HEAD = ScriptDirectory(MIGRATIONS).get_current_head()


@pytest.mark.parametrize("kind", ALL)
def test_the_suite_runs_on_every_database(kind):
    """Every kind of database is present.  Skipped if not, except in CI."""
    reason = absent(kind)

    if reason and not os.environ.get("CI"):
        pytest.skip(reason)
    assert reason is None


@pytest.mark.parametrize(
    ("plain", "driver"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg"),
        ("postgresql://u:p@h/d", "postgresql+psycopg"),
        ("mysql://u:p@h/d", "mysql+pymysql"),
        ("mariadb://u:p@h/d", "mariadb+pymysql"),
        ("sqlite:///x.db", "sqlite"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg"),
    ],
)
def test_a_plain_url_gets_our_driver(plain, driver):
    """A URL without a driver gets ours, and nothing else of it changes."""
    url = database_url(plain)

    assert url.drivername == driver
    assert url.render_as_string(hide_password=False).partition("://")[2] == plain.partition("://")[2]


class TestSQLite:
    @pytest.fixture
    def connection(self, tmp_path):
        url = database_url(f"sqlite:///{tmp_path / 'x.db'}")
        engine = create_engine(url, **engine_options(url, threads=1))
        with engine.connect() as connection:
            yield connection
        engine.dispose()

    @pytest.mark.parametrize(
        ("pragma", "value"),
        [
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("busy_timeout", 5000),
            ("cache_size", -8000),
        ],
    )
    def test_pragmas(self, connection, pragma, value):
        """Each connection has WAL, durable commits, foreign keys, a busy timeout and a cache."""
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value

    def test_writers_begin_at_once(self, connection):
        """A transaction takes the write lock at its first write."""
        assert connection.connection.dbapi_connection.isolation_level == "IMMEDIATE"


class TestRead:
    def test_it_holds_no_connection(self, app):
        """A read returns its connection to the pool at once."""
        with app.app_context():
            assert read(select(literal(7)))[0][0] == 7
            assert db.engine.pool.checkedout() == 0

    def test_within_a_transaction_it_waits_for_no_second_connection(self, app):
        """Within a transaction, a read uses its connection and sees its changes."""
        with app.app_context():
            db.session.add(User(username="grace", password_hash="x"))
            db.session.flush()
            held = db.engine.pool.checkedout()

            assert [name for (name,) in read(select(User.username))] == ["grace"]
            assert db.engine.pool.checkedout() == held == 1
            db.session.rollback()

    def test_a_connection_that_the_server_has_ended_is_replaced(self, app):
        """The pool replaces dead connections before a read uses them."""
        with app.app_context():
            way = ENDINGS.get(db.engine.dialect.name)
            if way is None:
                pytest.skip("SQLite has no connection to lose")
            with db.engine.connect() as one, db.engine.connect() as other, db.engine.connect() as killer:
                ended = [connection.execute(text(way[0])).scalar_one() for connection in (one, other)]
                for connection in (one, other):
                    connection.rollback()
                for number in ended:
                    killer.execute(text(way[1].format(number)))
                killer.rollback()
            for _ in range(3):
                assert read(select(literal(7)))[0][0] == 7
                assert db.session.execute(text(way[0])).scalar_one() not in ended
                db.session.rollback()


class TestPostgreSQL:
    def connect_args(self, **more):
        return engine_options(database_url("postgresql://h/d"), threads=64, **more)["connect_args"]

    def test_a_connection_sets_its_timeouts(self):
        """A connection without a pooler sets timeouts and UTC, and prepares statements."""
        asked = self.connect_args()["options"]

        assert asked.count("-c ") == 4
        assert "-c statement_timeout=5s -c lock_timeout=3s" in asked
        assert "prepare_threshold" not in self.connect_args()

    def test_a_pooled_connection_has_no_state(self):
        """With a pooler, a connection sends no options and prepares no statements."""
        lent, own = self.connect_args(pooler=True), self.connect_args()

        assert lent.pop("prepare_threshold", 5) is None
        assert lent == {name: value for name, value in own.items() if name != "options"}

    def test_the_setting_says_so(self):
        """DATABASE_POOLER reaches the engine of the application."""
        config = TestingConfig()
        config.DATABASE_URL, config.DATABASE_POOLER = "postgresql://h/d", True

        assert create_app(config).config["SQLALCHEMY_ENGINE_OPTIONS"]["connect_args"]["prepare_threshold"] is None


class TestInsert:
    def test_it_is_committed_at_once(self, app):
        """An insert commits at once, and a later rollback does not undo it."""
        with app.app_context():
            user = insert(User, username="grace", password_hash="x")
            assert db.engine.pool.checkedout() == 0
            db.session.rollback()

            assert db.session.scalar(select(User.id)) == user.id

    def test_after_a_read_it_is_committed_too(self, app):
        """An insert after a read commits too, because a read begins no transaction."""
        with app.app_context():
            assert read(select(literal(7)))[0][0] == 7
            insert(User, username="grace", password_hash="x")
            db.session.rollback()

            assert db.session.scalar(select(User.username)) == "grace"

    def test_the_row_is_as_the_database_has_it(self, app):
        """The object has its defaults and derived columns without a second statement."""
        with app.app_context(), statements(app) as sent:
            made = insert(User, username="Grace", password_hash="x")
            shown = {column.key: getattr(made, column.key) for column in User.__table__.c}
            assert len(sent) == 1
            stored = db.session.execute(select(*User.__table__.c)).one()

            assert shown == stored._asdict()
            assert made.username_key == "grace"
            assert made.password_version == 0

    def test_a_column_without_a_value_is_null(self, app):
        """An optional column that was left out is None in the object."""
        with app.app_context():
            item = insert(Thing, name="Lamp", price=Decimal(1))

            assert (item.description, item.owner_id) == (None, None)

    def test_the_row_can_be_changed_later(self, app):
        """An object that is added to the session later is updated."""
        with app.app_context():
            user = insert(User, username="grace", password_hash="x")
            db.session.add(user)
            user.username = "ada"
            db.session.commit()

            assert db.session.scalars(select(User.username)).all() == ["ada"]

    @pytest.mark.parametrize("read_first", [False, True])
    @pytest.mark.parametrize("begin", ["flush", "add", "execute"])
    def test_within_a_transaction_it_is_part_of_it(self, app, begin, read_first):
        """Within a transaction, a rollback undoes the insert."""
        with app.app_context():
            if read_first:
                read(select(literal(7)))
            if begin == "execute":
                db.session.execute(update(User).values(is_admin=True))
            else:
                db.session.add(User(username="ada", password_hash="x"))
            if begin == "flush":
                db.session.flush()

            assert insert(User, username="grace", password_hash="x").id > 0
            db.session.rollback()

            assert db.session.scalars(select(User.username)).all() == []

    def test_a_taken_name_changes_nothing(self, app):
        """After a conflict no connection is held, and the next insert works."""
        with app.app_context():
            insert(User, username="grace", password_hash="x")
            with pytest.raises(IntegrityError):
                insert(User, username="grace", password_hash="x")
            db.session.rollback()

            assert db.engine.pool.checkedout() == 0
            assert insert(User, username="ada", password_hash="x").id > 0


class TestWriteAlone:
    def test_a_rollback_does_not_undo_it(self, app):
        """A write with `alone` commits at once; a later rollback does not undo it."""
        with app.app_context():
            insert(User, username="grace", password_hash="x")

            assert write(update(User).values(username="ada"), alone=True) == 1
            assert db.engine.pool.checkedout() == 0
            db.session.rollback()

            assert db.session.scalar(select(User.username)) == "ada"

    def test_within_a_transaction_it_is_part_of_it(self, app):
        """Within a transaction, a write with `alone` is undone by a rollback."""
        with app.app_context():
            db.session.add(User(username="grace", password_hash="x"))
            db.session.flush()

            assert write(update(User).values(username="ada"), alone=True) == 1
            db.session.rollback()

            assert db.session.scalar(select(User.username)) is None


class TestUniqueOr:
    @pytest.fixture
    def samples(self, app):
        """A table with several unique constraints and one row."""
        samples = Table(
            "samples",
            Base.metadata,
            *(Column(name, String(40)) for name in ("one", "two", "three", "four")),
            UniqueConstraint("one"),
            UniqueConstraint("two", "three"),
            Index(None, "four", unique=True),
        )
        with app.app_context():
            samples.create(db.engine)
            db.session.execute(samples.insert().values(one="1", two="2", three="3", four="4"))
            db.session.commit()
            yield samples
            db.session.rollback()
            samples.drop(db.engine)
        Base.metadata.remove(samples)

    @pytest.mark.parametrize(
        ("row", "name"),
        [
            ({"one": "1"}, "uq_samples_one"),
            ({"two": "2", "three": "3"}, "uq_samples_two_three"),
            ({"four": "4"}, "ix_samples_four"),
        ],
    )
    def test_each_constraint_has_its_own_conflict(self, samples, row, name):
        """Every database raises the conflict of the violated constraint."""
        names = ("uq_samples_one", "uq_samples_two_three", "ix_samples_four")

        with pytest.raises(LookupError, match=f"^{name}$"), unique_or({name: LookupError(name) for name in names}):
            db.session.execute(samples.insert().values(**row))

    def test_a_text_cannot_name_another_constraint(self, samples):
        """A value that looks like a constraint's name does not change the conflict."""
        row = {"one": "' for key 'ix_samples_four'"}
        db.session.execute(samples.insert().values(**row))

        with pytest.raises(LookupError), unique_or({"uq_samples_one": LookupError()}):
            db.session.execute(samples.insert().values(**row))

    def test_a_constraint_without_a_conflict(self, samples):
        """A constraint without a conflict raises IntegrityError."""
        with pytest.raises(IntegrityError), unique_or({"uq_samples_one": LookupError()}):
            db.session.execute(samples.insert().values(four="4"))

    def test_one_conflict_for_all(self, samples):
        """Without names, every unique constraint has the same conflict."""
        with pytest.raises(LookupError), unique_or(LookupError()):
            db.session.execute(samples.insert().values(four="4"))


RUNAWAY = {
    "sqlite": "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT count(*) FROM generate_series(1, 1000000000000)",
    "mysql": "SELECT count(*) FROM seq_1_to_1000000 a JOIN seq_1_to_1000000 b WHERE a.seq * b.seq % 7 = 3",
}


class TestStatementTime:
    """No statement of a request runs on and on."""

    @pytest.fixture
    def impatient(self, app, another, monkeypatch):
        """An application whose statements may take a fifth of a second, with a view that sends an endless one."""
        monkeypatch.setattr(BoundedConnection, "seconds", 0.2)
        monkeypatch.setitem(POSTGRESQL_SETTINGS, "statement_timeout", "200ms")
        monkeypatch.setattr(connections, "MARIADB_SECONDS", 0.2)
        impatient = another()

        @impatient.get("/runaway")
        def runaway():
            return str(db.session.execute(text(RUNAWAY[db.engine.dialect.name])).scalar_one())

        return impatient

    def test_a_runaway_statement_ends(self, impatient):
        """A statement without an end gets 503 on every database, and the next request is served."""
        began = time.monotonic()
        response = impatient.test_client().get("/runaway")

        assert error(response) == (503, "database_unavailable")
        assert time.monotonic() - began < 3
        assert impatient.test_client().get(f"{API}/things").status_code == 200

    def test_a_migration_has_no_limit(self, empty, monkeypatch, tmp_path):
        """A statement of a migration may take longer than one of a request."""
        monkeypatch.setattr(BoundedConnection, "seconds", 0.1)
        script = copytree(MIGRATIONS, tmp_path / "migrations") / "versions" / "9999_slow.py"
        script.write_text(SLOW.replace("HEAD", HEAD))

        flask_migrate.upgrade(directory=str(tmp_path / "migrations"))

        with db.engine.connect() as connection:
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


SLOW = '''"""Take longer than a request may."""
from alembic import op

revision = "9999"
down_revision = "HEAD"
WAITS = {
    "sqlite": (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000) SELECT count(*) FROM n"
    ),
    "postgresql": "SELECT pg_sleep(5.2)",
    "mysql": "SELECT SLEEP(5.2)",
    "mariadb": "SELECT SLEEP(5.2)",
}


def upgrade() -> None:
    op.execute(WAITS[op.get_context().dialect.name])
'''
