"""The sessions of a user: their state, list, limits and ends."""

from datetime import timedelta
from itertools import chain
from uuid import UUID

import pytest
import time_machine
from sqlalchemy import insert, update

from app.auth.models import Session
from app.data import expiry
from app.data.base import db
from app.data.types import utcnow
from support.api import API, PASSWORD, bearer, claims, count, error, log_in, me, refresh, sign_up, taken_lines

SESSIONS = f"{API}/auth/sessions"
FORTNIGHT = timedelta(days=14)


def sid(account):
    return claims(account.access_token)["sid"]


def renewed(client, account):
    """The headers of a stale token of the account."""
    return bearer(refresh(client, account.refresh_token).json["access_token"])


def listed(client, headers, query="", path=SESSIONS):
    response = client.get(f"{path}?{query}", headers=headers)
    assert response.status_code == 200, response.json
    return response.json["sessions"]


def add_sessions(app, user, number, **columns):
    """Add sessions with ids from 1, each used a second after the one before."""
    began = utcnow() - timedelta(days=1)
    shared = {"user_id": user.id, "expires_at": utcnow() + timedelta(days=1)} | columns
    times = [began + timedelta(seconds=n) for n in range(1, number + 1)]
    rows = [
        {"id": UUID(int=n), "created_at": time, "last_used_at": time} | shared for n, time in enumerate(times, start=1)
    ]
    with app.app_context():
        db.session.execute(insert(Session), rows)
        db.session.commit()


@pytest.fixture
def events(caplog):
    """Returns the security events since the last call."""
    return lambda: taken_lines(caplog, "app.security")


class TestGetSession:
    def test_after_a_login(self, client, user):
        """The state has the user, the session, the freshness and both lifetimes."""
        state = client.get(f"{API}/auth/session", headers=user.headers).json

        assert state.keys() == {"user", "session", "is_fresh", "expires_in", "session_expires_in"}
        assert state["user"] == me(client, user.access_token).json
        [session] = listed(client, user.headers)
        assert state["session"] == {name: session[name] for name in ("id", "created_at", "expires_at")}
        assert state["is_fresh"] is True
        assert 890 < state["expires_in"] <= 900
        assert 2_591_990 < state["session_expires_in"] <= 2_592_000

    def test_after_a_refresh(self, client, user):
        """After a refresh the session is the same, and the token is not fresh."""
        with time_machine.travel(utcnow() + timedelta(seconds=60), tick=False):
            state = client.get(f"{API}/auth/session", headers=renewed(client, user)).json

        assert state["session"]["id"] == sid(user)
        assert state["is_fresh"] is False
        assert state["expires_in"] in (899, 900)
        assert state["session_expires_in"] == pytest.approx(2_592_000 - 60, abs=1)

    def test_within_the_leeway(self, client, user):
        """An expired token that is still accepted has no second left."""
        with time_machine.travel(claims(user.access_token)["exp"] + 5, tick=False):
            assert client.get(f"{API}/auth/session", headers=user.headers).json["expires_in"] == 0

    def test_with_cookies(self, client, user):
        """With a cookie the state has the value for `X-CSRF-TOKEN`."""
        client.post(f"{API}/auth/login?use_cookies=true", json={"username": "grace", "password": PASSWORD})

        value = client.get(f"{API}/auth/session").json["csrf_token"]

        assert value == client.get_cookie("csrf_access_token").value
        assert client.post(f"{API}/auth/logout", headers={"X-CSRF-TOKEN": value}).status_code == 200


class TestTokens:
    @pytest.mark.parametrize("path", ["login", "fresh-login"])
    def test_say_when_the_session_ends(self, client, user, path):
        """`session_expires_in` is the lifetime of the session in seconds."""
        answer = client.post(f"{API}/auth/{path}", json={"username": "grace", "password": PASSWORD}).json

        assert answer["session_expires_in"] in ((2_592_000, 2_592_001) if path == "login" else (900, 901))

    def test_of_a_refresh(self, client, user):
        """A refresh does not extend the session."""
        with time_machine.travel(utcnow() + timedelta(days=10), tick=False):
            answer = refresh(client, user.refresh_token).json

        assert answer["session_expires_in"] == pytest.approx(20 * 86_400, abs=2)


