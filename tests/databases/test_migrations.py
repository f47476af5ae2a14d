"""Migrations up and down, constraints and column types."""

import subprocess
import uuid
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from shutil import copytree

import flask_migrate
import pytest
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, UniqueConstraint, delete, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, StatementError

from app.auth.models import Session
from app.data.base import Base, db
from app.data.errors import is_unavailable
from app.data.types import utcnow
from app.users.models import User
from support.api import API, PASSWORD, error
from support.databases import at_version
from support.serving import BIN, ROOT, environment
from support.things import Thing

MIGRATIONS = Path(__file__).parents[2] / "migrations"
TABLES = set(Base.metadata.tables)
HEAD = ScriptDirectory(MIGRATIONS).get_current_head()


def test_there_is_one_head():
    """The migrations have one head, also after a merge of branches."""
    assert len(ScriptDirectory(MIGRATIONS).get_heads()) == 1


def tables():
    db.engine.dispose()
    every = set(inspect(db.engine).get_table_names()) - {"alembic_version", "sqlite_sequence"}
    return {name for name in every if not name.startswith("search_")}  # SQLite's indexes of the searches


class TestMigrations:
    def test_up_and_down_and_up_again(self, empty):
        """Upgrades create every table, and a downgrade to base drops every table."""
        flask_migrate.upgrade()
        assert tables() == TABLES
        flask_migrate.downgrade(revision="base")
        assert tables() == set()
        flask_migrate.upgrade()
        assert tables() == TABLES

    def test_match_the_models(self, empty):
        """`flask db check` finds no difference."""
        flask_migrate.upgrade()

        flask_migrate.check()

    def test_a_generated_migration_runs(self, empty, tmp_path):
        """A generated migration imports nothing from app and creates the models' schema."""
        copy = tmp_path / "migrations"
        copytree(MIGRATIONS, copy)
        for version in (copy / "versions").glob("*.py"):
            version.unlink()

        flask_migrate.revision(directory=str(copy), autogenerate=True, rev_id="0001", message="everything")
        script = next((copy / "versions").glob("*.py")).read_text()
        flask_migrate.upgrade(directory=str(copy))

        assert "import app" not in script
        assert "from app" not in script
        assert tables() == TABLES
        flask_migrate.check(directory=str(copy))

    def test_a_failing_migration_leaves_nothing_half_done(self, empty, tmp_path):
        """A failed migration is rolled back, or on MariaDB not recorded as done."""
        copy = tmp_path / "migrations"
        copytree(MIGRATIONS, copy)
        (copy / "versions" / "9999_broken.py").write_text(BROKEN.replace("HEAD", HEAD))

        with pytest.raises(DBAPIError):
            flask_migrate.upgrade(directory=str(copy))

        # SQLite rolls back the whole run, PostgreSQL the failed migration, MariaDB nothing.
        done = {"sqlite": (), "postgresql": (HEAD,), "mysql": (HEAD,)}[db.engine.dialect.name]
        with db.engine.connect() as connection:
            assert MigrationContext.configure(connection).get_current_heads() == done
        left = {"half_done"} if db.engine.dialect.name == "mysql" else set()
        assert tables() == (TABLES if done else set()) | left
        flask_migrate.upgrade()
        assert tables() == TABLES | left

    def test_two_jobs_at_once_do_no_harm(self, empty):
        """Two parallel jobs both succeed, and the schema is complete."""
        command = [BIN / "flask", "db", "upgrade"]
        env = environment(DATABASE_URL=empty.config["DATABASE_URL"], APP_ENV="testing")
        jobs = [
            subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2)
        ]
        said = [job.communicate(timeout=120)[0] for job in jobs]

        assert [job.returncode for job in jobs] == [0, 0], said
        assert tables() == TABLES
        flask_migrate.check()

    def test_on_a_newer_schema(self, empty, capsys):
        """On the schema of a newer release, `flask db upgrade` succeeds and does nothing."""
        flask_migrate.upgrade()
        with at_version(empty, "9999"):
            flask_migrate.upgrade()
            with db.engine.connect() as connection:
                assert MigrationContext.configure(connection).get_current_heads() == ("9999",)
            with pytest.raises(SystemExit):  # only the newer release can downgrade
                flask_migrate.downgrade()

        assert "nothing to do" in capsys.readouterr().out
        assert tables() == TABLES

    def test_refuse_a_pooler(self, empty, caplog):
        """With DATABASE_POOLER no migration runs, because a pooled connection would keep the lock."""
        empty.config["DATABASE_POOLER"] = True

        with pytest.raises(SystemExit):
            flask_migrate.upgrade()

        assert "DATABASE_POOLER=false DATABASE_URL=" in caplog.text
        assert tables() == set()

    def test_without_the_tables_it_is_the_databases_fault(self, empty):
        """A request that needs a table which is not there gets 503, on every database."""
        client = empty.test_client()

        assert error(client.get("/health/ready")) == (503, "database_unavailable")
        credentials = {"username": "grace", "password": PASSWORD}
        assert error(client.post(f"{API}/auth/login", json=credentials)) == (503, "database_unavailable")

    def test_sql_can_be_written_instead_of_run(self, empty, capsys):
        """`flask db upgrade --sql` prints the SQL."""
        flask_migrate.upgrade(sql=True)

        assert "CREATE TABLE users" in capsys.readouterr().out

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_a_rebuilt_table_keeps_autoincrement(self, empty, tmp_path):
        """A batch migration on SQLite keeps AUTOINCREMENT and the triggers, up and down."""
        triggers = text("SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'users'")
        copy = tmp_path / "migrations"
        copytree(MIGRATIONS, copy)
        (copy / "versions" / "9999_email.py").write_text(EMAIL.replace("HEAD", HEAD))

        for migrate in (flask_migrate.upgrade, flask_migrate.downgrade):
            migrate(directory=str(copy))
            assert "AUTOINCREMENT" in table_sql("users")
            with db.engine.connect() as connection:
                assert connection.execute(triggers).scalar_one() == 3
        flask_migrate.check()

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_a_lost_autoincrement_is_found_and_repaired(self, empty, tmp_path, caplog):
        """`flask db check` finds a lost AUTOINCREMENT, and `flask db migrate` repairs it."""
        copy = tmp_path / "migrations"
        copytree(MIGRATIONS, copy)
        flask_migrate.upgrade(directory=str(copy))
        lose_autoincrement("users")
        with pytest.raises(SystemExit) as end:
            flask_migrate.check(directory=str(copy))
        assert end.value.code == 1
        assert "table users has lost AUTOINCREMENT" in caplog.text
        assert "flask db migrate" in caplog.text

        flask_migrate.migrate(directory=str(copy), rev_id="9999", message="repair")
        flask_migrate.upgrade(directory=str(copy))

        assert "AUTOINCREMENT" in table_sql("users")
        flask_migrate.check(directory=str(copy))


