"""Requests delete expired rows, and do not fail because of it."""

import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from itertools import repeat
from uuid import UUID

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

import config
from app.auth import routes
from app.auth.models import MAX_LEEWAY, RevokedToken, Session
from app.data import expiry
from app.data.base import Base, db
from app.data.connections import short_lock_waits
from app.data.expiry import PRUNE_SOME, expired_batches, expiry_columns, prune_some
from app.data.types import utcnow
from app.idempotency.models import IdempotencyKey
from support.api import API, PASSWORD, count, error, log_in, refresh
from support.statements import statements

DAYS = [timedelta(days=number) for number in range(60, 64)]
LOCKS = {
    "postgresql": "LOCK TABLE idempotency_keys IN SHARE MODE",  # as a plain CREATE INDEX takes
    "mysql": "LOCK TABLES idempotency_keys READ",
    "mariadb": "LOCK TABLES idempotency_keys READ",
    "sqlite": "BEGIN IMMEDIATE",
}
# The query for the lock timeout of a connection.
PATIENCE = {
    "postgresql": "SHOW lock_timeout",
    "mysql": "SELECT @@session.lock_wait_timeout",
    "mariadb": "SELECT @@session.lock_wait_timeout",
    "sqlite": "PRAGMA busy_timeout",
}


def add_revoked(*ages):
    db.session.add_all(RevokedToken(jti=UUID(int=age.days), expires_at=utcnow() - age) for age in ages)
    db.session.commit()


@pytest.fixture
def dialect(app):
    with app.app_context():
        return db.engine.dialect.name


@pytest.fixture
def always(monkeypatch):
    """Every call of `prune_some` deletes, not only the first in a second."""
    monkeypatch.setattr(expiry, "PRUNE_EVERY", timedelta(0))


@pytest.fixture
def expired(app, user):
    """An expired row in `idempotency_keys`."""
    with app.app_context():
        row = IdempotencyKey(key="old", user_id=user.id, fingerprint="", expires_at=utcnow() - timedelta(days=1))
        db.session.add(row)
        db.session.commit()


@contextmanager
def locked(app):
    """Another connection holds the lock that pruning needs.  On SQLite the request needs the same lock."""
    with app.app_context():
        engine = create_engine(db.engine.url)
    if engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(engine.url.database)) as connection:
            connection.execute(LOCKS["sqlite"])
            yield
    else:
        with engine.connect() as connection:
            connection.exec_driver_sql(LOCKS[engine.dialect.name])
            yield
            connection.invalidate()
    engine.dispose()


@pytest.mark.usefixtures("always", "expired")
class TestLocked:
    @pytest.fixture(autouse=True)
    def _locked(self, app, dialect, expired, monkeypatch):
        """Lock for the whole test, but on SQLite only while pruning."""
        if dialect == "sqlite":

            def prune_locked():
                with locked(app):
                    prune_some()

            monkeypatch.setattr(routes, "prune_some", prune_locked)
            yield
        else:
            with locked(app):
                yield

    def test_a_login_is_answered(self, app, client, user, caplog):
        """During a lock, a login succeeds within a second and logs one warning."""
        began = time.perf_counter()
        log_in(client, user.username)

        assert time.perf_counter() - began < 1
        assert [line for line in caplog.messages if "Expired" in line] == [
            "Expired rows could not be deleted: OperationalError"
        ]

    def test_a_refresh_is_answered(self, client, user):
        """During a lock, each refresh succeeds within a second."""
        token = user.refresh_token
        for _ in range(3):
            began = time.perf_counter()
            response = refresh(client, token)

            assert response.status_code == 200
            assert time.perf_counter() - began < 1
            token = response.json["refresh_token"]


