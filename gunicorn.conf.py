"""How gunicorn serves the application: `gunicorn wsgi:app` reads this file."""

import importlib
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import gunicorn.util
from gunicorn.http.errors import ParseException

HERE = Path(__file__).parent

if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))
# A reload (SIGHUP) runs this file again, and reads those anew that it is made of. Of all else that is ours the master
# imports nothing.
for _stale in [name for name in sys.modules if name.partition(".")[0] == "server"]:
    del sys.modules[_stale]
from server import clients, logs, metrics, stopping, trial  # noqa: E402 -- see above

trial.load_libraries()
try:
    _settings = trial.try_to_start()
except trial.CannotStartError as problem:
    sys.exit(str(problem))

wsgi_app = "wsgi:app"
logger_class = logs.Logger
bind = f"127.0.0.1:{_settings.PORT}"
workers = _settings.WEB_CONCURRENCY
worker_class = stopping.Worker
threads = _settings.THREADS
timeout = 30  # seconds without a sign of life from a worker
graceful_timeout = 30
keepalive = 75  # longer than a proxy keeps its side (nginx: 60), or it meets a closed connection
max_requests = 100_000  # a leak, should there be one, does not grow for ever
max_requests_jitter = 10_000
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 -- the heartbeat must not wait for a disk
control_socket_disable = True  # or two services of one user meet in one socket
forwarded_allow_ips = ""  # who may say that the request came by https: nobody, unless the application is told
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190

# For what gunicorn has no setting.
gunicorn.util.write_error = clients.write_error
gunicorn.util.close_graceful = clients.close_graceful


def read_keys() -> bytes | None:
    """The key set as it stands in its file, sound or not."""
    try:
        return Path(_settings.JWT_KEYSET).read_bytes() if _settings.JWT_KEYSET else None
    except OSError:
        return None


_sound_keys = read_keys()  # the trial has just read it


def when_ready(server: Any) -> None:
    """What the master does besides, from the start to the end."""
    server.installed = trial.installed()
    server.metrics_folder = server.metrics_listener = None
    try:
        follow_settings(server)
    except OSError as error:
        sys.exit(f"latchkey cannot start: METRICS_PORT: cannot be opened at METRICS_HOST ({error.strerror})")
    trial.try_before_reload(server)
    stopping.drain_first(server)


def on_reload(server: Any) -> None:
    if trial.installed() != server.installed:
        server.log.warning("Other libraries are installed than those of the start, which go on: restart to use them")
    try:
        follow_settings(server)
    except OSError as error:
        server.log.error("No metrics: %s", error.strerror)  # noqa: TRY400 -- a line says it all


def follow_settings(server: Any) -> None:
    """Those of now.

    Raises:
        OSError: where the metrics cannot be served at their address.
    """
    server.drain_seconds = _settings.DRAIN_SECONDS
    try:
        metrics.listen_at(server, (_settings.METRICS_HOST, _settings.METRICS_PORT) if _settings.METRICS_PORT else None)
    finally:
        clients.bound_waits(server)


def pre_fork(server: Any, worker: Any) -> None:
    """See to it that a worker that dies while the key set is broken can be replaced all the same."""
    global _sound_keys  # noqa: PLW0603 -- gunicorn's hooks have nothing else in common
    keys = read_keys()
    if keys != _sound_keys:
        with suppress(trial.CannotStartError):
            trial.try_to_start()
            _sound_keys = keys
    taken = {other.place for other in server.WORKERS.values()}
    worker.place = next(place for place in range(len(taken) + 1) if place not in taken)


def post_fork(server: Any, worker: Any) -> None:
    """Hand over, in the worker, where the application may be imported, what the master knows."""
    # Until the worker has a handler of its own, the master's takes the signal and does nothing with it: a stop while
    # the application is imported would last for all of `graceful_timeout`. There is nothing to finish yet.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    keys: Any = importlib.import_module("app.tokens.keys")
    keys.sound_key_set = _sound_keys
    requests: Any = importlib.import_module("app.web.request")
    requests.framing_errors += (ParseException,)
    flag: Any = importlib.import_module("app.system.stopping")
    flag.flag = server.stopping
    if _settings.METRICS_PORT:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = server.metrics_folder
        numbers: Any = importlib.import_module("app.observability.metrics")
        numbers.place = worker.place


def child_exit(server: Any, worker: Any) -> None:
    metrics.forget(server, worker)


def on_exit(server: Any) -> None:
    metrics.remove_files(server)
