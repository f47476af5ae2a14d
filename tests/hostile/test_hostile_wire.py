"""Hostile bytes that no test client can send, against a real server."""

import secrets
import socket
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from hostile_cases import cases, content, numbered, stalls, statuses

from support import secrets_in_logs
from support.api import API, PASSWORD
from support.databases import fresh_beside
from support.serving import WITH_THINGS, hasty_copy, parse, post, read_all, send, serving

THREADS = 10


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    """A server, with the token of a user."""
    with (
        fresh_beside(database, tmp_path_factory.mktemp("wire")) as url,
        serving(app=WITH_THINGS, DATABASE_URL=url, APP_ENV="testing") as (port, _process),
    ):
        status, tokens, _headers = post(port, f"{API}/auth/register", {"username": "grace", "password": PASSWORD})
        assert status == 201
        yield SimpleNamespace(port=port, known={"token": tokens["access_token"]})


@pytest.mark.parametrize("case", cases("wire"))
def test_is_answered_as_it_should(server, case):
    """A raw request gets its answer in time, and the next request succeeds."""
    request_id = secrets.token_hex(8)
    began = time.monotonic()

    status, headers, body = parse(send(server.port, content(case["raw"], numbered(server.known))))

    assert time.monotonic() - began < 4
    assert [status] == statuses("wire", case), (case["why"], body)
    if status >= 400:
        assert body.keys() - {"errors"} == {"error", "message", "status", "request_id"}
        assert (body["status"], body["request_id"]) == (status, headers["X-Request-ID"])
    plain = f"GET {API}/things HTTP/1.0\r\nX-Request-ID: {request_id}\r\n\r\n".encode()
    assert parse(send(server.port, plain))[1]["X-Request-ID"] == request_id


def status_of(client):
    client.settimeout(0)
    try:
        answer = read_all(client)
    except BlockingIOError:  # still connected, which is allowed if it holds no thread
        return 0
    return parse(answer)[0] if answer else 0


def test_stalled_clients_delay_no_other_for_long(tmp_path):
    """Stalled clients on all threads delay another request for only a few seconds.

    The stalled requests do not reach the database, so one kind of database is enough.
    """
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'stalled.db'}", "APP_ENV": "testing", "THREADS": str(THREADS)}
    kinds = [case for _ in range(2 * THREADS // len(stalls())) for case in stalls()]
    with serving(root=hasty_copy(tmp_path), app=WITH_THINGS, **settings) as (port, _process), ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in kinds]
        for client, case in zip(clients, kinds, strict=True):
            client.sendall(content(case["raw"], numbered({"token": "x.y.z"})))
        time.sleep(0.5)  # every thread holds one
        began = time.monotonic()
        assert parse(send(port, b"GET /health/live HTTP/1.0\r\n\r\n", timeout=60))[0] == 200
        waited = time.monotonic() - began
        time.sleep(3)  # until the last stalled clients time out
        answers = [(case["id"], status_of(client)) for client, case in zip(clients, kinds, strict=True)]

    assert set(answers) == {(case["id"], *statuses("wire", case)) for case in stalls()}
    assert 0.4 < waited < 6  # shorter would mean that the stalled clients held no thread
    assert "Traceback" not in secrets_in_logs.LOGS[-1]
