"""The places of a token: header, cookies with CSRF values, body and query."""

import gc
from types import FunctionType

import pytest
import time_machine

from app.data.types import utcnow
from app.tokens import cookies
from support.api import API, PASSWORD, bearer, claims, error, log_in, make_admin, me, refresh

ACCESS, REFRESH = "access_token_cookie", "refresh_token_cookie"
CSRF = {ACCESS: "csrf_access_token", REFRESH: "csrf_refresh_token"}
NAMES = {*CSRF, *CSRF.values()}
TIMES = {"token_type", "expires_in", "session_expires_in"}  # what a body has beside cookies
EVERYWHERE = ("headers", "cookies", "json", "query_string")


class Browser:
    """A client with tokens in cookies, which sends their CSRF values like a script."""

    def __init__(self, app):
        self.client = app.test_client()

    def cookie(self, name):
        found = self.client.get_cookie(name)
        return found and found.value

    def names(self):
        return {name for name in NAMES if self.cookie(name) is not None}

    def send(self, method, path, *, by=ACCESS, csrf=None, **options):
        headers = {"X-CSRF-TOKEN": self.cookie(CSRF[by]) if csrf is None else csrf}
        return self.client.open(f"{API}/{path}", method=method, headers=headers, **options)

    def refresh(self):
        return self.send("POST", "auth/refresh", by=REFRESH)

    def log_in(self, username="grace"):
        body = {"username": username, "password": PASSWORD}
        return self.client.post(f"{API}/auth/login?use_cookies=true", json=body)


@pytest.fixture
def browser(app, user):
    """The user's browser, logged in by cookies."""
    browser = Browser(app)
    assert browser.log_in().status_code == 200
    return browser


def set_cookies(response):
    """The attributes of the cookies that an answer sets, by name."""
    cookies = {}
    for header in response.headers.getlist("Set-Cookie"):
        pair, *attributes = header.split("; ")
        cookies[pair.partition("=")[0]] = {attribute for attribute in attributes if "Expires" not in attribute}
    return cookies


