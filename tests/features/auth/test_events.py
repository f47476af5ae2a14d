"""Security events in the log: one line each, without secrets."""

import hashlib
import json
import logging
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import update

from app.data.base import db
from app.data.types import utcnow
from app.users.models import User
from app.web.events import Flood, name_hash
from support import secrets_in_logs
from support.api import API, PASSWORD, bearer, claims, error, log_in, me, refresh, sign_up, taken_lines


@pytest.fixture
def events(caplog):
    """Returns the security events since the last call."""
    return lambda: taken_lines(caplog, "app.security")


def names(lines):
    return [line["event"] for line in lines]


def change_row(app, user_id, **values):
    with app.app_context():
        db.session.execute(update(User).where(User.id == user_id).values(**values))
        db.session.commit()


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

    def test_failures(self, app, client, user, events):
        """A failed login has the account's id and the reason, and never the typed text."""
        events()
        client.post(f"{API}/auth/login", json={"username": "grace", "password": "wrong password"})
        change_row(app, user.id, is_active=False)
        app.extensions["event_flood"] = Flood()
        client.post(f"{API}/auth/login", json={"username": "grace", "password": PASSWORD})

        lines = events()
        assert names(lines) == ["authn_login_fail"] * 2
        assert [line["reason"] for line in lines] == ["wrong_password", "inactive"]
        assert {line["user_id"] for line in lines} == {user.id}
        assert {line["level"] for line in lines} == {"WARNING"}
        assert "name_hash" not in lines[0]
        assert "wrong password" not in json.dumps(lines)

    def test_unknown_names(self, another, client, user, events):
        """Failures of unknown names have an HMAC that shows equal names on every machine, and no name."""
        events()
        for client_of, username in ((client, "hunter2hunter2"), (another().test_client(), "HUNTER2hunter2")):
            client_of.post(f"{API}/auth/login", json={"username": username, "password": "wrong password"})
        client.post(f"{API}/auth/login", json={"username": "hunter3hunter3", "password": "wrong password"})

        lines = events()
        assert {(line["event"], line["reason"], line["user_id"]) for line in lines} == {
            ("authn_login_fail", "unknown", None)
        }
        first, same, other = (line["name_hash"] for line in lines)
        assert first == same != other
        assert "hunter" not in json.dumps(lines).lower()

    def test_the_hash_needs_the_secret(self, another):
        """Without the secret nobody can find a name by hashing the names that there are."""
        apps = another(), another(JWT_SECRET_KEY="another-secret-k3y-of-this-test")
        hashes = set()
        for app in apps:
            with app.app_context():
                hashes.add(name_hash("hunter2"))

        assert len(hashes) == 2
        assert hashlib.sha256(b"hunter2").hexdigest()[:16] not in hashes

    def test_a_refused_password_change(self, client, user, events):
        """A wrong current password is an event of its own."""
        events()
        body = {"current_password": "wrong password", "new_password": "another long one"}
        client.put(f"{API}/auth/password", json=body, headers=user.headers)

        [line] = events()
        assert (line["event"], line["reason"]) == ("authn_password_change_fail", "wrong_password")
        assert (line["method"], line["route"]) == ("PUT", f"{API}/auth/password")

    def test_a_lock_out(self, client, user, events):
        """A login past the limit is an event, without another one for the same answer."""
        for _ in range(5):
            client.post(f"{API}/auth/login", json={"username": "grace", "password": "wrong password"})
        events()
        client.post(f"{API}/auth/login", json={"username": "grace", "password": "wrong password"})

        [line] = events()
        assert (line["event"], line["level"], line["user_id"]) == ("authn_login_lock", "WARNING", user.id)

    def test_a_rename(self, client, user, events):
        """A change of the name has the hash that failed logins with the former name will have."""
        events()
        client.patch(f"{API}/users/me", json={"username": "hopper"}, headers=user.headers)
        client.patch(f"{API}/users/me", json={"username": "hopper"}, headers=user.headers)
        client.post(f"{API}/auth/login", json={"username": "grace", "password": "wrong password"})

        renamed, failed = events()
        assert (renamed["event"], renamed["user_id"], renamed["changed"]) == ("user_updated", user.id, ["username"])
        assert renamed["name_hash"] == failed["name_hash"]
        assert "grace" not in json.dumps([renamed, failed])

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
            ("GET", "users/{other}", "authz_fail"),
        ],
    )
    def test_actions_of_a_user(self, client, user, other, events, method, path, event):
        """Each action is an event with the user and the session."""
        sid = claims(user.access_token)["sid"]
        events()
        client.open(f"{API}/{path.format(sid=sid, other=other.id)}", method=method, headers=user.headers)

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

    def test_a_deactivation_by_an_operator(self, runner, user, events):
        """The command is also an event for the sessions it ends."""
        events()
        runner.invoke(args=["users", "deactivate", "grace"])

        changed, ended = events()
        assert (changed["event"], changed["is_active"]) == ("authz_change", False)
        assert (ended["event"], ended["sessions"], ended["by"]) == ("session_ended", "all", "command line")

    def test_another_users_session(self, client, user, other, events):
        """The 404 for another user's session is an event, and that for an unknown one is none."""
        events()
        for session_id in (claims(other.access_token)["sid"], "00000000-0000-4000-8000-000000000000"):
            response = client.delete(f"{API}/auth/sessions/{session_id}", headers=user.headers)
            assert error(response) == (404, "not_found")

        [line] = events()
        assert (line["event"], line["reason"], line["user_id"]) == ("authz_fail", "not_found", user.id)

    def test_a_dead_token(self, client, user, events):
        """The event of an expired token, or of one whose session has ended, has its user and session."""
        sid = claims(user.access_token)["sid"]
        events()
        with time_machine.travel(utcnow() + timedelta(hours=1)):
            me(client, user.access_token)
        client.post(f"{API}/auth/logout", headers=user.headers)
        me(client, user.access_token)

        expired, _logout, ended = events()
        assert (expired["event"], expired["level"]) == ("authn_token_expired", "INFO")
        assert (ended["event"], ended["level"]) == ("session_use_after_expire", "WARNING")
        assert {(line["user_id"], line["session_id"]) for line in (expired, ended)} == {(user.id, sid)}

    def test_a_dead_token_that_does_not_count(self, client, user, events):
        """A fresh login ignores a dead token, so that its refusal is no event."""
        client.post(f"{API}/auth/logout", headers=user.headers)
        events()
        credentials = {"username": "grace", "password": PASSWORD}
        client.post(f"{API}/auth/fresh-login", json=credentials, headers=user.headers)

        assert names(events()) == ["authn_login_success"]

    def test_a_feature_that_is_off(self, app, client, events):
        """The refusal of a feature that is switched off names the setting."""
        app.config["REGISTRATION_OPEN"] = False
        client.post(f"{API}/auth/register", json={"username": "grace", "password": PASSWORD})

        [line] = events()
        assert (line["event"], line["reason"], line["setting"]) == ("authz_fail", "switched_off", "REGISTRATION_OPEN")

    def test_no_token(self, client, events):
        """A request without a token is no event, because every visitor sends some."""
        client.get(f"{API}/users/me")

        assert events() == []

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