class TestListSessions:
    def test_shows_own_sessions(self, client, user):
        """The list has the caller's sessions, newest first, and marks the current one."""
        sign_up(client, "linus")
        client.post(
            f"{API}/auth/login",
            json={"username": "grace", "password": PASSWORD},
            headers={"User-Agent": "Phone/1.0 " + "x" * 300},
        )

        sessions = listed(client, user.headers)

        assert len(sessions) == 2
        assert sessions[0].keys() == {
            "id",
            "created_at",
            "last_used_at",
            "expires_at",
            "user_agent",
            "ip_address",
            "current",
        }
        assert [session["current"] for session in sessions] == [False, True]
        assert sessions[0]["user_agent"].startswith("Phone/1.0")
        assert sessions[0]["ip_address"] == "127.0.0.1"
        assert sessions[1]["id"] == claims(user.access_token)["sid"]

    def test_the_current_one_is_in_use(self, client, user):
        """The current session shows the time of the request, before and after a refresh."""
        with time_machine.travel(utcnow() + timedelta(seconds=60), tick=False) as clock:
            assert listed(client, user.headers)[0]["last_used_at"] == shown(utcnow())
            refresh(client, user.refresh_token)
            clock.shift(5)
            assert listed(client, user.headers)[0]["last_used_at"] == shown(utcnow())

    def test_others_show_the_last_refresh(self, client, user):
        """The list shows when another session was last refreshed."""
        elsewhere = log_in(client, "grace")
        with time_machine.travel(utcnow() + timedelta(seconds=60), tick=False) as clock:
            refresh(client, user.refresh_token)
            moved = shown(utcnow())
            clock.shift(60)
            [_current, other] = listed(client, elsewhere.headers)

        assert other["last_used_at"] == moved > other["created_at"]

    def test_has_pages(self, app, client, user):
        """The pages have every living session once, newest first."""
        add_sessions(app, user, 25)
        found, path = [], f"{SESSIONS}?limit=10"
        while path:
            response = client.get(path, headers=user.headers)
            found.append([session["id"] for session in response.json["sessions"]])
            link = response.headers.get("Link", "")
            assert (response.json["next_cursor"] is None) is (link == "")
            path = link.removeprefix("<").removesuffix('>; rel="next"')

        assert [len(page) for page in found] == [10, 10, 6]
        assert [*chain(*found)] == [sid(user), *(str(UUID(int=n)) for n in range(25, 0, -1))]

    def test_a_page_is_bounded(self, app, client, user):
        """Of many sessions, a page without a limit has 20."""
        add_sessions(app, user, 300)

        assert len(listed(client, user.headers)) == 20
        assert error(client.get(f"{SESSIONS}?limit=101", headers=user.headers)) == (422, "validation_failed")

    def test_refuses_a_foreign_cursor(self, client, user, as_admin):
        """A cursor of another listing gets 422."""
        cursor = client.get(f"{API}/users?limit=1", headers=as_admin).json["next_cursor"]

        assert error(client.get(f"{SESSIONS}?cursor={cursor}", headers=user.headers)) == (422, "validation_failed")


def shown(time):
    return time.isoformat("T", "microseconds").replace("+00:00", "Z")


