"""Security events in the log: one line each, without secrets."""

import json
import logging
from datetime import timedelta

import pytest
import time_machine

from app.data.types import utcnow
from support import secrets_in_logs
from support.api import API, PASSWORD, bearer, claims, log_in, refresh, sign_up, taken_lines


@pytest.fixture
def events(caplog):
    """Returns the security events since the last call."""
    return lambda: taken_lines(caplog, "app.security")


def names(lines):
    return [line["event"] for line in lines]


class TestEvents:
    def test_a_login(self, client, user, events):
        """A login is an event with user, session and address."""
        events()
        response = client.post(
            f"{API}/auth/login",
            json={"username": "grace", "password": PASSWORD},
            headers={"X-Request-ID": "abc"},
            environ_overrides={"REMOTE_ADDR": "192.0.2.1"},
        )

        [line] = events()
        assert line["event"] == "authn_login_success"
        assert line["user_id"] == user.id
        assert line["session_id"] == claims(response.json["access_token"])["sid"]
        assert line["ip_address"] == "192.0.2.1"
        assert line["level"] == "INFO"

    def test_failures(self, client, user, events):
        """A failed login has the account's id or null, and never the typed text."""
        events()
        for username in ("grace", "hunter2hunter2", *["grace"] * 5):
            client.post(f"{API}/auth/login", json={"username": username, "password": "wrong password"})

        lines = events()
        assert names(lines) == ["authn_login_fail"] * 6 + ["authn_login_lock"]
        assert [line["user_id"] for line in lines[:2]] == [user.id, None]
        assert {line["level"] for line in lines} == {"WARNING"}
        assert "hunter2" not in json.dumps(lines)
        assert "wrong password" not in json.dumps(lines)

    def test_a_reused_token(self, client, user, events):
        """A reuse is a warning with the user and the session."""
        refresh(client, user.refresh_token)
        events()
        with time_machine.travel(utcnow() + timedelta(seconds=11)):
            refresh(client, user.refresh_token)

        [line] = events()
        assert (line["event"], line["level"]) == ("authn_token_reuse", "WARNING")
        assert (line["user_id"], line["session_id"]) == (user.id, claims(user.access_token)["sid"])

    @pytest.mark.parametrize(
        ("method", "path", "event"),
        [
            ("POST", "auth/logout", "session_ended"),
            ("POST", "auth/logout/access", "authn_token_revoked"),
            ("DELETE", "auth/sessions", "session_ended"),
            ("DELETE", "auth/sessions/{sid}", "session_ended"),
            ("DELETE", "users/me", "user_deleted"),
            ("GET", "users", "authz_fail"),
        ],
    )
    def test_actions_of_a_user(self, client, user, events, method, path, event):
        """Each action is an event with the user and the session."""
        sid = claims(user.access_token)["sid"]
        events()
        client.open(f"{API}/{path.format(sid=sid)}", method=method, headers=user.headers)

        [line] = events()
        assert (line["event"], line["user_id"], line["session_id"]) == (event, user.id, sid)

    def test_a_logout_of_the_refresh_token(self, client, user, events):
        """The event of a refresh logout has the kind `refresh`."""
        events()
        client.post(f"{API}/auth/logout/refresh", headers=bearer(user.refresh_token))

        [line] = events()
        assert (line["event"], line["kind"]) == ("authn_token_revoked", "refresh")

    def test_a_password_change(self, client, user, events):
        """A password change is an event with the new session."""
        events()
        body = {"current_password": PASSWORD, "new_password": "another long one"}
        response = client.put(f"{API}/auth/password", json=body, headers=user.headers)

        [line] = events()
        assert line["event"] == "authn_password_change"
        assert line["session_id"] == claims(response.json["access_token"])["sid"]

    def test_actions_of_an_administrator(self, client, user, admin, events):
        """The events have the ids of the user and of the administrator."""
        events()
        client.patch(f"{API}/users/{user.id}", json={"is_admin": True}, headers=admin.headers)
        client.delete(f"{API}/users/{user.id}", headers=admin.headers)

        changed, deleted = events()
        assert (changed["event"], changed["user_id"], changed["by"]) == ("authz_change", user.id, admin.id)
        assert changed["is_admin"] is True
        assert changed["session_id"] is deleted["session_id"] is None  # the event concerns no single session
        assert (deleted["event"], deleted["user_id"], deleted["by"]) == ("user_deleted", user.id, admin.id)

    def test_actions_of_an_operator(self, runner, user, events):
        """A command is an event by `command line`."""
        events()
        runner.invoke(args=["users", "promote", "grace"])

        [line] = events()
        assert (line["event"], line["user_id"], line["by"]) == ("authz_change", user.id, "command line")

    def test_a_single_session(self, app, client, user, events):
        """With SINGLE_SESSION a login is also an event for the sessions it ends."""
        app.config["SINGLE_SESSION"] = True
        events()
        log_in(client, "grace")

        assert names(events()) == ["authn_login_success", "session_ended"]

    def test_a_deactivation(self, client, user, admin, events):
        """A deactivation is also an event for the sessions it ends."""
        events()
        client.patch(f"{API}/users/{user.id}", json={"is_active": False}, headers=admin.headers)

        changed, ended = events()
        assert (changed["event"], changed["is_active"]) == ("authz_change", False)
        assert (ended["event"], ended["user_id"], ended["sessions"]) == ("session_ended", user.id, "all")

    def test_the_development_server_shows_no_query(self, client):
        """Werkzeug logs no query, because it may contain a token."""
        record = logging.LogRecord("werkzeug", logging.INFO, "", 0, '"GET /x?jwt=%s HTTP/1.1" 200', ("secret",), None)

        assert logging.getLogger("werkzeug").filter(record)
        assert record.getMessage() == '"GET /x?… HTTP/1.1" 200'

    def test_a_sign_up(self, client, events):
        """A registration is an event with the user."""
        user = sign_up(client, "new")

        [line] = events()
        assert (line["event"], line["user_id"]) == ("user_created", user.id)

    def test_a_refresh_is_no_event(self, client, user, events):
        """A refresh writes no security event."""
        events()
        refresh(client, user.refresh_token)

        assert events() == []

    def test_json_format(self, another, user, capsys):
        """With LOG_FORMAT=json an event is one line of JSON."""
        json_app = another(LOG_FORMAT="json")
        log_in(json_app.test_client(), "grace")

        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        [line] = [line for line in lines if line["logger"] == "app.security"]
        assert line["event"] == "authn_login_success"
        assert line["request_id"]
        assert logging.getLevelName(line["level"]) == logging.INFO


