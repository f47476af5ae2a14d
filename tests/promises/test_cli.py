"""The commands `flask users` and `flask tokens`."""

from datetime import timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from sqlalchemy import update

from app import create_app
from app.auth.models import RevokedToken, Session
from app.data.base import db
from app.data.types import utcnow
from app.users import cli
from app.users.models import User
from config import TestingConfig
from support.api import API, count, error, log_in, me
from support.commands import fails

OF_A_USER = ["promote", "demote", "activate", "deactivate", "unlock", "password", "sessions", "logout"]


class TestUsersCreate:
    def create(self, runner, *words, password="correct horse\n"):
        return runner.invoke(args=["users", "create", *words], input=password)

    def test_makes_a_user(self, client, runner):
        """The command reads the password from standard input, and the user can log in."""
        result = self.create(runner, "grace")

        assert result.exit_code == 0
        assert result.output.startswith("Created user grace (id ")
        assert log_in(client, "grace", "correct horse").username == "grace"

    def test_makes_an_admin(self, client, runner):
        """With `--admin` the new user is an administrator."""
        assert self.create(runner, "ada", "--admin").exit_code == 0
        admin = log_in(client, "ada", "correct horse")
        assert client.get(f"{API}/users", headers=admin.headers).status_code == 200

    @pytest.mark.parametrize(
        ("name", "password", "word"),
        [("ab", "correct horse\n", "username"), ("grace", "short\n", "password"), ("grace", "", "password")],
    )
    def test_applies_the_rules_of_registration(self, app, runner, name, password, word):
        """A bad name or password fails with one line that names the field."""
        fails(self.create(runner, name, password=password), word)
        assert count(app, User) == 0

    def test_not_twice(self, app, client, runner, user):
        """A taken name fails, and its owner keeps the password."""
        fails(self.create(runner, "GRACE"), "taken")
        assert count(app, User) == 1
        assert log_in(client, "grace").id == user.id

    @pytest.mark.parametrize("typed", ["correct horse", "correct horse\r\n", "correct horse\nanother line\n"])
    def test_the_password_is_one_line(self, client, runner, typed):
        """The password ends at the first line break, LF or CRLF."""
        assert self.create(runner, "grace", password=typed).exit_code == 0
        assert log_in(client, "grace", "correct horse").username == "grace"

    def test_blanks_are_part_of_the_password(self, client, runner):
        """Blanks at both ends belong to the password."""
        assert self.create(runner, "grace", password="  correct horse \n").exit_code == 0
        assert log_in(client, "grace", "  correct horse ").username == "grace"

    def test_a_password_that_is_not_utf_8(self, app, runner):
        """A password that is not UTF-8 fails with one line that names UTF-8."""
        fails(self.create(runner, "grace", password=b"\xff\xfe correct horse\n"), "passwords", "UTF-8")
        assert count(app, User) == 0

    def test_asks_at_a_terminal(self, app, client, runner, monkeypatch):
        """At a terminal the command asks for the password twice, without showing it."""
        asked = []

        def prompt(text, **options):
            asked.append((text, options))
            return "correct horse"

        monkeypatch.setattr(cli, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
        monkeypatch.setattr(cli.click, "prompt", prompt)

        assert self.create(runner, "grace").exit_code == 0
        assert asked == [("Password", {"hide_input": True, "confirmation_prompt": True})]
        assert log_in(client, "grace", "correct horse").username == "grace"


class TestUsersChange:
    def test_promote_and_demote(self, client, runner, user, admin):
        """A promotion is in the next token, and a demotion counts at once."""
        assert runner.invoke(args=["users", "promote", "GRACE"]).exit_code == 0
        again = log_in(client, "grace")
        assert client.get(f"{API}/users", headers=again.headers).status_code == 200

        assert runner.invoke(args=["users", "demote", "grace"]).exit_code == 0
        assert error(client.get(f"{API}/users", headers=again.headers)) == (403, "admin_required")

    def test_deactivate_and_activate(self, client, runner, user):
        """A deactivation revokes the tokens for good, and an activation allows a new login."""
        assert runner.invoke(args=["users", "deactivate", "grace"]).exit_code == 0
        assert error(me(client, user.access_token)) == (401, "token_revoked")

        assert runner.invoke(args=["users", "activate", "grace"]).exit_code == 0
        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert log_in(client, "grace").id == user.id

    @pytest.mark.parametrize("command", ["demote", "deactivate"])
    def test_the_last_admin_stays(self, client, runner, admin, command):
        """The last active administrator can be neither demoted nor deactivated."""
        fails(runner.invoke(args=["users", command, "ada"]), "last active administrator")
        assert client.get(f"{API}/users", headers=admin.headers).status_code == 200

    @pytest.mark.parametrize("command", OF_A_USER)
    def test_unknown_name(self, runner, command):
        """An unknown name fails with one line that names `flask users list`."""
        fails(runner.invoke(args=["users", command, "nobody"]), "nobody", "flask users list")

    @pytest.mark.parametrize("command", ["create", *OF_A_USER])
    def test_name_that_is_not_utf_8(self, runner, command):
        """A name that is not UTF-8 fails with one line that names UTF-8."""
        fails(runner.invoke(args=["users", command, "\udcff"]), "UTF-8")  # the byte FF, as Python reads it (PEP 383)

    @pytest.mark.parametrize(("command", "words"), [("promote", "administrator from"), ("activate", "may log in")])
    def test_twice(self, runner, admin, command, words):
        """A second promotion or activation succeeds too."""
        for _ in range(2):
            result = runner.invoke(args=["users", command, "ada"])
            assert result.exit_code == 0
            assert words in result.output

    def test_an_inactive_admin_does_not_count(self, client, runner, user, admin):
        """An inactive administrator does not count as the last one."""
        runner.invoke(args=["users", "promote", "grace"])
        runner.invoke(args=["users", "deactivate", "grace"])

        fails(runner.invoke(args=["users", "demote", "ada"]), "last active administrator")
        assert client.get(f"{API}/users", headers=admin.headers).status_code == 200

    @pytest.mark.parametrize("command", ["create", *OF_A_USER])
    def test_missing_name(self, runner, command):
        """Without a name the command exits with 2 and names its help."""
        result = runner.invoke(args=["users", command])

        assert result.exit_code == 2
        assert "Missing argument 'NAME'" in result.output
        assert f"users {command} --help" in result.output


class TestUsersList:
    def test_shows_each_user(self, app, client, runner, user, admin):
        """Each line has the id, the name, and `admin` or `inactive`."""
        runner.invoke(args=["users", "deactivate", "grace"])

        lines = runner.invoke(args=["users", "list"]).output.splitlines()

        assert [line.split() for line in lines] == [
            [str(user.id), "grace", "inactive"],
            [str(admin.id), "ada", "admin"],
        ]

    def test_no_users(self, runner):
        """Without users the command prints nothing and succeeds."""
        result = runner.invoke(args=["users", "list"])

        assert (result.exit_code, result.output) == (0, "")


class TestTokensPrune:
    def test_nothing_has_expired(self, app, runner, user):
        """If nothing has expired, the command deletes nothing and succeeds."""
        result = runner.invoke(args=["tokens", "prune"])

        assert (result.exit_code, result.output) == (0, "Deleted 0 expired row(s).\n")
        assert count(app, Session) == 1

    def test_deletes_expired_rows(self, app, client, runner, user, monkeypatch):
        """Expired rows are deleted in batches, and rows within the leeway stay."""
        monkeypatch.setattr("app.auth.cli.BATCH", 2)
        client.post(f"{API}/auth/logout/access", headers=user.headers)
        with app.app_context():
            long_ago = utcnow() - timedelta(days=60)
            today = utcnow() - timedelta(hours=23)  # not expired on a machine whose clock is a day slow
            db.session.add_all(Session(user_id=user.id, expires_at=long_ago) for _ in range(5))
            db.session.add_all(RevokedToken(jti=UUID(int=n), expires_at=long_ago) for n in range(3))
            db.session.add(RevokedToken(jti=UUID(int=99), expires_at=today))
            db.session.add(Session(user_id=user.id, expires_at=utcnow() - timedelta(seconds=5)))  # within the leeway
            db.session.commit()

        result = runner.invoke(args=["tokens", "prune"])

        assert result.output == "Deleted 8 expired row(s).\n"
        assert count(app, Session) == 2
        assert count(app, RevokedToken) == 2

    def test_deletes_rows_that_appear_meanwhile(self, app, runner, monkeypatch):
        """Expired rows that appear during the run are deleted in the same run."""
        monkeypatch.setattr("app.auth.cli.BATCH", 1)
        late = [timedelta(days=80)]

        def meanwhile(_seconds):
            if late:
                add(UUID(int=80), late.pop())

        def add(jti, age):
            db.session.add(RevokedToken(jti=jti, expires_at=utcnow() - age))
            db.session.commit()

        monkeypatch.setattr("app.auth.cli.time.sleep", meanwhile)
        with app.app_context():
            for number in (60, 61):
                add(UUID(int=number), timedelta(days=number))

        assert runner.invoke(args=["tokens", "prune"]).output == "Deleted 3 expired row(s).\n"
        assert count(app, RevokedToken) == 0


class TestTokensRevokeAll:
    def test_ends_every_session(self, app, client, runner, user, other, monkeypatch):
        """All sessions end, in batches, and users can log in again."""
        monkeypatch.setattr("app.auth.cli.BATCH", 2)
        log_in(client, "grace")
        result = runner.invoke(args=["tokens", "revoke-all", "--yes"])

        assert (result.exit_code, result.output) == (0, "Ended 3 session(s).\n")
        assert [error(me(client, account.access_token)) for account in (user, other)] == [(401, "token_revoked")] * 2
        assert me(client, log_in(client, "grace").access_token).status_code == 200

    def test_keeps_sessions_that_begin_meanwhile(self, app, client, runner, user):
        """A session that begins after the command stays."""
        with app.app_context():
            db.session.execute(update(Session).values(created_at=utcnow() + timedelta(seconds=5)))
            db.session.commit()

        assert runner.invoke(args=["tokens", "revoke-all", "--yes"]).output == "Ended 0 session(s).\n"
        assert count(app, Session) == 1

    def test_asks_first(self, app, runner, user):
        """Without a confirmation the command ends no session."""
        result = runner.invoke(args=["tokens", "revoke-all"], input="n\n")

        assert result.exit_code == 1
        assert count(app, Session) == 1


class TestWithoutADatabase:
    @pytest.mark.parametrize(
        "url",
        [
            "sqlite:///{folder}/empty.db",
            "sqlite:///{folder}/nowhere/x.db",
            "postgresql://nobody@127.0.0.1:1/x",
            "mysql://nobody@127.0.0.1:1/x",
        ],
    )
    @pytest.mark.parametrize(
        "command",
        [
            ["users", "create", "grace"],
            ["users", "list"],
            ["users", "promote", "ada"],
            ["users", "demote", "ada"],
            ["users", "activate", "ada"],
            ["users", "deactivate", "ada"],
            ["users", "password", "ada"],
            ["users", "sessions", "ada"],
            ["users", "logout", "ada"],
            ["tokens", "prune"],
            ["tokens", "revoke-all", "--yes"],
        ],
        ids=" ".join,
    )
    def test_commands_name_the_remedy(self, tmp_path, url, command):
        """Without a usable database, each command names DATABASE_URL and `flask db upgrade`."""
        config = TestingConfig()
        config.DATABASE_URL = url.format(folder=tmp_path)
        app = create_app(config)

        result = app.test_cli_runner().invoke(args=command, input="correct horse\n")

        fails(result, "DATABASE_URL", "flask db upgrade")
        with app.app_context():
            db.engine.dispose()


def test_every_command_has_help(app, runner):
    """`--help` works for each command and prints more than three lines."""
    for command in (["users"], ["tokens"], *(["users", name] for name in app.cli.commands["users"].commands)):
        result = runner.invoke(args=[*command, "--help"])

        assert result.exit_code == 0
        assert len(result.output.splitlines()) > 3