class TestDeleteSessions:
    def test_logs_out_everywhere(self, client, user):
        """All sessions of the caller end, the current one included."""
        elsewhere = log_in(client, "grace")
        other = sign_up(client, "linus")

        assert client.delete(f"{API}/auth/sessions", headers=user.headers).status_code == 200

        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert error(refresh(client, elsewhere.refresh_token)) == (401, "token_revoked")
        assert me(client, other.access_token).status_code == 200

    def test_can_keep_the_current_one(self, client, user):
        """With `keep_current` only the other sessions end."""
        elsewhere = log_in(client, "grace")

        assert client.delete(f"{API}/auth/sessions?keep_current=true", headers=user.headers).status_code == 200

        assert me(client, user.access_token).status_code == 200
        assert error(me(client, elsewhere.access_token)) == (401, "token_revoked")

    @pytest.mark.parametrize("query", ["", "?keep_current=true"])
    def test_needs_a_fresh_token(self, client, user, query):
        """A stale token gets 401 and ends no session."""
        elsewhere = log_in(client, "grace")
        stale = renewed(client, user)

        assert error(client.delete(f"{SESSIONS}{query}", headers=stale)) == (401, "fresh_token_required")
        assert me(client, elsewhere.access_token).status_code == 200

    @pytest.mark.parametrize(
        "query", ["keep_current=maybe", "keep_current=1", "keep=true", "keep_current=true&keep_current=false"]
    )
    def test_refuses_a_bad_query(self, client, user, query):
        """A bad query gets 422 and ends no session."""
        assert error(client.delete(f"{API}/auth/sessions?{query}", headers=user.headers)) == (422, "validation_failed")
        assert me(client, user.access_token).status_code == 200


class TestDeleteSession:
    def test_ends_one(self, client, user):
        """The session ends, and a second DELETE gets 404."""
        elsewhere = log_in(client, "grace")
        path = f"{API}/auth/sessions/{claims(elsewhere.access_token)['sid']}"

        assert client.delete(path, headers=user.headers).status_code == 200

        assert error(me(client, elsewhere.access_token)) == (401, "token_revoked")
        assert me(client, user.access_token).status_code == 200
        assert error(client.delete(path, headers=user.headers)) == (404, "not_found")

    def test_not_another_users(self, client, user, other):
        """Another user's session gets 404 and continues."""
        path = f"{API}/auth/sessions/{claims(other.access_token)['sid']}"

        assert error(client.delete(path, headers=user.headers)) == (404, "not_found")
        assert me(client, other.access_token).status_code == 200

    def test_another_one_needs_a_fresh_token(self, client, user):
        """A stale token ends its own session only."""
        elsewhere = log_in(client, "grace")
        stale = renewed(client, user)

        for other in (sid(elsewhere), str(UUID(int=1))):
            assert error(client.delete(f"{SESSIONS}/{other}", headers=stale)) == (401, "fresh_token_required")
        assert me(client, elsewhere.access_token).status_code == 200
        assert client.delete(f"{SESSIONS}/{sid(user)}", headers=stale).status_code == 200
        assert error(me(client, user.access_token)) == (401, "token_revoked")


class TestSessionsOfAUser:
    def test_list(self, app, client, user, as_admin):
        """An administrator sees the pages of a user's sessions, none of them current."""
        add_sessions(app, user, 2, user_agent="Phone/1.0")
        path = f"{API}/users/{user.id}/sessions"

        page = client.get(f"{path}?limit=2", headers=as_admin).json
        rest = listed(client, as_admin, f"limit=2&cursor={page['next_cursor']}", path)

        found = [*page["sessions"], *rest]
        assert [session["id"] for session in found] == [sid(user), str(UUID(int=2)), str(UUID(int=1))]
        assert {session["current"] for session in found} == {False}
        assert rest[0]["user_agent"] == "Phone/1.0"

    def test_end_all(self, client, user, other, admin, events):
        """An administrator ends all sessions of a user, and no other."""
        elsewhere = log_in(client, "grace")
        events()

        assert client.delete(f"{API}/users/{user.id}/sessions", headers=admin.headers).status_code == 200
        [line] = events()

        for account in (user, elsewhere):
            assert error(me(client, account.access_token)) == (401, "token_revoked")
            assert error(refresh(client, account.refresh_token)) == (401, "token_revoked")
        assert me(client, other.access_token).status_code == 200
        assert (line["event"], line["user_id"], line["by"]) == ("session_ended", user.id, admin.id)
        assert (line["sessions"], line["number"]) == ("all", 2)

    def test_end_ones_own(self, client, admin):
        """An administrator who ends the own sessions loses the cookies too."""
        client.post(f"{API}/auth/login?use_cookies=true", json={"username": admin.username, "password": PASSWORD})
        csrf = {"X-CSRF-TOKEN": client.get_cookie("csrf_access_token").value}

        assert client.delete(f"{API}/users/{admin.id}/sessions", headers=csrf).status_code == 200

        assert client.get_cookie("access_token_cookie") is None
        assert error(me(client, admin.access_token)) == (401, "token_revoked")

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_of_nobody(self, client, as_admin, method):
        """The sessions of an unknown user are a 404."""
        response = client.open(f"{API}/users/9999/sessions", method=method, headers=as_admin)

        assert error(response) == (404, "not_found")

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_needs_a_fresh_token(self, client, user, admin, method):
        """An administrator's stale token gets 401."""
        stale = renewed(client, admin)

        response = client.open(f"{API}/users/{user.id}/sessions", method=method, headers=stale)

        assert error(response) == (401, "fresh_token_required")
        assert me(client, user.access_token).status_code == 200