@pytest.mark.usefixtures("always")
class TestPruneSome:
    def test_a_failure_changes_no_answer(self, client, user, monkeypatch, caplog):
        """If pruning fails, the answers do not change, and each logs one warning."""

        def fail(*_args):
            raise OperationalError("DELETE", {}, Exception("gone"))

        monkeypatch.setattr(expiry, "_delete_expired", fail)
        log_in(client, user.username)
        assert refresh(client, user.refresh_token).status_code == 200
        wrong = {"username": user.username, "password": PASSWORD + "!"}
        assert error(client.post(f"{API}/auth/login", json=wrong)) == (401, "invalid_credentials")

        assert caplog.text.count("Expired rows could not be deleted: OperationalError") == 3

    @pytest.mark.parametrize("fails", [False, True])
    def test_a_connection_waits_as_before(self, app, dialect, fails):
        """A connection gets its previous lock timeout back, also after an error."""
        with app.app_context(), db.engine.connect() as connection:
            before = connection.exec_driver_sql(PATIENCE[dialect]).scalar_one()
            connection.rollback()
            with suppress(SQLAlchemyError), short_lock_waits(connection):
                assert connection.exec_driver_sql(PATIENCE[dialect]).scalar_one() != before
                if fails:
                    connection.exec_driver_sql("SELECT nothing FROM nowhere")
            connection.rollback()

            assert connection.exec_driver_sql(PATIENCE[dialect]).scalar_one() == before

    def test_does_nothing_within_a_transaction(self, app):
        """Within a transaction, pruning does nothing."""
        with app.app_context():
            db.session.execute(select(1))
            with statements(app) as sent:
                prune_some()
            assert sent == []

            db.session.rollback()
            with statements(app) as sent:
                prune_some()
            assert sent

    def test_once_a_second(self, app, monkeypatch):
        """A process prunes at most once per second."""
        monkeypatch.setattr(expiry, "PRUNE_EVERY", timedelta(seconds=1))
        with app.app_context():
            add_revoked(DAYS[0])
            app.extensions.pop("expiry", None)
            prune_some()
            assert count(app, RevokedToken) == 0
            add_revoked(DAYS[1])
            prune_some()
            assert count(app, RevokedToken) == 1

    def test_deletes_more_than_was_added(self, app, monkeypatch):
        """The limit grows with the number of added rows."""
        with app.app_context():
            add_revoked(*(timedelta(days=60 + number) for number in range(PRUNE_SOME + 8)))
            monkeypatch.setattr(expiry, "PRUNE_EVERY", timedelta.max)
            app.extensions.pop("expiry", None)
            for _ in range(3):
                prune_some()
            monkeypatch.setattr(expiry, "PRUNE_EVERY", timedelta(0))
            prune_some()
        assert count(app, RevokedToken) == 0

    def test_deletes_no_more_than_its_limit(self, app, monkeypatch):
        """One call deletes at most PRUNE_MOST rows; the next call deletes more."""
        monkeypatch.setattr(expiry, "PRUNE_MOST", 2)
        with app.app_context():
            add_revoked(*DAYS)
            prune_some()
            assert count(app, RevokedToken) == len(DAYS) - 2
            prune_some()
        assert count(app, RevokedToken) == len(DAYS) - 4

    def test_idempotent_requests_prune(self, app, client, user, expired):
        """Clients that never log in again keep no expired key."""
        headers = user.headers | {"Idempotency-Key": "new"}
        assert client.post(f"{API}/things", headers=headers, json={"name": "Lamp", "price": "1"}).status_code == 201

        with app.app_context():
            assert db.session.scalars(select(IdempotencyKey.key)).one() != "old"


class TestBatches:
    def test_start_where_the_last_one_ended(self, app):
        """A batch starts where the last one ended."""
        with app.app_context():
            add_revoked(*DAYS[:3])
            batches = expired_batches(repeat(2))
            with statements(app) as sent:
                assert next(batches) == 2
                add_revoked(DAYS[3])  # expired before all of them
                assert next(batches) == 1
                assert next(batches) == 1
                assert list(batches) == []
            ages = [text for text in sent if "SELECT" in text and "FROM revoked_tokens" in text]
            assert [text.count("expires_at >=") for text in ages] == [0, 1, 1, 0, 1, 0]

    def test_leave_what_expires_meanwhile(self, app, user):
        """Rows that expire after the start stay, so that the batches end."""
        with app.app_context():
            add_revoked(*DAYS[:2])
            batches = expired_batches(repeat(1))
            assert next(batches) == 1
            db.session.add(Session(user_id=user.id, expires_at=utcnow() - MAX_LEEWAY))
            db.session.commit()

            assert list(batches) == [1]
        assert count(app, Session) == 2


def test_every_table_that_expires_has_what_pruning_needs():
    """Every table with `expires_at` is pruned and has the necessary keys."""
    columns = expiry_columns()

    assert {column.table.name for column in columns} >= {"sessions", "revoked_tokens", "failed_logins"}
    expire = {table.c.expires_at for table in Base.metadata.sorted_tables if "expires_at" in table.c}
    assert set(columns) == expire | {Session.__table__.c.last_used_at}
    for column in columns:
        assert len(column.table.primary_key) == 1
        assert any(index.columns[0] is column for index in column.table.indexes)


def test_no_token_outlives_its_row():
    """The tables keep expired rows for the maximum of JWT_LEEWAY."""
    [leeway] = config.Config.__annotations__["JWT_LEEWAY"].__metadata__

    assert timedelta(seconds=leeway.max) == MAX_LEEWAY
