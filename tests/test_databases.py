"""Which databases this run is about."""

import os

import pytest
from databases import ALL, absent
from sqlalchemy import create_engine

from app.database import database_url, engine_options


@pytest.mark.parametrize("kind", ALL)
def test_the_suite_runs_on_every_database(kind):
    """A database that is not there is skipped on your machine, and a failure in CI."""
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
def test_the_driver_is_ours_to_choose(plain, driver):
    """A plain spelling gets our driver, and nothing else of the URL changes."""
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
        ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5000)]
    )
    def test_is_set_up_to_keep_what_it_acknowledged(self, connection, pragma, value):
        """Write-ahead log, full synchronisation, foreign keys, and patience with a lock."""
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value

    def test_writers_begin_at_once(self, connection):
        """The first write of a transaction takes the write lock, not its commit."""
        assert connection.connection.dbapi_connection.isolation_level == "IMMEDIATE"
