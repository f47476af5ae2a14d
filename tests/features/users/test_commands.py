"""`flask users password`, `sessions` and `logout`, and the progress of long commands."""

import io
from datetime import timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from sqlalchemy import select, update

from app.auth.models import Session
from app.data.base import db
from app.data.types import utcnow
from app.users import cli
from app.users.models import User
from app.users.passwords import is_outdated
from app.web import commands
from support.api import API, PASSWORD, count, error, log_in, me, sign_up, taken_lines
from support.commands import fails

NEW = "another horse battery"


@pytest.fixture
def events(caplog):
    """Returns the security events since the last call."""
    return lambda: taken_lines(caplog, "app.security")


def attempt(client, password, username="grace"):
    return error(client.post(f"{API}/auth/login", json={"username": username, "password": password}))


class TestPassword:
    def set_password(self, runner, password=f"{NEW}\n", name="Grace"):
        return runner.invoke(args=["users", "password", name], input=password)

    def test_replaces_the_password(self, client, runner, user, other):
        """The old password and all sessions of the user end, and nothing of other users."""
        result = self.set_password(runner)

        assert (result.exit_code, result.stdout) == (
            0,
            "Grace has a new password, and all their sessions have ended.\n",
        )
        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert me(client, other.access_token).status_code == 200
        assert attempt(client, PASSWORD) == (401, "invalid_credentials")
        assert log_in(client, "grace", NEW).id == user.id

    def test_an_inactive_user(self, app, client, runner, user):
        """An inactive user gets the password and stays inactive."""
        runner.invoke(args=["users", "deactivate", "grace"])

        assert self.set_password(runner).exit_code == 0

        assert attempt(client, NEW) == (401, "invalid_credentials")
        runner.invoke(args=["users", "activate", "grace"])
        assert log_in(client, "grace", NEW).id == user.id

    def test_the_representation_stays(self, app, client, runner, user):
        """The user looks the same as before, so that its ETag stays, and the hash is current."""
        before = me(client, user.access_token).json

        self.set_password(runner)

        assert me(client, log_in(client, "grace", NEW).access_token).json == before
        with app.app_context():
            assert not is_outdated(db.session.scalar(select(User.password_hash)))

    @pytest.mark.parametrize(
        ("typed", "word"),
        [("short\n", "Length"), ("", "Length"), ("password123\n", "common"), (b"\xff\xfe correct horse\n", "UTF-8")],
    )
    def test_applies_the_rules_of_registration(self, client, runner, user, typed, word):
        """A bad password fails with one line, and nothing changes."""
        fails(self.set_password(runner, typed), word)
        assert me(client, user.access_token).status_code == 200

    def test_the_name_is_no_password(self, client, runner):
        """The name of the user, also with digits behind it, is refused."""
        grace = sign_up(client, "gracehopper")

        fails(self.set_password(runner, "GraceHopper12\n", "gracehopper"), "password", "name")
        assert me(client, grace.access_token).status_code == 200

    def test_asks_at_a_terminal(self, client, runner, user, monkeypatch):
        """At a terminal the command asks twice, and holds no transaction meanwhile."""
        asked = []

        def prompt(_text, **options):
            asked.append((options, db.session().in_transaction()))
            return NEW

        monkeypatch.setattr(cli, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
        monkeypatch.setattr(cli.click, "prompt", prompt)

        assert self.set_password(runner, None).exit_code == 0
        assert asked == [({"hide_input": True, "confirmation_prompt": True}, False)]
        assert log_in(client, "grace", NEW).id == user.id

    def test_a_user_who_is_deleted_meanwhile(self, client, runner, user, monkeypatch):
        """The command fails if the user is deleted while the operator types."""

        def read_late():
            assert client.delete(f"{API}/users/me", headers=user.headers).status_code == 200
            return NEW

        monkeypatch.setattr(cli, "_read_password", read_late)

        fails(self.set_password(runner), "There is no user Grace")

    def test_is_an_event(self, runner, user, events):
        """The change is an event with the user."""
        events()

        self.set_password(runner)

        [event] = events()
        assert (event["event"], event["user_id"], event["by"]) == ("authn_password_change", user.id, "command line")


class TestSessions:
    def listed(self, runner, name="grace"):
        result = runner.invoke(args=["users", "sessions", name])
        assert result.exit_code == 0
        return result.stdout.splitlines()

    def change(self, app, **values):
        with app.app_context():
            db.session.execute(update(Session).values(**values))
            db.session.commit()

    def test_shows_each_session(self, app, client, runner, user, other):
        """Each line has the id, three times, the address and the client of a living session."""
        [text] = self.listed(runner, "GRACE")

        session_id, *times, address, agent = text.split(maxsplit=5)
        with app.app_context():
            session = db.session.scalars(select(Session).where(Session.user_id == user.id)).one()
        assert session_id == str(session.id)
        moments = (session.created_at, session.last_used_at, session.expires_at)
        assert times == [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in moments]
        assert (address, agent) == ("127.0.0.1", session.user_agent)

    def test_without_a_client(self, app, runner, user):
        """A session without an address and a client has dashes in their place."""
        self.change(app, user_agent=None, ip_address=None)

        assert self.listed(runner)[0].split()[-2:] == ["-", "-"]

    def test_control_characters(self, app, runner, user):
        """Control and direction characters of a client do not reach the terminal."""
        self.change(app, user_agent="a\x1b[31m\r\nb\u202e\x9bc")

        [text] = self.listed(runner)
        assert text.endswith("a\\x1b[31m\\r\\nb\\u202e\\x9bc")

    def test_all_pages(self, app, client, runner, user, monkeypatch):
        """All sessions are listed, the newest first."""
        monkeypatch.setattr(cli, "PAGE", 2)
        for _ in range(4):
            log_in(client, "grace")

        times = [text.split()[1] for text in self.listed(runner)]
        assert (len(times), times) == (5, sorted(times, reverse=True))

    def test_ended_sessions(self, app, runner, user):
        """A session that has ended is not listed."""
        self.change(app, expires_at=utcnow() - timedelta(seconds=1))

        assert self.listed(runner) == []


class TestLogout:
    def test_all_sessions(self, client, runner, user, other, events):
        """All sessions of the user end, which is an event, and none of others."""
        second = log_in(client, "grace")
        events()

        result = runner.invoke(args=["users", "logout", "grace"])

        assert (result.exit_code, result.stdout) == (0, "Ended 2 session(s) of grace.\n")
        for account in (user, second):
            assert error(me(client, account.access_token)) == (401, "token_revoked")
        assert me(client, other.access_token).status_code == 200
        event = next(line for line in events() if line["event"] == "session_ended")
        assert (event["user_id"], event["sessions"], event["number"]) == (user.id, "all", 2)
        assert event["by"] == "command line"

    def test_one_session(self, client, runner, user, events):
        """The other sessions of the user stay, and the event names the session."""
        second = log_in(client, "grace")
        session_id = client.get(f"{API}/auth/session", headers=second.headers).json["session"]["id"]
        events()

        result = runner.invoke(args=["users", "logout", "grace", session_id])

        assert (result.exit_code, result.stdout) == (0, f"Ended the session {session_id} of grace.\n")
        assert error(me(client, second.access_token)) == (401, "token_revoked")
        assert me(client, user.access_token).status_code == 200
        event = next(line for line in events() if line["event"] == "session_ended")
        assert (event["user_id"], event["session_id"], event["by"]) == (user.id, session_id, "command line")

    def test_the_session_of_another_user(self, app, client, runner, user, other):
        """A session of somebody else, or of nobody, fails and names the command that lists them."""
        session_id = client.get(f"{API}/auth/session", headers=other.headers).json["session"]["id"]

        for unknown in (session_id, UUID(int=1)):
            fails(runner.invoke(args=["users", "logout", "grace", str(unknown)]), "flask users sessions grace")
        assert count(app, Session) == 2

    def test_not_an_id(self, app, runner, user):
        """A text that is no id fails, and no session ends."""
        assert runner.invoke(args=["users", "logout", "grace", "all"]).exit_code == 2
        assert count(app, Session) == 1


class TestProgress:
    def test_a_line_now_and_then(self, monkeypatch, capsys):
        """Without a terminal, a line on standard error has the sum and the total."""
        monkeypatch.setattr(commands, "SECONDS", 0)

        assert list(commands.with_progress(iter([1500, 2]), "Rows", 3000)) == [1500, 2]
        assert list(commands.with_progress(iter([7]), "Rows")) == [7]

        assert tuple(capsys.readouterr()) == ("", "Rows: 1,500 of 3,000\nRows: 1,502 of 3,000\nRows: 7\n")

    def test_a_short_command(self, capsys):
        """A command of less than ten seconds shows nothing."""
        assert sum(commands.with_progress(iter([1] * 1000), "Rows")) == 1000

        assert tuple(capsys.readouterr()) == ("", "")

    @pytest.mark.parametrize(("total", "shown"), [(4, "4/4"), (None, "4")])
    def test_a_bar(self, monkeypatch, total, shown):
        """On a terminal the progress is a bar."""
        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(commands, "sys", SimpleNamespace(stderr=terminal))

        assert sum(commands.with_progress(iter([1, 3]), "Rows", total)) == 4

        label, *_bar, position = terminal.getvalue().rpartition("\r")[2].removesuffix("\n").split()
        assert (label, position.partition("\x1b")[0]) == ("\x1b[?25lRows", shown)

    @pytest.mark.parametrize(
        ("command", "label"),
        [(["tokens", "prune"], "Deleted rows: 1\n"), (["tokens", "revoke-all", "--yes"], "Ended sessions: 2\n")],
        ids=["prune", "revoke-all"],
    )
    def test_of_commands(self, app, runner, user, other, monkeypatch, command, label):
        """The commands that may take long show their progress."""
        monkeypatch.setattr(commands, "SECONDS", 0)
        with app.app_context():
            changed = update(Session).where(Session.user_id == user.id)
            db.session.execute(changed.values(expires_at=utcnow() - timedelta(days=1)))
            db.session.commit()

        assert label in runner.invoke(args=command).stderr
