"""Start a server, and read the CPU time and memory of its processes."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).parent.parent
WORKERS, THREADS = 2, 64  # the defaults of config.py
START = 20  # seconds until a server must answer


class Use(NamedTuple):
    """The CPU time and memory of a server's processes."""

    cpu_s: float
    memory_mb: float


class Server(NamedTuple):
    name: str
    url: str
    process: psutil.Process

    def use(self) -> Use:
        """The kernel's count of CPU time in user and system mode.  Shared memory counts once."""
        every = [self.process, *self.process.children(recursive=True)]
        times = [one.cpu_times() for one in every]
        memory = sum(getattr(one.memory_full_info(), "pss", one.memory_info().rss) for one in every)
        return Use(sum(one.user + one.system for one in times), memory / 2**20)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _run(program: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(program, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(program)}\n{done.stderr}")


@contextmanager
def serving(name: str, module: str, database: str | None = None) -> Iterator[Server]:
    """Run a server under gunicorn, as in production, with a migrated database."""
    port = _free_port()
    environment = {
        **os.environ,
        "APP_ENV": "production",
        "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "PORT": str(port),
        "WEB_CONCURRENCY": str(WORKERS),
        "THREADS": str(THREADS),
        "TRUSTED_PROXIES": "1",  # the load pretends to come from many networks
        "REGISTRATIONS_PER_NETWORK": "0",
        "PYTHONPATH": str(ROOT),
    }
    gunicorn = [sys.executable, "-m", "gunicorn"]
    if database is not None:
        environment["DATABASE_URL"] = database
    if module == "wsgi:app":
        _run([sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"], environment)
        program = [*gunicorn, module]
    else:
        if database is not None:
            _run([sys.executable, "-m", "flask", "--app", module, "prepare"], environment)
        size = ["-w", str(WORKERS), "--threads", str(THREADS)]
        settings = ["-c", os.devnull, "-k", "gthread", *size, "--keep-alive", "75", "-b", f"127.0.0.1:{port}"]
        program = [*gunicorn, *settings, module]
    with subprocess.Popen(
        program, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        server = Server(name, f"http://127.0.0.1:{port}", psutil.Process(process.pid))
        try:
            _wait_for(server)
            yield server
        finally:
            process.terminate()


def _wait_for(server: Server) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(server.url, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{server.name} does not start.")
