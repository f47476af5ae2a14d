"""The service under gunicorn, with real processes and sockets."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Barrier

import pytest
from jwt import get_unverified_header

from app.data.types import utcnow
from app.tokens.key_changes import activate_key, generate_key
from support import secrets_in_logs
from support.api import PASSWORD
from support.databases import fresh_database
from support.serving import (
    BIN,
    ROOT,
    copy_of_the_project,
    environment,
    free_port,
    hasty_copy,
    parse,
    post,
    read_all,
    send,
    serving,
    wait_until_ready,
)


def wait_for(condition):
    """Wait up to 30 s.  Ignores connections that a reload cuts off."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(OSError):
            if condition():
                return
        time.sleep(0.05)
    pytest.fail("the condition did not become true")


def children(process):
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with (
        fresh_database("sqlite", tmp_path_factory.mktemp("server")) as url,
        serving(DATABASE_URL=url, APP_ENV="testing") as (port, _process),
    ):
        yield port


CHUNKED = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
CHUNKED += b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 400, "bad_request"),
        # gunicorn logs this line; secrets_in_logs.py searches all logs for tokens at the end.
        (b"GET /?jwt=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9 HTTP/9.9\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-Big: " + b"a" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 51 + b"\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.0\r\n" + (b"Accept: " + b"a" * 8000 + b"\r\n") * 5 + b"\r\n", 431, "headers_too_large"),
        (CHUNKED + b"-1\r\nab\r\n0\r\n\r\n", 400, "bad_request"),
        (CHUNKED + b"11170\r\n" + b" " * 70000 + b"\r\n0\r\n\r\n", 413, "payload_too_large"),
        (CHUNKED + b"4\r\n[[[[\r\n0\r\n\r\n", 400, "bad_request"),
        (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", 422, "validation_failed"),
        (b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404, "not_found"),
    ],
)
def test_every_refusal_has_the_same_shape(port, request_bytes, status, code):
    """Errors of gunicorn have the shape and headers of the application's errors."""
    got, headers, body = parse(send(port, request_bytes))

    assert (got, body["error"], body["status"]) == (status, code, status)
    assert body["request_id"] == headers["X-Request-ID"]
    assert body.keys() - {"errors"} == {"error", "message", "status", "request_id"}
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_client_that_does_not_hang_up_delays_no_other(port):
    """Clients that do not hang up get their answers and delay no other client."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=15)) for _ in range(80)]
        for client in clients:
            client.sendall(b"nonsense\r\n\r\n")
        answers = [parse(read_all(client)) for client in clients]
        began = time.monotonic()
        status, _headers, _body = parse(send(port, b"GET /health/live HTTP/1.0\r\n\r\n"))
        waited = time.monotonic() - began

    assert {answer[0] for answer in answers} == {400}
    assert status == 200
    assert waited < 1.5


def test_a_client_that_stops_sending_loses_its_thread(port):
    """A missing body is a 408 after five seconds and delays no other client."""
    stalled = (
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(stalled)
        began = time.monotonic()
        status, _headers, _body = parse(send(port, b"GET /health/live HTTP/1.0\r\n\r\n"))
        others_waited = time.monotonic() - began
        answer = read_all(connection)
        waited = time.monotonic() - began

    assert status == 200
    assert others_waited < 4 < waited < 10
    assert parse(answer)[0] == 408
    assert parse(answer)[2]["error"] == "request_timeout"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux limits the time to read an answer")
def test_a_client_that_stops_reading_loses_its_thread(tmp_path):
    """Clients that stop reading a large answer do not occupy all threads."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}", "APP_ENV": "testing", "THREADS": "16"}
    with serving(root=hasty_copy(tmp_path), **settings) as (port, _process), ExitStack() as stack:
        for _ in range(16):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # the size on a network
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(1)
        answer = send(port, b"GET /health/live HTTP/1.0\r\n\r\n", timeout=40)

    assert parse(answer)[0] == 200
    assert "Traceback" not in secrets_in_logs.LOGS[-1]


def test_three_workers_have_one_count(app, database):
    """Of 80 parallel wrong logins at three workers, exactly five are checked.

    On a busy machine, some of the others get 503 before they are counted.
    """
    wrong = {"username": "grace", "password": "wrong password"}
    with serving(DATABASE_URL=database, APP_ENV="testing", WEB_CONCURRENCY="3") as (port, _process):
        barrier = Barrier(80)

        def guess(_number):
            barrier.wait()
            return post(port, "/api/v1/auth/login", wrong)

        with ThreadPoolExecutor(80) as pool:
            answers = list(pool.map(guess, range(80)))

    seen = Counter(status for status, _body, _headers in answers)
    assert (seen[401], seen[429] + seen[503]) == (5, 75)
    assert seen[429] > 0
    assert all(0 < int(headers["Retry-After"]) <= 300 for status, _body, headers in answers if status == 429)