class TestIdle:
    """`SESSION_IDLE`: fourteen days without a refresh end a session."""

    @pytest.fixture
    def idle(self, app, user):
        """Ages the user's session by this time since the last refresh."""

        def age(since):
            with app.app_context():
                db.session.execute(update(Session).values(last_used_at=utcnow() - since))
                db.session.commit()

        return age

    def test_its_tokens_are_dead(self, client, user, idle):
        """The tokens of an idle session are revoked."""
        idle(FORTNIGHT + timedelta(seconds=1))

        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert error(refresh(client, user.refresh_token)) == (401, "token_revoked")

    def test_until_then_it_lives(self, client, user, idle):
        """A session lives until that time, and a refresh starts it again."""
        idle(FORTNIGHT - timedelta(seconds=60))
        assert me(client, user.access_token).status_code == 200
        renewal = refresh(client, user.refresh_token).json
        with time_machine.travel(utcnow() + FORTNIGHT - timedelta(seconds=60)):
            assert refresh(client, renewal["refresh_token"]).status_code == 200

    def test_a_fresh_login_is_a_use(self, client, user, idle):
        """A fresh login that joins the session starts the time again."""
        idle(FORTNIGHT - timedelta(seconds=60))
        body = {"username": "grace", "password": PASSWORD}
        token = client.post(f"{API}/auth/fresh-login", json=body, headers=user.headers).json["access_token"]

        with time_machine.travel(utcnow() + timedelta(seconds=120)):
            assert me(client, token).status_code == 200

    def test_is_not_listed(self, app, client, user):
        """The list has no idle session."""
        add_sessions(app, user, 2, last_used_at=utcnow() - FORTNIGHT - timedelta(seconds=1))

        assert [session["id"] for session in listed(client, user.headers)] == [sid(user)]

    def test_zero_is_no_limit(self, app, client, user, idle):
        """With SESSION_IDLE=0 only the end of the session counts."""
        app.config["SESSION_IDLE"] = 0
        idle(timedelta(days=29))

        assert len(listed(client, user.headers)) == 1
        assert refresh(client, user.refresh_token).status_code == 200

    @pytest.mark.parametrize(("seconds", "left"), [(1_209_600, 1), (0, 4)])
    @pytest.mark.parametrize("how", ["request", "command"])
    def test_is_pruned(self, app, client, user, runner, monkeypatch, how, seconds, left):
        """Requests and the command delete idle sessions, unless SESSION_IDLE is 0."""
        app.config["SESSION_IDLE"] = seconds
        monkeypatch.setattr(expiry, "PRUNE_EVERY", timedelta(0))
        add_sessions(app, user, 3, last_used_at=utcnow() - FORTNIGHT - timedelta(seconds=1))

        if how == "request":
            refresh(client, user.refresh_token)
        else:
            runner.invoke(args=["tokens", "prune"])

        assert count(app, Session) == left