class TestSecrecy:
    """The check of `support/secrets_in_logs.py`, which conftest runs over the whole suite."""

    def test_every_line_is_seen(self, client, user):
        """The check collects security events and access lines."""
        before = len(secrets_in_logs.LOGS)
        log_in(client, user.username)

        seen = [json.loads(line) for line in secrets_in_logs.LOGS[before:]]
        assert [line["logger"] for line in seen] == ["app.security", "app.access"]

    @pytest.mark.parametrize(
        "line",
        [
            '{"message": "a key k3y.which-is_secret, shown"}',
            "GET /?jwt=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9mLWl0",
            "the password is correct horse battery staple",
        ],
    )
    def test_a_secret_is_found(self, monkeypatch, line):
        """A key, an unknown token and a password with blanks are found."""
        monkeypatch.setattr(secrets_in_logs, "LOGS", [line])

        with pytest.raises(AssertionError):
            secrets_in_logs.assert_none_of({"k3y.which-is_secret", "correct horse battery staple"})


class TestLimits:
    def test_a_registration_past_the_limit(self, app, client, user, events):
        """A refused registration is an event with the name of the limit."""
        app.config["REGISTRATIONS_PER_NETWORK"] = 1
        events()

        client.post(f"{API}/auth/register", json={"username": "linus", "password": PASSWORD})

        [line] = events()
        assert (line["event"], line["level"]) == ("excess_rate_limit_exceeded", "WARNING")
        assert (line["limit"], line["ip_address"]) == ("registrations", "127.0.0.1")

    def test_a_rename_past_the_limit(self, client, user, events):
        """A refused change of a name is an event with the user."""
        for number in range(5):
            client.patch(f"{API}/users/me", json={"username": f"name{number}"}, headers=user.headers)
        events()

        client.patch(f"{API}/users/me", json={"username": "name5"}, headers=user.headers)

        [line] = events()
        assert (line["event"], line["limit"]) == ("excess_rate_limit_exceeded", "renames")
        assert line["user_id"] == user.id

    def test_an_unlocked_account(self, runner, user, events):
        """`flask users unlock` is an event with the user."""
        events()

        runner.invoke(args=["users", "unlock", "grace"])

        [line] = events()
        assert (line["event"], line["user_id"], line["by"]) == ("authn_login_unlock", user.id, "command line")
