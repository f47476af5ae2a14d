"""Trusted proxies, trusted hosts, CORS and HSTS, and their settings."""

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
    """A client of an application with these settings, whose database is not used."""
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
        """Without CORS_ORIGINS no response has a CORS header."""
        client = client_of()

        assert cors(client.get("/health/live", headers={"Origin": APP})) == set()
        assert cors(preflight(client, APP)) == set()

    def test_allowed_origin(self):
        """An allowed origin may send cookies, and may read the exposed headers."""
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

    def test_error(self):
        """An error has the CORS headers too."""
        response = client_of(CORS_ORIGINS=(APP,)).get(f"{API}/users/me", headers={"Origin": APP})

        assert error(response) == (401, "authorization_required")
        assert response.headers["Access-Control-Allow-Origin"] == APP

    @pytest.mark.parametrize("origin", STRANGERS)
    def test_other_origins(self, origin):
        """An origin with a similar name, another scheme or another port is not allowed."""
        client = client_of(CORS_ORIGINS=(APP, "https://admin.example.com"))

        assert "Access-Control-Allow-Origin" not in client.get("/health/live", headers={"Origin": origin}).headers
        assert "Access-Control-Allow-Origin" not in preflight(client, origin).headers

    @pytest.mark.parametrize("origin", STRANGERS)
    def test_single_origin(self, origin):
        """With one allowed origin, no response allows another one."""
        client = client_of(CORS_ORIGINS=(APP,))

        for response in (client.get("/health/live", headers={"Origin": origin}), preflight(client, origin)):
            assert response.headers.get("Access-Control-Allow-Origin") in (None, APP)
            assert "Origin" in response.vary


class TestHosts:
    def test_any_by_default(self):
        """Without TRUSTED_HOSTS every host is accepted."""
        assert client_of().get("/health/live", headers={"Host": "whatever.example"}).status_code == 200

    @pytest.mark.parametrize("host", ["api.example.com", "api.example.com:8000"])
    def test_trusted_host(self, host):
        """A trusted host is accepted with any port."""
        client = client_of(TRUSTED_HOSTS=("api.example.com",))

        assert client.get("/health/live", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize("host", ["evil.example", "api.example.com.evil.example", "", "a b", "x/y"])
    @pytest.mark.parametrize("path", ["/health/live", "/nowhere", f"{API}/users/me"])
    def test_other_hosts(self, host, path):
        """Another host gets 400 on every path."""
        client = client_of(TRUSTED_HOSTS=("api.example.com",))

        assert error(client.get(path, headers={"Host": host})) == (400, "bad_request")


class TestProxies:
    FORWARDED = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7", "X-Forwarded-Proto": "https, https"}  # noqa: RUF012

    def address(self, app, user_headers):
        sessions = app.test_client().get(f"{API}/auth/sessions", headers=user_headers).json["sessions"]
        return sessions[0]["ip_address"]

    @pytest.mark.parametrize(("hops", "address"), [(0, "127.0.0.1"), (1, "198.51.100.7"), (2, "203.0.113.9")])
    def test_number_of_proxies(self, another, hops, address):
        """TRUSTED_PROXIES selects the forwarded address, and 0 ignores the headers."""
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
    def test_port(self, another, forwarded, address):
        """The port in X-Forwarded-For is dropped."""
        behind = another(TRUSTED_PROXIES=1)
        client = behind.test_client()
        client.environ_base["HTTP_X_FORWARDED_FOR"] = forwarded

        assert self.address(behind, sign_up(client, "grace").headers) == address

    def test_invalid_address(self, another):
        """An invalid address is stored as sent, cut to 45 characters."""
        behind = another(TRUSTED_PROXIES=1)
        client = behind.test_client()
        client.environ_base["HTTP_X_FORWARDED_FOR"] = "nonsense" * 60

        user = sign_up(client, "grace")

        assert self.address(behind, user.headers) == ("nonsense" * 60)[:45]


class TestTls:
    @pytest.mark.parametrize(
        ("settings", "sent"),
        [
            ({}, ["max-age=31536000"]),
            ({"HSTS_SECONDS": 300}, ["max-age=300"]),
            ({"HSTS_SUBDOMAINS": True}, ["max-age=31536000; includeSubDomains"]),
            ({"HSTS_SECONDS": 0, "HSTS_SUBDOMAINS": True}, []),
        ],
    )
    def test_hsts(self, settings, sent):
        """HTTPS responses, also errors, have the Strict-Transport-Security of the settings; HTTP has none."""
        client = client_of(**settings)

        for path in ("/health/live", "/nowhere"):
            assert client.get(path).headers.getlist("Strict-Transport-Security") == []
            response = client.get(path, base_url="https://localhost")
            assert response.headers.getlist("Strict-Transport-Security") == sent