class TestMaxSessions:
    """`MAX_SESSIONS`: a login above it ends the session that was used longest ago."""

    def test_a_user_has_at_most_fifty(self, app, client, user, other, events):
        """Of a hundred sessions a login leaves fifty, and reports the others."""
        add_sessions(app, user, 100)
        events()

        newest = log_in(client, "grace")

        ids = {session["id"] for session in listed(client, newest.headers, "limit=100")}
        assert ids == {sid(newest), sid(user), *(str(UUID(int=n)) for n in range(53, 101))}
        assert me(client, other.access_token).status_code == 200
        login, ended = events()
        assert login["event"] == "authn_login_success"
        assert (ended["event"], ended["sessions"], ended["number"]) == ("session_ended", "others", 52)

    def test_the_longest_unused_one_ends(self, app, client, user):
        """A refresh keeps an old session, and a newer unused one ends."""
        app.config["MAX_SESSIONS"] = 2
        unused = log_in(client, "grace")
        kept = renewed(client, user)

        log_in(client, "grace")

        assert error(me(client, unused.access_token)) == (401, "token_revoked")
        assert client.get(f"{API}/users/me", headers=kept).status_code == 200

    @pytest.mark.parametrize("column", ["expires_at", "last_used_at"])
    def test_dead_sessions_do_not_count(self, app, client, user, column):
        """Expired and idle sessions take no place."""
        app.config["MAX_SESSIONS"] = 2
        add_sessions(app, user, 3, **{column: utcnow() - timedelta(days=15)})

        log_in(client, "grace")

        assert me(client, user.access_token).status_code == 200

    def test_one(self, app, client, user):
        """With MAX_SESSIONS=1 a login ends the other session."""
        app.config["MAX_SESSIONS"] = 1

        newest = log_in(client, "grace")

        assert [session["id"] for session in listed(client, newest.headers)] == [sid(newest)]

    def test_zero_is_no_limit(self, app, client, user):
        """With MAX_SESSIONS=0 a login ends no session."""
        app.config["MAX_SESSIONS"] = 0
        add_sessions(app, user, 60)

        log_in(client, "grace")

        assert count(app, Session) == 62

    def test_fresh_logins_count(self, app, client, user):
        """A fresh login without a session ends the longest unused one too."""
        app.config["MAX_SESSIONS"] = 2
        elsewhere = log_in(client, "grace")

        client.post(f"{API}/auth/fresh-login", json={"username": "grace", "password": PASSWORD})

        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert me(client, elsewhere.access_token).status_code == 200


class TestReplacedSession:
    """A login that presents a living session ends it."""

    def log_in(self, client, headers=None, username="grace", query="", password=PASSWORD):
        body = {"username": username, "password": password}
        return client.post(f"{API}/auth/login{query}", json=body, headers=headers)

    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    def test_by_header(self, client, user, events, kind):
        """The session of a token in the header ends, and the log says so."""
        elsewhere = log_in(client, "grace")
        events()

        token = self.log_in(client, bearer(getattr(user, kind))).json["access_token"]
        login, ended = events()

        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert me(client, elsewhere.access_token).status_code == 200
        assert me(client, token).status_code == 200
        assert (login["event"], ended["event"]) == ("authn_login_success", "session_ended")
        assert (ended["user_id"], ended["session_id"], ended["by"]) == (user.id, sid(user), user.id)

    @pytest.mark.parametrize("cookie", ["access_token_cookie", "refresh_token_cookie"])
    def test_by_cookie(self, app, client, user, cookie):
        """Either cookie ends its session, without a CSRF value."""
        client.set_cookie(cookie, user.access_token if cookie.startswith("access") else user.refresh_token)

        assert self.log_in(client, query="?use_cookies=true").status_code == 200

        assert error(me(app.test_client(), user.access_token)) == (401, "token_revoked")
        assert client.get(f"{API}/users/me").status_code == 200
        assert count(app, Session) == 1

    def test_cookies_are_cleared(self, client, user):
        """A login that answers in the body clears the cookies of the ended session."""
        self.log_in(client, query="?use_cookies=true")

        assert "access_token" in self.log_in(client).json

        assert client.get_cookie("access_token_cookie") is None
        assert client.get_cookie("refresh_token_cookie") is None

    def test_of_another_user(self, client, user, other):
        """A login as another user ends the session that the browser had."""
        assert self.log_in(client, user.headers, "linus").status_code == 200

        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert me(client, other.access_token).status_code == 200

    def test_a_failed_login_ends_nothing(self, client, user):
        """A wrong password ends no session."""
        assert error(self.log_in(client, user.headers, password="wrong wrong")) == (401, "invalid_credentials")
        assert me(client, user.access_token).status_code == 200

    @pytest.mark.parametrize("token", ["a.b.c", "", "revoked"])
    def test_an_invalid_token_ends_nothing(self, app, client, user, token):
        """A token that is malformed or revoked has no session to end."""
        if token == "revoked":
            client.post(f"{API}/auth/logout/access", headers=user.headers)
            token = user.access_token

        assert self.log_in(client, {"Authorization": f"Bearer {token}"}).status_code == 200

        assert refresh(client, user.refresh_token).status_code == 200


