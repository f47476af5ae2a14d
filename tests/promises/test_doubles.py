"""Facts that two files repeat, because neither may import the other."""

import re
from pathlib import Path
from typing import get_args, get_type_hints

import config_secrets
from app.tokens import claims, key_set
from app.web.codes import Code
from app.web.request import MAX_HEADERS, SECURITY_HEADERS
from config import Config
from server import clients

ROOT = Path(__file__).parent.parent.parent


def test_the_minimum_length_of_a_secret():
    """`config_secrets` and `key_set` have the same minimum length of a secret (RFC 7518)."""
    assert config_secrets.MIN_SECRET_BYTES == key_set.MIN_SECRET_BYTES


def test_the_longest_life_of_a_token():
    """`claims` has the longest lives that the settings allow."""
    hints = get_type_hints(Config, include_extras=True)
    longest = {kind: get_args(hints[f"JWT_{kind.upper()}_TOKEN_EXPIRES"])[1].max for kind in claims.MAX_LIFE}

    assert longest == claims.MAX_LIFE


def test_gunicorn_refuses_as_the_application_does():
    """Each refusal of `server/clients.py` is a code of the application, with its status and message."""
    for status, (name, message) in clients.REFUSALS.items():
        assert (Code[name].status, Code[name].message) == (status, message)
    assert Code[clients.MALFORMED[0]].status == 400


def test_gunicorn_refuses_with_the_security_headers(monkeypatch):
    """The answers of `server/clients.py` have the headers of the application's answers."""
    sent = []
    monkeypatch.setattr(clients.gunicorn.util, "write_nonblock", lambda _sock, data: sent.append(data.decode()))

    clients.write_error(None, 414, "", "")

    lines = sent[0].partition("\r\n\r\n")[0].split("\r\n")
    assert {f"{name}: {value}" for name, value in SECURITY_HEADERS.items()} <= set(lines)


def test_the_codes_name_the_limits_of_gunicorn():
    """`uri_too_long` and `headers_too_large` give the numbers of gunicorn.conf.py and `MAX_HEADERS`."""
    found = re.findall(r"^limit_request_(\w+) = (\d+)$", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE)
    limits = {name: int(number) for name, number in found}

    assert f"{limits['line']:,} bytes" in Code.uri_too_long.when
    assert f"{limits['field_size']:,} bytes" in Code.headers_too_large.when
    assert f"{MAX_HEADERS:,}" in Code.headers_too_large.when
    assert limits["fields"] == 50
    assert re.search(r"\b(fifty|50)\b", Code.headers_too_large.when)