def lose_autoincrement(name):
    """Rebuild a table without AUTOINCREMENT, like a migration in raw SQL."""
    sql = table_sql(name).replace(" AUTOINCREMENT", "")
    with db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql(f"DROP TABLE {name}")
        connection.exec_driver_sql(sql)
        connection.commit()
    db.engine.dispose()


def table_sql(name):
    with db.engine.connect() as connection:
        return connection.execute(text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": name}).scalar_one()


EMAIL = '''"""Add an e-mail address to users."""
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "HEAD"


def upgrade() -> None:
    with op.batch_alter_table("users") as batch:
        batch.add_column(sa.Column("email", sa.String(80), nullable=True))
        batch.create_unique_constraint("uq_users_email", ["email"])


def downgrade() -> None:
    with op.batch_alter_table("users") as batch:
        batch.drop_constraint("uq_users_email", type_="unique")
        batch.drop_column("email")
'''

BROKEN = '''"""Make one table, and fail."""
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "HEAD"


def upgrade() -> None:
    op.create_table("half_done", sa.Column("id", sa.Integer(), primary_key=True))
    op.execute("INSERT INTO no_such_table VALUES (1)")
'''


@pytest.fixture
def session(app):
    with app.app_context():
        yield db.session
        db.session.rollback()


def a_user(session, name="grace"):
    user = User(username=name, password_hash="x")
    session.add(user)
    session.commit()
    return user


class TestConstraints:
    @pytest.mark.parametrize(
        "rows",
        [
            [User(username="grace", password_hash="x"), User(username="GRACE", password_hash="x")],
            [Session(user_id=999, expires_at=utcnow())],
        ],
        ids=["one name twice", "a session of nobody"],
    )
    def test_the_database_refuses(self, session, rows):
        """A unique name and a foreign key hold in the database."""
        for row in rows:
            session.add(type(row)(**{k: v for k, v in vars(row).items() if k[0] != "_" and k != "username_key"}))

        with pytest.raises((IntegrityError, OperationalError)) as refusal:
            session.commit()

        assert not is_unavailable(refusal.value)

    def test_names_differ_by_their_exact_characters(self, session):
        """`lamp`, `Lamp` and `Làmp` are three names, on every database."""
        session.add_all(Thing(name=name, price=Decimal(1)) for name in ("Lamp", "lamp", "Làmp"))

        session.commit()

    def test_every_constraint_has_the_name_of_the_convention(self, session):
        """The database and the models give a constraint the same name, so a migration can drop it."""
        inspector = inspect(session.connection())
        for table in Base.metadata.tables.values():
            kinds = {
                ForeignKeyConstraint: inspector.get_foreign_keys,
                UniqueConstraint: inspector.get_unique_constraints,
                CheckConstraint: inspector.get_check_constraints,
            }
            for kind, reflected in kinds.items():
                declared = {constraint.name for constraint in table.constraints if isinstance(constraint, kind)}
                assert {constraint["name"] for constraint in reflected(table.name)} == declared

    def test_what_a_user_leaves_behind(self, session):
        """The sessions of a deleted user are deleted; their things stay, without an owner."""
        user = a_user(session)
        session.add(Session(user_id=user.id, expires_at=utcnow()))
        session.add(Thing(name="Lamp", price=Decimal(1), owner_id=user.id))
        session.commit()

        session.execute(delete(User))
        session.commit()

        assert session.scalars(db.select(Session.id)).all() == []
        assert session.execute(db.select(Thing.name, Thing.owner_id)).all() == [("Lamp", None)]

    def test_an_id_is_never_used_again(self, session):
        """A new user never gets the id of a deleted one."""
        first = a_user(session)
        session.execute(delete(User))
        session.commit()

        assert a_user(session, "linus").id > first.id


class TestColumnTypes:
    @pytest.mark.parametrize("price", ["0", "0.01", "0.10", "19.90", "99999999.99"])
    def test_money_is_exact(self, session, price):
        """Every amount comes back as it went in, as a decimal with two places."""
        session.add(Thing(name="Lamp", price=Decimal(price)))
        session.commit()
        session.expunge_all()

        kept = session.scalar(db.select(Thing.price))

        assert isinstance(kept, Decimal)
        assert str(kept) == f"{Decimal(price):.2f}"

    def test_a_time_is_read_in_utc(self, session):
        """A time in any zone is read as the same microsecond in UTC."""
        there = datetime(2026, 3, 1, 4, 5, 6, 789012, tzinfo=timezone(timedelta(hours=8)))
        user = a_user(session)
        session.add(Session(id=uuid.UUID(int=7), user_id=user.id, expires_at=there))
        session.commit()
        session.expunge_all()

        kept = session.scalar(db.select(Session.expires_at))

        assert kept == there
        assert kept.utcoffset() == timedelta(0)

    def test_a_naive_datetime_is_refused(self, session):
        """A datetime without a time zone is refused."""
        session.add(Session(user_id=a_user(session).id, expires_at=datetime(2026, 3, 1)))  # noqa: DTZ001

        with pytest.raises(StatementError, match="needs a time zone"):
            session.flush()