def test_keys_change_under_a_running_server(tmp_path):
    """A reload loads a new key; with a broken key set the previous keys stay."""
    path = tmp_path / "keys.json"
    first, _signs = generate_key(path, "EdDSA", utcnow())
    body = {"username": "grace", "password": PASSWORD}
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}", "APP_ENV": "testing", "JWT_KEYSET": str(path)}

    with serving(**settings) as (port, process):

        def signs():
            token = post(port, "/api/v1/auth/login", body)[1]["access_token"]
            return get_unverified_header(token)["kid"]

        assert post(port, "/api/v1/auth/register", body)[0] == 201
        assert signs() == first
        before = children(process)
        second, _signs = generate_key(path, "ES256", utcnow())
        activate_key(path, second)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: signs() == second)  # the old worker may do so too, because it reads the changed file
        wait_for(lambda: len(children(process)) == 1 and children(process) != before)

        [worker] = children(process)
        path.write_text("{")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(children(process)) == 2)  # the trial process runs
        wait_for(lambda: len(children(process)) == 1)  # the trial has failed
        assert children(process) == [worker]
        assert signs() == second

        os.kill(int(worker), signal.SIGKILL)
        wait_until_ready(process, port)
        assert signs() == second  # the replacement has the previous keys

    log = secrets_in_logs.LOGS[-1]
    assert "Not reloaded; the old workers continue: cannot start: JWT_KEYSET: is malformed" in log
    assert "Traceback" not in log


def test_a_reload_reads_everything_again(tmp_path):
    """A reload reads `.env`, the settings of gunicorn and the code again."""
    folder = copy_of_the_project(tmp_path)
    own = folder / "server" / "clients.py"
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}", "APP_ENV": "development", "WEB_CONCURRENCY": None}
    (folder / ".env").write_text("WEB_CONCURRENCY=1\n")

    with serving(root=folder, **settings) as (port, process):

        def refusal():
            return parse(send(port, b"nonsense\r\n\r\n"))[2]["message"]

        def registration():
            return post(port, "/api/v1/auth/register", {"username": "grace", "password": PASSWORD})[0]

        assert (len(children(process)), refusal()) == (1, "The request is malformed.")
        (folder / ".env").write_text("WEB_CONCURRENCY=2\nREGISTRATION_OPEN=false\nDRAIN_SECONDS=1\n")
        own.write_text(own.read_text().replace("The request is malformed.", "What?"))
        (folder / "library-2.0.dist-info").mkdir()
        before = children(process)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(children(process)) == 2 and not set(before) & set(children(process)))

        assert refusal() == "What?"
        assert registration() == 403

    assert "Draining for 1 s: still serving, not ready" in secrets_in_logs.LOGS[-1]
    assert "The installed libraries have changed since the start" in secrets_in_logs.LOGS[-1]


def test_a_worker_imports_few_libraries():
    """The master has imported nearly all libraries, but no module of app."""
    program = """
import runpy, sys

sys.argv = ["gunicorn"]
runpy.run_path("gunicorn.conf.py")
before = set(sys.modules)
import wsgi

def is_ours(name):
    return name.partition(".")[0] in ("app", "config", "config_rules", "config_secrets", "wsgi")

print(len(list(filter(is_ours, before))), sum(not is_ours(name) for name in set(sys.modules) - before))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(APP_ENV="testing", DATABASE_URL="sqlite://"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours_before, others_after = map(int, run.stdout.split())

    assert ours_before == 0
    assert others_after < 50  # of some 900


@pytest.mark.parametrize("request_bytes", [b"GET /health/live HTTP/1.0\r\n\r\n", b"nonsense\r\n\r\n"])
def test_no_answer_tells_a_version(port, request_bytes):
    """No header names the version of gunicorn, Python, Werkzeug or Flask."""
    head = send(port, request_bytes).partition(b"\r\n\r\n")[0]

    assert re.search(rb"(gunicorn|python|werkzeug|flask)/?[0-9. ]+", head, re.IGNORECASE) is None


def test_bad_settings_stop_gunicorn_at_once():
    """Without a key, production exits with one line that names the setting."""
    env = environment(APP_ENV="production", JWT_SECRET_KEY="", PORT=str(free_port()))

    run = subprocess.run(
        [BIN / "gunicorn", "wsgi:app"], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=20
    )

    assert run.returncode == 1
    lines = run.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("cannot start: ")
    assert "JWT_SECRET_KEY: is not set" in lines[0]