class TestUseCookies:
    @pytest.mark.parametrize(
        ("path", "body", "names"),
        [
            ("register", {"username": "new", "password": PASSWORD}, NAMES),
            ("login", {"username": "grace", "password": PASSWORD}, NAMES),
            ("fresh-login", {"username": "grace", "password": PASSWORD}, {ACCESS, CSRF[ACCESS]}),
        ],
    )
    def test_puts_the_tokens_into_cookies(self, app, client, user, path, body, names):
        """With `use_cookies`, the tokens are in cookies and not in the body."""
        browser = Browser(app)
        response = browser.client.post(f"{API}/auth/{path}?use_cookies=true", json=body)

        assert response.status_code in (200, 201)
        assert response.json.keys() - {"user"} == TIMES
        assert browser.names() == names
        assert browser.send("GET", "users/me").status_code == 200

    def test_on_a_refresh_by_header(self, app, client, user):
        """A refresh by header can switch to cookies."""
        browser = Browser(app)
        response = browser.client.post(f"{API}/auth/refresh?use_cookies=true", headers=bearer(user.refresh_token))

        assert "access_token" not in response.json
        assert browser.refresh().status_code == 200

    def test_as_the_contract_describes_them(self, client, user):
        """The token cookies are HttpOnly, and all cookies have the path `/`."""
        body = {"username": user.username, "password": PASSWORD}
        with time_machine.travel(utcnow(), tick=False):  # or a second may pass between the session and its cookies
            response = client.post(f"{API}/auth/login?use_cookies=true", json=body)

        assert set_cookies(response) == {
            ACCESS: {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=900"},
            CSRF[ACCESS]: {"Path=/", "SameSite=Lax", "Max-Age=900"},
            REFRESH: {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=2592000"},
            CSRF[REFRESH]: {"Path=/", "SameSite=Lax", "Max-Age=2592000"},
        }
        assert response.headers["Cache-Control"] == "no-store"

    def test_names_in_production(self, another, user):
        """In production the token cookies have `__Host-` names, and all cookies need TLS."""
        client = another(SECURE_COOKIES=True).test_client()
        response = client.post(
            f"{API}/auth/login?use_cookies=true", json={"username": user.username, "password": PASSWORD}
        )

        cookies = set_cookies(response)
        assert cookies.keys() == {f"__Host-{ACCESS}", f"__Host-{REFRESH}", *CSRF.values()}
        assert all("Secure" in attributes for attributes in cookies.values())
        assert all({"HttpOnly", "Path=/"} < cookies[f"__Host-{name}"] for name in (ACCESS, REFRESH))
        token = client.get_cookie(f"__Host-{ACCESS}").value
        assert client.get(f"{API}/users/me", base_url="https://localhost").status_code == 200
        client.delete_cookie(f"__Host-{ACCESS}")
        client.set_cookie(ACCESS, token)
        assert error(client.get(f"{API}/users/me")) == (401, "authorization_required")

    @pytest.mark.parametrize("value", ["maybe", "", "true&use_cookies=true"])
    def test_is_true_or_false(self, client, user, value):
        """`use_cookies` must be a single boolean."""
        body = {"username": user.username, "password": PASSWORD}

        assert error(client.post(f"{API}/auth/login?use_cookies={value}", json=body)) == (422, "validation_failed")

    def test_without_the_location(self, another, user):
        """Without `cookies` in JWT_TOKEN_LOCATION, no cookie is set or read."""
        client = another(JWT_TOKEN_LOCATION=("headers",)).test_client()
        body = {"username": user.username, "password": PASSWORD}
        response = client.post(f"{API}/auth/login?use_cookies=true", json=body)
        assert error(response) == (403, "forbidden")
        assert "JWT_TOKEN_LOCATION" in response.json["message"]
        assert "Set-Cookie" not in response.headers

        client.set_cookie(ACCESS, user.access_token)
        assert error(client.get(f"{API}/users/me")) == (401, "authorization_required")

    def test_is_not_on_by_itself(self, client, user):
        """Without `use_cookies`, no cookie is set and the token has no CSRF value."""
        response = client.post(f"{API}/auth/login", json={"username": user.username, "password": PASSWORD})

        assert "Set-Cookie" not in response.headers
        assert "csrf" not in claims(response.json["access_token"])


class TestPrefix:
    @pytest.mark.parametrize(("secure", "host"), [(False, ""), (True, "__Host-")])
    def test_is_in_front_of_each_name(self, another, user, secure, host):
        """COOKIE_PREFIX is in front of each name, behind `__Host-`."""
        client = another(COOKIE_PREFIX="blue_", SECURE_COOKIES=secure).test_client()
        body = {"username": user.username, "password": PASSWORD}
        response = client.post(f"{API}/auth/login?use_cookies=true", json=body)

        assert set_cookies(response).keys() == {
            f"{host}blue_{ACCESS}", f"{host}blue_{REFRESH}", f"blue_{CSRF[ACCESS]}", f"blue_{CSRF[REFRESH]}",
        }  # fmt: skip
        assert client.get(f"{API}/users/me", base_url="https://localhost").status_code == 200

    def test_two_instances(self, another, browser):
        """An instance with a prefix ignores the cookies of one without."""
        client = another(COOKIE_PREFIX="blue_").test_client()
        cookies = f"{ACCESS}={browser.cookie(ACCESS)}; {REFRESH}={browser.cookie(REFRESH)}"

        for method, path in (("GET", "users/me"), ("POST", "auth/refresh")):
            response = client.open(f"{API}/{path}", method=method, headers={"Cookie": cookies})
            assert error(response) == (401, "authorization_required")


class TestTwice:
    """A sibling domain can add a cookie of the same name, which browsers send beside ours."""

    @pytest.mark.parametrize("name", sorted(NAMES))
    @pytest.mark.parametrize(("method", "path"), [("GET", "users/me"), ("POST", "auth/refresh"), ("GET", "things")])
    def test_is_malformed(self, app, user, name, method, path):
        """A cookie of ours that comes twice is 400, whatever its values are."""
        client = app.test_client(use_cookies=False)
        for sent in (f"{name}=x; a=b; {name}=y", f"{name}=x;{name} =x", f"{name}=x, {name}"):
            for headers in ({}, user.headers):
                response = client.open(f"{API}/{path}", method=method, headers={"Cookie": sent, **headers})
                assert error(response) == (400, "bad_request")

    @pytest.mark.parametrize("path", ["login", "fresh-login"])
    def test_at_a_login(self, app, user, path):
        """A login with such cookies is 400 too."""
        body = {"username": user.username, "password": PASSWORD}
        headers = {"Cookie": f"{ACCESS}=x; {ACCESS}=y"}

        response = app.test_client(use_cookies=False).post(f"{API}/auth/{path}", json=body, headers=headers)

        assert error(response) == (400, "bad_request")

    def test_other_cookies_may(self, browser):
        """The cookies of other services may come twice."""
        cookies = f"a=1; {ACCESS}={browser.cookie(ACCESS)}; a=2; x{ACCESS}=3; b={ACCESS}"
        client = browser.client.application.test_client(use_cookies=False)

        assert client.get(f"{API}/users/me", headers={"Cookie": cookies}).status_code == 200

    def test_without_the_location(self, another, user):
        """Where cookies are no location, they are ignored."""
        client = another(JWT_TOKEN_LOCATION=("headers",)).test_client(use_cookies=False)
        headers = {"Cookie": f"{ACCESS}=x; {ACCESS}=y", **user.headers}

        assert client.get(f"{API}/users/me", headers=headers).status_code == 200


class TestCookieOfTheReleaseBefore:
    """The refresh cookie of release 0.1.0 had the path `/api/v1/auth`, and another name in production."""

    PATH = "/api/v1/auth"

    @pytest.fixture(params=[False, True], ids=["development", "production"])
    def old(self, another, user, request):
        """A browser with the cookies that release 0.1.0 has set."""
        app = another(SECURE_COOKIES=request.param)
        client = app.test_client()
        body = {"username": user.username, "password": PASSWORD}
        client.post(f"{API}/auth/login?use_cookies=true", json=body)
        host, self.name = ("__Host-", f"__Secure-{REFRESH}") if request.param else ("", REFRESH)
        self.new_name = f"{host}{REFRESH}"
        client.set_cookie(self.name, client.get_cookie(self.new_name).value, path=self.PATH, secure=request.param)
        client.delete_cookie(self.new_name)
        return client

    def send(self, client, path, **options):
        csrf = {"X-CSRF-TOKEN": client.get_cookie(CSRF[REFRESH]).value}
        return client.post(f"{API}/auth/{path}", headers=csrf, base_url="https://localhost", **options)

    def test_the_first_refresh_replaces_it(self, old):
        """The first refresh reads it, clears it and sets the new one."""
        assert self.send(old, "refresh").status_code == 200

        assert old.get_cookie(self.name, path=self.PATH) is None
        assert old.get_cookie(self.new_name) is not None
        assert self.send(old, "refresh").status_code == 200

    @pytest.mark.parametrize("path", ["login?use_cookies=true", "login", "register?use_cookies=true"])
    def test_a_login_replaces_it(self, old, user, path):
        """A login clears it, with or without new cookies."""
        name = "another" if path.startswith("register") else user.username
        response = self.send(old, path, json={"username": name, "password": PASSWORD})

        assert response.status_code in (200, 201)
        assert old.get_cookie(self.name, path=self.PATH) is None
        assert (old.get_cookie(self.new_name) is not None) is ("use_cookies" in path)

    @pytest.mark.parametrize("path", ["logout", "logout/refresh"])
    def test_a_logout_clears_it(self, old, path):
        """A logout of the session or of the refresh token clears it."""
        csrf = old.get_cookie(CSRF[REFRESH if path.endswith("refresh") else ACCESS]).value
        headers = {"X-CSRF-TOKEN": csrf}

        assert old.post(f"{API}/auth/{path}", headers=headers, base_url="https://localhost").status_code == 200

        assert old.get_cookie(self.name, path=self.PATH) is None

    def test_beside_a_new_one(self, old):
        """Two refresh cookies of one name are 400 once: the answer clears the old one."""
        assert self.send(old, "refresh").status_code == 200
        old.set_cookie(self.name, "x", path=self.PATH)

        first, second = (self.send(old, "refresh").status_code for _ in range(2))

        assert (first, second) == ((400, 200) if self.name == self.new_name else (200, 200))
        assert old.get_cookie(self.name, path=self.PATH) is None

    def test_with_a_prefix(self, another, old):
        """With COOKIE_PREFIX it is ignored, because it may be another instance's."""
        blue = another(COOKIE_PREFIX="blue_", SECURE_COOKIES=self.name != REFRESH).test_client(use_cookies=False)
        headers = {"Cookie": f"{self.name}={old.get_cookie(self.name, path=self.PATH).value}"}

        assert error(blue.post(f"{API}/auth/refresh", headers=headers)) == (401, "authorization_required")


class TestCsrf:
    def test_reading_needs_none(self, browser):
        """GET and HEAD need no CSRF value."""
        assert browser.send("GET", "users/me", csrf="").status_code == 200
        assert browser.send("HEAD", "users/me", csrf="").status_code == 200

    def test_writing_needs_the_value(self, browser):
        """A write with the CSRF value of the access token succeeds."""
        item = {"name": "Lamp", "price": "1"}

        assert browser.send("POST", "things", json=item).status_code == 201

    @pytest.mark.parametrize("csrf", ["", "x", "\xe9", "a" * 8000, "of the refresh token", "upper", "the token"])
    def test_another_value(self, browser, csrf):
        """Another CSRF value gets 403 with the name of the header, and writes nothing."""
        csrf = {
            "of the refresh token": browser.cookie(CSRF[REFRESH]),
            "upper": browser.cookie(CSRF[ACCESS]).upper(),
            "the token": browser.cookie(ACCESS),
        }.get(csrf, csrf)

        response = browser.send("POST", "things", json={"name": "Lamp", "price": "1"}, csrf=csrf)

        assert error(response) == (403, "csrf_failed")
        assert "X-CSRF-TOKEN" in response.json["message"]
        assert browser.client.get(f"{API}/things").json["things"] == []

    def test_a_refresh_needs_the_one_of_the_refresh_token(self, browser):
        """A refresh or logout/refresh needs the CSRF value of the refresh token."""
        assert error(browser.send("POST", "auth/refresh", by=ACCESS)) == (403, "csrf_failed")
        assert error(browser.send("POST", "auth/logout/refresh", by=ACCESS)) == (403, "csrf_failed")
        assert browser.refresh().status_code == 200

    def test_another_site_is_refused_whatever_it_sends(self, browser):
        """A cross-site request (Fetch Metadata) gets 403 even with the CSRF value."""
        headers = {"X-CSRF-TOKEN": browser.cookie(CSRF[ACCESS]), "Sec-Fetch-Site": "cross-site"}

        response = browser.client.post(f"{API}/auth/logout", headers=headers)

        assert error(response) == (403, "csrf_failed")

    def test_a_token_for_the_header_cannot_write_as_a_cookie(self, client, user):
        """A token without a CSRF value cannot write as a cookie."""
        client.set_cookie(ACCESS, user.access_token)

        for value in ("", "None", "null"):
            response = client.post(f"{API}/auth/logout", headers={"X-CSRF-TOKEN": value})
            assert error(response) == (403, "csrf_failed")

    def test_comes_after_the_token(self, browser):
        """An invalid cookie gets 401 before the CSRF check."""
        browser.client.set_cookie(ACCESS, "a.b.c")

        assert error(browser.send("POST", "auth/logout", csrf="")) == (401, "invalid_token")

    def test_a_fresh_login_is_a_write_too(self, browser):
        """A fresh login needs a CSRF value only if the cookie is valid."""
        body = {"username": "grace", "password": PASSWORD}
        assert error(browser.send("POST", "auth/fresh-login", json=body, csrf="")) == (403, "csrf_failed")

        browser.client.set_cookie(ACCESS, "a.b.c")
        response = browser.send("POST", "auth/fresh-login", json=body, csrf="")

        assert response.status_code == 200
        assert "access_token" in response.json


class TestAnswers:
    def test_no_request_leaves_its_tokens_behind(self, browser):
        """The function that sets cookies, which holds the tokens, is freed after each request."""
        for _ in range(3):
            assert browser.log_in().status_code == 200
        gc.collect()

        functions = (one.__qualname__ for one in gc.get_objects() if type(one) is FunctionType)
        assert [name for name in functions if name.startswith(f"{cookies.set_cookies.__qualname__}.<locals>")] == []

    def test_a_cookie_is_answered_by_cookie(self, browser):
        """New tokens go into cookies if the request had cookies."""
        before = browser.cookie(ACCESS), browser.cookie(REFRESH)
        response = browser.refresh()
        assert response.json.keys() == TIMES
        assert before != (browser.cookie(ACCESS), browser.cookie(REFRESH))

        response = browser.send("POST", "auth/fresh-login", json={"username": "grace", "password": PASSWORD})
        assert response.json.keys() == TIMES

        change = {"current_password": PASSWORD, "new_password": "another long one"}
        response = browser.send("PUT", "auth/password", json=change)
        assert response.json.keys() == TIMES
        assert browser.send("GET", "users/me").status_code == 200
        assert browser.refresh().status_code == 200

    def test_a_header_is_answered_in_the_body(self, browser, client, user):
        """A refresh by header returns the tokens in the body despite cookies."""
        response = browser.client.post(f"{API}/auth/refresh", headers=bearer(user.refresh_token))

        assert "access_token" in response.json
        assert "Set-Cookie" not in response.headers

    @pytest.mark.parametrize(
        ("method", "path", "left"),
        [
            ("POST", "auth/logout", set()),
            ("POST", "auth/logout/access", {REFRESH, CSRF[REFRESH]}),
            ("DELETE", "auth/sessions", set()),
            ("DELETE", "auth/sessions?keep_current=true", NAMES),
            ("DELETE", "auth/sessions/{own}", set()),
            ("DELETE", "users/me", set()),
        ],
    )
    def test_cookies_are_cleared(self, browser, method, path, left):
        """A request clears exactly the cookies of the tokens that it ends."""
        own = claims(browser.cookie(ACCESS))["sid"]

        assert browser.send(method, path.format(own=own)).status_code == 200

        assert browser.names() == left

    @pytest.mark.parametrize(("method", "body"), [("PATCH", {"is_active": False}), ("DELETE", None)])
    def test_an_administrator_ends_their_own_account(self, app, client, admin, browser, method, body):
        """An administrator who deactivates or deletes their own account loses the cookies."""
        make_admin(app, "grace")
        browser.log_in()
        own = claims(browser.cookie(ACCESS))["sub"]

        assert browser.send(method, f"users/{own}", json=body).status_code == 200

        assert browser.names() == set()

    def test_logout_of_the_refresh_token_clears_its_own(self, browser):
        """A logout of the refresh token clears only its own cookies."""
        assert browser.send("POST", "auth/logout/refresh", by=REFRESH).status_code == 200

        assert browser.names() == {ACCESS, CSRF[ACCESS]}

    def test_a_reused_token_clears_them(self, browser):
        """A reused refresh token gets 401 and clears the cookies."""
        old = browser.cookie(REFRESH), browser.cookie(CSRF[REFRESH])
        browser.refresh()
        browser.refresh()
        browser.client.set_cookie(REFRESH, old[0])

        response = browser.send("POST", "auth/refresh", by=REFRESH, csrf=old[1])

        assert error(response) == (401, "token_reused")
        assert browser.names() == set()

    def test_a_lost_race_clears_nothing(self, browser):
        """The second of two tabs that refresh gets the successor and keeps the cookies."""
        late = browser.cookie(REFRESH), browser.cookie(CSRF[REFRESH])
        browser.refresh()
        winner = browser.cookie(REFRESH), browser.cookie(CSRF[REFRESH])
        browser.client.set_cookie(REFRESH, late[0])

        assert browser.send("POST", "auth/refresh", by=REFRESH, csrf=late[1]).status_code == 200

        assert (browser.cookie(REFRESH), browser.cookie(CSRF[REFRESH])) == winner

    def test_an_ended_session_clears_nothing(self, browser):
        """An ended session clears no cookies, which may belong to a new login."""
        browser.client.post(f"{API}/auth/logout", headers=bearer(browser.cookie(ACCESS)))

        for response in (browser.refresh(), browser.send("POST", "auth/logout")):
            assert error(response) == (401, "token_revoked")
            assert "Set-Cookie" not in response.headers

    def test_ending_another_session_clears_nothing(self, browser, client):
        """Ending another session keeps the caller's cookies."""
        elsewhere = claims(log_in(client, "grace").access_token)["sid"]

        assert browser.send("DELETE", f"auth/sessions/{elsewhere}").status_code == 200

        assert browser.names() == NAMES

    def test_two_users_are_never_mixed(self, browser, other):
        """A fresh login as another user clears the refresh cookie of the first user."""
        body = {"username": other.username, "password": PASSWORD}

        assert browser.send("POST", "auth/fresh-login", json=body).status_code == 200

        assert browser.send("GET", "users/me").json["username"] == other.username
        assert browser.names() == {ACCESS, CSRF[ACCESS]}


class TestOrder:
    def test_the_header_wins(self, browser, other):
        """A token in the header wins over cookies and needs no CSRF value."""
        assert browser.client.get(f"{API}/users/me", headers=other.headers).json["username"] == other.username
        assert error(me(browser.client, "a.b.c")) == (401, "invalid_token")
        item = {"name": "Lamp", "price": "1"}
        assert browser.client.post(f"{API}/things", json=item, headers=other.headers).status_code == 201

    def test_another_scheme_counts_as_none(self, browser):
        """With another scheme in the header, the cookie counts."""
        headers = {"Authorization": "Basic eDp5"}

        assert browser.client.get(f"{API}/users/me", headers=headers).json["username"] == "grace"

    def test_an_empty_cookie_is_none(self, client):
        """An empty cookie counts as no token."""
        client.set_cookie(ACCESS, "")

        assert client.get(f"{API}/things").status_code == 200


class TestBody:
    @pytest.mark.parametrize("path", ["auth/refresh", "auth/logout/refresh"])
    def test_a_refresh_token_is_always_accepted(self, client, user, path):
        """A refresh token in the body is accepted whatever JWT_TOKEN_LOCATION is."""
        response = client.post(f"{API}/{path}", json={"refresh_token": user.refresh_token})

        assert response.status_code == 200

    def test_an_unknown_member(self, client, user):
        """A refresh with an unknown member in the body gets 422."""
        response = client.post(f"{API}/auth/refresh", json={"refresh_token": user.refresh_token, "x": 1})

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"json": {"x": ["Unknown field."]}}

    @pytest.mark.parametrize("value", [None, 1, True, [], {}, "", "a.b", "\x00"])
    def test_a_malformed_token(self, client, value):
        """A refresh token of another type or form gets 401."""
        response = client.post(f"{API}/auth/refresh", json={"refresh_token": value})

        assert error(response) == (401, "invalid_token")

    @pytest.mark.parametrize("body", ["{", "[1]", "1", '{"refresh_token":"a","refresh_token":"b"}'])
    def test_an_unreadable_body(self, client, body):
        """An unreadable body without a token gets 401, not 400."""
        response = client.post(f"{API}/auth/refresh", data=body, content_type="application/json")

        assert error(response) == (401, "authorization_required")

    def test_an_empty_body_is_fine(self, client, user):
        """With the token in the header, the body may be empty."""
        for content_type in ("application/json", None):
            response = client.post(f"{API}/auth/refresh", headers=bearer(user.refresh_token), content_type=content_type)
            assert response.status_code == 200

    def test_an_access_token_with_the_setting(self, another, user):
        """With `json` in JWT_TOKEN_LOCATION, the token is removed from the body before validation."""
        client = another(JWT_TOKEN_LOCATION=EVERYWHERE).test_client()
        body = {"name": "Lamp", "price": "1", "access_token": user.access_token}

        assert client.post(f"{API}/things", json=body).status_code == 201
        assert error(client.post(f"{API}/things", json={**body, "access_token": 7})) == (401, "invalid_token")
        response = client.post(f"{API}/things", json={**body, "name": "Two", "access_token": "x"}, headers=user.headers)
        assert response.status_code == 201  # the header wins, and the member is gone all the same


class TestQuery:
    @pytest.fixture
    def open_client(self, another):
        return another(JWT_TOKEN_LOCATION=EVERYWHERE).test_client()

    def test_a_token_with_the_setting(self, open_client, user, caplog):
        """With `query_string`, a token in the query works and is never shown or logged."""
        for name in ("a", "b"):
            open_client.post(f"{API}/things", json={"name": name, "price": "1"}, headers=user.headers)

        response = open_client.get(f"{API}/things?limit=1&jwt={user.access_token}")

        assert response.json["things"][0]["owner_id"] == user.id
        assert "jwt" not in response.headers["Link"]
        assert user.access_token not in caplog.text
        assert refresh(open_client, user.refresh_token).status_code == 200

    def test_two_tokens(self, open_client, user):
        """Two tokens in the query get 401."""
        response = open_client.get(f"{API}/users/me?jwt={user.access_token}&jwt={user.access_token}")

        assert error(response) == (401, "invalid_token")

    def test_is_an_unknown_parameter_elsewhere(self, open_client, user):
        """A token in the query of a public endpoint is an unknown parameter."""
        body = {"username": user.username, "password": PASSWORD}
        response = open_client.post(f"{API}/auth/login?jwt={user.access_token}", json=body)

        assert error(response) == (422, "validation_failed")
