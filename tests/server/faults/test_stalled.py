"""F9: clients send half a request and stop."""

import socket
import time
from contextlib import ExitStack

import pytest
from harness import FULL, ROOT, ask_once, repeat, running

from support.serving import hasty_copy

THREADS = 4
WITHIN = repeat(20, 10)  # seconds
HEAD = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
STALLS = {
    "in_the_head": HEAD,
    "in_the_body": HEAD + b"Content-Length: 90\r\n\r\n{",
    "chunked_without_end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
}
BURSTS = [[name] for name in STALLS] if FULL else [list(STALLS)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stalled")
    root = ROOT if FULL else hasty_copy(folder)
    with running(folder, root=root, DATABASE_URL=f"sqlite:///{folder / 'x.db'}", THREADS=str(THREADS)) as server:
        yield server


@pytest.mark.parametrize("burst", BURSTS, ids="+".join)
def test_stalled_requests_end(server, burst, figure):
    """Stalled requests on all threads end in time, and other requests succeed."""
    with ExitStack() as stack:
        for number in range(2 * THREADS):
            stalled = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            stalled.sendall(STALLS[burst[number % len(burst)]])
        began = time.monotonic()
        waited = []
        while time.monotonic() < began + WITHIN and not (len(waited) > 3 and max(waited[-3:]) < 0.5):
            answer = ask_once(server.port, "GET", "/health/live")
            assert answer.is_good
            waited.append(answer.seconds)
        clear = time.monotonic() - began

    figure(
        f"F9 stalled {' and '.join(burst)}",
        stalled=2 * THREADS,
        threads=THREADS,
        longest_wait=max(waited),
        clear_after=clear,
    )
    assert clear < WITHIN
