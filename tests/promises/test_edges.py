"""Proxies, host names, other origins, TLS: who is believed, and by which setting."""

import pytest

from app import create_app
from config import TestingConfig
from support.api import API, bearer, error, sign_up

APP = "https://app.example.com"
STRANGERS = [
    "https://evil.example",
    "https://app.example.com.evil.example",
    "https://evil-app.example.com",
    "https://appXexample.com",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://APP.example.com.",
    "null",
    "*",
]


def client_of(**settings):
    """A client of an application whose database nobody asks."""
    config = TestingConfig()
    for name, value in settings.items():
        setattr(config, name, value)
    return create_app(config).test_client()


def preflight(client, origin, path=f"{API}/auth/login", method="POST"):
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization, content-type"}
    return client.options(path, headers={"Origin": origin, **asked})


def cors(response):
    return {name for name, _value in response.headers if name.startswith("Access-Control-")}


class TestCors:
    def test_is_off_by_default(self):
        """No page of another origin reads an answer."""
        client = client_of()

        assert cors(client.get("/health/live", headers={"Origin": APP})) == set()
        assert cors(preflight(client, APP)) == set()

    def test_an_origin_that_was_named_may_call(self):
        """With cookies; it sees what it needs, and no cache gives its answers to others."""
        client = client_of(CORS_ORIGINS=(APP, "https://admin.example.com"))

        response = client.get("/health/live", headers={"Origin": APP})
        assert response.headers["Access-Control-Allow-Origin"] == APP
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert {"ETag", "Retry-After", "X-Request-ID"} <= set(
            response.headers["Access-Control-Expose-Headers"].split(", ")
        )
        assert "Origin" in response.vary

        asked = preflight(client, APP)
        assert asked.status_code == 200
        assert "POST" in asked.headers["Access-Control-Allow-Methods"]
        assert asked.headers["Access-Control-Allow-Headers"].lower() == "authorization, content-type"

    def test_an_error_can_be_read_too(self):
        """Else a front end sees a network failure where it should see a 401."""
        response = client_of(CORS_ORIGINS=(APP,)).get(f"{API}/users/me", headers={"Origin": APP})

        assert error(response) == (401, "authorization_required")
        assert response.headers["Access-Control-Allow-Origin"] == APP

    @pytest.mark.parametrize("origin", STRANGERS)
    def test_nobody_else_may(self, origin):
        """Neither a part of a name nor another scheme or port is the origin that was named."""
        client = client_of(CORS_ORIGINS=(APP, "https://admin.example.com"))

        assert "Access-Control-Allow-Origin" not in client.get("/health/live", headers={"Origin": origin}).headers
        assert "Access-Control-Allow-Origin" not in preflight(client, origin).headers

    @pytest.mark.parametrize("origin", STRANGERS)
    def test_one_origin_alone_is_matched_as_exactly(self, origin):
        """A browser that gets the name of another origin keeps the answer from the page."""
        client = client_of(CORS_ORIGINS=(APP,))

        for response in (client.get("/health/live", headers={"Origin": origin}), preflight(client, origin)):
            assert response.headers.get("Access-Control-Allow-Origin") in (None, APP)
            assert "Origin" in response.vary


class TestHosts:
    def test_any_is_taken_by_default(self):
        """A first run needs no setting."""
        assert client_of().get("/health/live", headers={"Host": "whatever.example"}).status_code == 200

    @pytest.mark.parametrize("host", ["api.example.com", "api.example.com:8000"])
    def test_ours_are_answered(self, host):
        """With any port."""
        client = client_of(TRUSTED_HOSTS=("api.example.com",))

        assert client.get("/health/live", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize("host", ["evil.example", "api.example.com.evil.example", "", "a b", "x/y"])
    @pytest.mark.parametrize("path", ["/health/live", "/nowhere", f"{API}/users/me"])
    def test_others_are_a_bad_request(self, host, path):
        """In the one shape, whatever they ask for."""
        client = client_of(TRUSTED_HOSTS=("api.example.com",))

        assert error(client.get(path, headers={"Host": host})) == (400, "bad_request")


class TestProxies:
    FORWARDED = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7", "X-Forwarded-Proto": "https, https"}  # noqa: RUF012

    def address(self, app, user_headers):
        sessions = app.test_client().get(f"{API}/auth/sessions", headers=user_headers).json["sessions"]
        return sessions[0]["ip_address"]

    @pytest.mark.parametrize(("hops", "address"), [(0, "127.0.0.1"), (1, "198.51.100.7"), (2, "203.0.113.9")])
    def test_as_many_are_believed_as_are_named(self, another, hops, address):
        """What stands before the outermost of ours, anybody could have written."""
        behind = another(TRUSTED_PROXIES=hops)
        body = {"username": "grace", "password": "correct horse battery"}
        response = behind.test_client().post(f"{API}/auth/register", json=body, headers=self.FORWARDED)

        assert self.address(behind, bearer(response.json["access_token"])) == address
        assert ("Strict-Transport-Security" in response.headers) is (hops > 0)

    @pytest.mark.parametrize(
        ("forwarded", "address"),
        [
            ("198.51.100.7:5000", "198.51.100.7"),
            ("[2001:db8::1]:99", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ],
    )
    def test_a_port_does_not_count(self, another, forwarded, address):
        """Some proxies name it; a client with another port is the same client."""
        behind = another(TRUSTED_PROXIES=1)
        client = behind.test_client()
        client.environ_base["HTTP_X_FORWARDED_FOR"] = forwarded

        assert self.address(behind, sign_up(client, "grace").headers) == address

    def test_nonsense_is_no_fault(self, another):
        """An address that is none is kept as it came, within its length."""
        behind = another(TRUSTED_PROXIES=1)
        client = behind.test_client()
        client.environ_base["HTTP_X_FORWARDED_FOR"] = "nonsense" * 60

        user = sign_up(client, "grace")

        assert self.address(behind, user.headers) == ("nonsense" * 60)[:45]


class TestTls:
    def test_is_promised_where_it_is(self):
        """For a year; over plain HTTP a browser would ignore it."""
        client = client_of()

        assert "Strict-Transport-Security" not in client.get("/health/live").headers
        response = client.get("/health/live", base_url="https://localhost")
        assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
