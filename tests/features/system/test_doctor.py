"""`flask doctor`: its checks and their remedies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from app.data.base import db
from app.data.types import utcnow
from app.system import doctor
from app.tokens.key_changes import generate_key
from support.api import make_admin, sign_up
from support.databases import at_version

ROOT = Path(__file__).parents[3]


def examine(app):
    """The exit code, and the checks by name."""
    result = app.test_cli_runner().invoke(args=["doctor", "--json"])
    report = json.loads(result.stdout)
    assert report["healthy"] is (result.exit_code == 0)
    return result.exit_code, {check["name"]: check for check in report["checks"]}


@pytest.fixture
def root(app, tmp_path, monkeypatch):
    """An empty folder that the doctor examines in place of the project's."""
    monkeypatch.setattr(app, "root_path", str(tmp_path / "app"))
    return tmp_path


class TestHealthy:
    def test_everything_is_checked(self, app, client, root):
        """A healthy application passes every check, and each check has a message."""
        sign_up(client, "ada")
        make_admin(app, "ada")

        code, checks = examine(app)

        expected = {"settings", "keys", "database", "migrations", "clock", "files", "cookies", "hashes"}
        if db_kind(app) == "sqlite":
            expected -= {"clock"}
        if db_kind(app) == "postgresql":
            expected |= {"timeouts"}
        assert code == 0
        assert checks.keys() == expected
        assert {check["status"] for check in checks.values()} <= {"ok", "warning"}
        assert all(check["message"] for check in checks.values())

    def test_text(self, app, root):
        """The text has a line for each check, with the remedy below it."""
        result = app.test_cli_runner().invoke(args=["doctor"])

        assert result.exit_code == 0
        assert "ok    database" in result.stdout
        assert "→ flask users create NAME --admin" in result.stdout


def db_kind(app):
    with app.app_context():
        return db.engine.dialect.name


