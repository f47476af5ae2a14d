"""Metrics of several workers on their own port, and traces without a collector."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from config import TestingConfig
from support import secrets_in_logs
from support.exposition import read
from support.serving import BIN, ROOT, environment, free_port, parse, send, serving

WAIT = 30  # seconds until a worker replaces another one on a busy machine
LIVE = ("latchkey_requests_total", ("method", "GET"), ("route", "/health/live"), ("status", "200"))


def numbers(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return read(answer.read().decode())


def children(process):
    return {int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()}


def wait_for(condition):
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def folders():
    return set(Path("/dev/shm").glob("gunicorn-metrics-*"))  # noqa: S108 -- server/metrics.py creates them there


def folder_of(worker):
    settings = Path(f"/proc/{worker}/maps").read_text().split()
    return next(Path(word).parent for word in settings if "gunicorn-metrics-" in word)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="finds the workers in /proc")
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_add_up(tmp_path, workers):
    """Every worker reports the sum, and counters survive a dead worker and a reload."""
    metrics_port = free_port()
    settings = {"WEB_CONCURRENCY": str(workers), "METRICS_PORT": str(metrics_port), "LOG_FORMAT": "json"}

    with serving(DATABASE_URL=f"sqlite:///{tmp_path / 'x.db'}", APP_ENV="testing", **settings) as (port, process):

        def limit():
            return numbers(metrics_port).get(("latchkey_database_connections_limit",), 0)

        wait_for(lambda: limit() == TestingConfig.THREADS * workers)
        for _ in range(20):
            assert parse(send(port, b"GET /health/live HTTP/1.0\r\n\r\n"))[0] == 200
        assert numbers(metrics_port)[LIVE] == 20
        folder = folder_of(min(children(process)))
        files = sorted(folder.iterdir())
        assert folder.stat().st_mode & 0o077 == 0

        os.kill(min(children(process)), signal.SIGKILL)
        wait_for(lambda: limit() == TestingConfig.THREADS * workers and len(children(process)) == workers)
        assert numbers(metrics_port)[LIVE] == 20
        assert sorted(folder.iterdir()) == files

        before = children(process)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: not before & children(process) and limit() == TestingConfig.THREADS * workers)
        parse(send(port, b"GET /health/live HTTP/1.0\r\n\r\n"))
        assert numbers(metrics_port)[LIVE] == 21

        address = f"Host: 127.0.0.1:{metrics_port}".encode()
        status, _headers, body = parse(send(port, b"GET /metrics HTTP/1.0\r\n" + address + b"\r\n\r\n"))
        assert (status, body["error"]) == (404, "not_found")
    assert not folder.exists()


@pytest.mark.parametrize("by", ["somebody else", "the service"])
def test_a_port_that_is_taken_stops_gunicorn_at_once(tmp_path, by):
    """The start fails with a line that names METRICS_PORT, and leaves no folder."""
    before = folders()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if by == "the service":
            taken.close()
        settings = {"METRICS_PORT": str(port), "DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}"}
        bind = port if by == "the service" else free_port()
        run = subprocess.run(
            [BIN / "gunicorn", "wsgi:app", "--bind", f"127.0.0.1:{bind}"],
            cwd=ROOT, env=environment(APP_ENV="testing", **settings),
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    assert run.returncode == 1
    assert "cannot start: METRICS_PORT: " in run.stderr
    assert "Traceback" not in run.stderr
    assert folders() <= before


def test_the_service_runs_without_a_collector(tmp_path):
    """Without a collector the service answers and stops in time."""
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    settings = {"TRACES": "true", **collector}
    with serving(DATABASE_URL=f"sqlite:///{tmp_path / 'x.db'}", APP_ENV="testing", **settings) as (port, process):
        assert parse(send(port, b"GET /health/live HTTP/1.0\r\n\r\n"))[0] == 200
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
        stopping = time.monotonic() - began

    assert stopping < 8
    assert "Traceback" not in secrets_in_logs.LOGS[-1]