class TestSingleSession:
    def fresh_login(self, client, headers=None):
        body = {"username": "grace", "password": PASSWORD}
        return client.post(f"{API}/auth/fresh-login", json=body, headers=headers).json["access_token"]

    def test_a_fresh_login_alone(self, app, client, user):
        """With SINGLE_SESSION four fresh logins leave one living token."""
        app.config["SINGLE_SESSION"] = True

        tokens = [self.fresh_login(client) for _ in range(4)]

        assert [me(client, token).status_code for token in tokens] == [401, 401, 401, 200]
        assert error(me(client, user.access_token)) == (401, "token_revoked")

    def test_a_fresh_login_that_joins(self, app, client, user, other, events):
        """With SINGLE_SESSION a fresh login ends all sessions but the one that it joins."""
        elsewhere = log_in(client, "grace")
        app.config["SINGLE_SESSION"] = True
        events()

        token = self.fresh_login(client, user.headers)
        logged = [(line["event"], line.get("number")) for line in events()]

        assert claims(token)["sid"] == sid(user)
        assert error(me(client, elsewhere.access_token)) == (401, "token_revoked")
        for alive in (token, user.access_token, other.access_token):
            assert me(client, alive).status_code == 200
        assert logged == [("authn_login_success", None), ("session_ended", 1)]


class TestStoppedRenewal:
    def test_ends_with_its_access_token(self, app, client, user):
        """After logout/refresh a session is listed no longer than its access token lives."""
        elsewhere = log_in(client, "grace")
        client.post(f"{API}/auth/logout/refresh", headers=bearer(elsewhere.refresh_token))
        assert me(client, elsewhere.access_token).status_code == 200

        with time_machine.travel(claims(elsewhere.access_token)["exp"] + 1):
            assert [session["id"] for session in listed(client, renewed(client, user))] == [sid(user)]


class TestResent:
    def resend(self, client, user, *addresses):
        """Exchange the same refresh token from each address."""
        for address in addresses:
            response = client.post(
                f"{API}/auth/refresh",
                headers=bearer(user.refresh_token),
                environ_overrides={"REMOTE_ADDR": address},
            )
            assert response.status_code == 200

    @pytest.mark.parametrize(
        ("first", "second", "level"),
        [
            ("192.0.2.1", "192.0.2.1", "INFO"),
            ("2001:db8::1", "2001:db8::2", "INFO"),
            ("192.0.2.1", "192.0.2.2", "WARNING"),
            ("2001:db8::1", "2001:db8:0:1::1", "WARNING"),
        ],
    )
    def test_is_an_event(self, client, user, events, first, second, level):
        """A resent successor is an event, and a warning if it goes to another network."""
        events()

        self.resend(client, user, first, second)

        [line] = events()
        assert (line["event"], line["how"], line["level"]) == ("session_renewed", "resent", level)
        assert (line["user_id"], line["session_id"], line["ip_address"]) == (user.id, sid(user), second)

    def test_a_rotation_of_the_release_before(self, app, client, user, events):
        """Without the address of the exchange the event is no warning."""
        self.resend(client, user, "192.0.2.1")
        with app.app_context():
            db.session.execute(update(Session).values(rotated_from=None))
            db.session.commit()
        events()

        self.resend(client, user, "192.0.2.2")

        assert [line["level"] for line in events()] == ["INFO"]
