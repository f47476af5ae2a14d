"""Gunicorn as deployed, on a free port, and raw requests to it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any

import pytest

from app.data.base import db
from config import TestingConfig
from support import contract, secrets_in_logs
from support.api import app_with_things, create_tables

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
WITH_THINGS = "support.wsgi:app"  # the application with the tests' own resource
BIN = Path(sys.executable).parent
KEY = "k" * 20 + "0123456789ab"
CHEAP = {"ARGON2_MEMORY_COST": "8", "ARGON2_TIME_COST": "1"}


def environment(**settings: str | None) -> dict[str, str]:
    """The environment of a program under test.  None removes a variable."""
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "COVERAGE_PROCESS_START")}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": str(TESTS), "FLASK_SKIP_DOTENV": "1", "JWT_SECRET_KEY": KEY}
    return {name: value for name, value in (kept | CHEAP | own | settings).items() if value is not None}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(
    root: Path = ROOT, probe: str = "/health/ready", app: str = "wsgi:app", **settings: str | None
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run gunicorn with one worker, and yield its port and process.

    Migrates the database first. The code comes from the folder `root`. The server
    is ready when it answers `probe` with 200.
    """
    port = free_port()
    env = environment(**{"PORT": str(port), "WEB_CONCURRENCY": "1", **settings})
    migrate(env["DATABASE_URL"])
    process = subprocess.Popen(
        [BIN / "gunicorn", app], cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until_ready(process, port, probe)
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        secrets_in_logs.LOGS.append(process.communicate(timeout=60)[0])
    assert process.returncode == 0  # after SIGTERM, gunicorn exits without an error


def migrate(url: str) -> None:
    """Migrate in this process, because the command takes a second longer."""
    config = TestingConfig()
    config.DATABASE_URL = url
    app = app_with_things(config)
    with app.app_context():
        create_tables()
        db.engine.dispose()


def copy_of_the_project(folder: Path) -> Path:
    """A copy whose `.env` and `server/` a test can change."""
    copy = folder / "copy"
    copy.mkdir()
    for name in ("app", "migrations", "config.py", "config_rules.py", "config_secrets.py", "wsgi.py"):
        (copy / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "gunicorn.conf.py", copy)
    shutil.copytree(ROOT / "server", copy / "server")
    return copy


def hasty_copy(folder: Path) -> Path:
    """A copy with short client timeouts, so that tests wait less."""
    copy = copy_of_the_project(folder)
    own = copy / "server" / "clients.py"
    text = own.read_text()
    for name, seconds in (("RECEIVE_TIMEOUT", 1), ("SEND_TIMEOUT", 2)):
        text, changes = re.subn(rf"^{name} = \d+", f"{name} = {seconds}", text, flags=re.MULTILINE)
        assert changes == 1
    own.write_text(text)
    return copy


def wait_until_ready(process: subprocess.Popen[Any], port: int, probe: str = "/health/ready") -> None:
    deadline = time.monotonic() + 60  # a busy machine starts it slowly
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"gunicorn has stopped: {process.stdout and process.stdout.read()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{probe}", timeout=5) as response:
                assert response.status == 200
                return
        except OSError:  # it does not listen yet, or does not answer in time
            time.sleep(0.05)
    pytest.fail("gunicorn is not ready after a minute")


def send(port: int, data: bytes, timeout: float = 15) -> bytes:
    """Send raw bytes, and return the response until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(data)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def parse(answer: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    content = json.loads(body)
    contract.SEEN.update({content["error"]} if "error" in content else ())
    return int(lines[0].split()[1]), headers, content


def post(port: int, path: str, body: object) -> tuple[int, dict[str, Any], HTTPMessage]:
    """Post JSON, and return the status, the JSON body and the headers."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.headers