class TestSick:
    def test_a_schema_that_is_behind(self, app, root):
        """An old schema fails, with `flask db upgrade` as the remedy."""
        with at_version(app, "0001"):
            code, checks = examine(app)

        assert (code, checks["migrations"]["fix"]) == (1, "flask db upgrade")

    def test_a_schema_of_a_newer_release(self, app, root):
        """A newer schema is a warning, and the other checks run."""
        with at_version(app, "9999"):
            code, checks = examine(app)

        assert (code, checks["migrations"]["status"]) == (0, "warning")
        assert "admins" in checks

    def test_an_unavailable_database(self, another):
        """An unavailable database fails, and checks that need it do not run."""
        code, checks = examine(another(DATABASE_URL="postgresql://nobody@127.0.0.1:1/x"))

        assert (code, checks["database"]["status"]) == (1, "failure")
        assert "migrations" not in checks

    def test_a_clock_that_is_off(self, app, root, monkeypatch):
        """A clock that differs from the database's clock fails."""
        if db_kind(app) == "sqlite":
            assert doctor.CLOCKS.get("sqlite") is None
            return
        monkeypatch.setattr(doctor, "utcnow", lambda: utcnow().replace(year=2031))

        code, checks = examine(app)

        assert (code, checks["clock"]["status"]) == (1, "failure")

    @pytest.mark.parametrize("pooler", [True, False])
    def test_a_pooler_without_timeouts(self, app, another, pooler):
        """Missing timeouts of the role fail, with the statements as the remedy."""
        if db_kind(app) != "postgresql":
            pytest.skip("only PostgreSQL has timeouts of a role")
        with app.app_context(), db.engine.begin() as connection:  # applies to later connections
            role, name = connection.execute(text("SELECT quote_ident(current_user), current_database()")).one()
            connection.execute(text(f"ALTER DATABASE {name} SET lock_timeout = '1s'"))
            connection.execute(text(f"ALTER DATABASE {name} SET timezone = 'Asia/Shanghai'"))
        lent = another(DATABASE_POOLER=True)
        lent.config["DATABASE_POOLER"] = pooler
        try:
            code, checks = examine(lent)
        finally:
            with app.app_context(), db.engine.begin() as connection:
                connection.execute(text(f"ALTER DATABASE {name} RESET ALL"))

        assert (code, checks["timeouts"]["status"]) == (1, "failure")
        fix = checks["timeouts"]["fix"]
        assert f"ALTER ROLE {role} SET statement_timeout = '5s'; ALTER ROLE" in fix
        assert f"ALTER ROLE {role} SET timezone = 'UTC';" in fix
        assert "lock_timeout" not in fix
        assert ("DATABASE_POOLER" in fix) is not pooler
        assert examine(app)[1]["timeouts"]["status"] == "ok"

    @pytest.mark.parametrize("name", [".env", "instance/jwt_secret_key"])
    def test_a_secret_that_is_open_to_others(self, app, root, name):
        """A secret file that others can read fails, with `chmod` as the remedy."""
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.touch(mode=0o600)
        path.parent.chmod(0o755)
        assert examine(app)[1]["files"]["status"] == "ok"
        path.chmod(0o644)

        code, checks = examine(app)
        path.parent.chmod(0o700)  # others cannot reach the file

        assert (code, checks["files"]["fix"]) == (1, f"chmod 600 {path}")
        assert examine(app)[1]["files"]["status"] == "ok"

    def test_a_folder_that_is_open_to_others(self, app, root):
        """An open `instance/` is a warning with `chmod` as the remedy, and a private one is not shown."""
        folder = root / "instance"
        folder.mkdir(mode=0o700)
        assert "instance" not in examine(app)[1]
        folder.chmod(0o750)

        code, checks = examine(app)

        assert (code, checks["instance"]["status"], checks["instance"]["fix"]) == (0, "warning", f"chmod go= {folder}")

    @pytest.mark.parametrize("fault", ["missing", "open", "malformed"])
    def test_a_key_set_that_cannot_be_used(self, another, tmp_path, fault):
        """A missing, open or malformed key set fails with a remedy."""
        path = tmp_path / "keys.json"
        if fault != "missing":
            generate_key(path, "EdDSA", utcnow())
        if fault == "open":
            path.chmod(0o644)
        elif fault == "malformed":
            path.write_text("{")

        code, checks = examine(another(JWT_KEYSET=str(path)))

        assert (code, checks["keys"]["status"]) == (1, "failure")
        assert checks["keys"]["fix"]

    @pytest.mark.filterwarnings("ignore:The HMAC key is")
    def test_a_secret_that_could_be_guessed(self, another):
        """A weak secret is a warning outside production, and is not shown."""
        checks = examine(another(JWT_SECRET_KEY="short"))[1]

        assert checks["keys"]["status"] == "warning"
        assert "short" not in checks["keys"]["message"].replace("shorter", "")

    def test_missing_settings_of_production(self, another):
        """In production, missing hosts and proxies are warnings."""
        code, checks = examine(another(APP_ENV="production"))

        assert checks["hosts"]["status"] == checks["proxies"]["status"] == "warning"
        assert "TRUSTED_HOSTS" in checks["hosts"]["fix"]
        assert code == 0

    @pytest.mark.programs
    def test_settings_that_cannot_be_used(self):
        """Each bad setting is named with its remedy and without its value."""
        env = {
            "PATH": os.environ["PATH"],
            "APP_ENV": "production",
            "JWT_SECRET_KEY": "too short a secret",
            "ARGON2_TIME_COST": "1",
            "FLASK_SKIP_DOTENV": "1",
        }
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "doctor"]
        run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

        assert run.returncode == 1
        assert "FAIL  settings     JWT_SECRET_KEY is shorter than 32 bytes\n" in run.stdout
        assert "→ make one with: python -c" in run.stdout
        assert "ARGON2_TIME_COST" in run.stdout
        assert "too short a secret" not in run.stdout + run.stderr
        assert "Traceback" not in run.stderr

    def test_bad_settings_in_json(self):
        """With bad settings the report has only this check."""
        problems = {"PORT": "Must be a number.", "JWT_SECRET_KEY": "is not set; make one"}

        code, checks = examine(doctor.create_patient(problems))

        assert (code, checks.keys()) == (1, {"settings"})
        assert checks["settings"] == {
            "name": "settings", "status": "failure", "message": "JWT_SECRET_KEY is not set", "fix": "make one",
        }  # fmt: skip

    @pytest.mark.programs
    def test_other_commands_refuse_such_settings(self):
        """Other commands fail with one line."""
        env = {"PATH": os.environ["PATH"], "APP_ENV": "production", "FLASK_SKIP_DOTENV": "1"}
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "users", "list"]
        run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

        assert (run.returncode, run.stderr.count("\n")) == (1, 1)
