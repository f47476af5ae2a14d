"""Settings of gunicorn.  `gunicorn wsgi:app` reads this file."""

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
# A reload (SIGHUP) runs this file again and imports `server` again. The master imports nothing else of ours.
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
keepalive = 75  # longer than a proxy keeps an idle connection (nginx: 60), so that the proxy closes first
max_requests = 100_000  # limits the effect of a memory leak
max_requests_jitter = 10_000
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 -- the heartbeat must not wait for a disk
control_socket_disable = True  # otherwise two services of one user share one socket
forwarded_allow_ips = ""  # trust nobody's X-Forwarded-Proto here; TRUSTED_PROXIES decides in the application
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190

# gunicorn has no settings for these (docs/operations.md, "Patches of gunicorn").
gunicorn.util.write_error = clients.write_error
gunicorn.util.close_graceful = clients.close_graceful


def read_keys() -> bytes | None:
    """The content of the key set file, valid or not."""
    try:
        return Path(_settings.JWT_KEYSET).read_bytes() if _settings.JWT_KEYSET else None
    except OSError:
        return None


_valid_keys = read_keys()  # valid, because the trial has just loaded it


def when_ready(server: Any) -> None:
    """Prepare the master: metrics address, reload check, draining."""
    server.installed = trial.installed()
    server.metrics_folder = server.metrics_listener = None
    try:
        follow_settings(server)
    except OSError as error:
        sys.exit(f"cannot start: METRICS_PORT: cannot be opened at METRICS_HOST ({error.strerror})")
    trial.try_before_reload(server)
    stopping.drain_first(server)


def on_reload(server: Any) -> None:
    if trial.installed() != server.installed:
        server.log.warning("The installed libraries have changed since the start; restart to use them")
    try:
        follow_settings(server)
    except OSError as error:
        server.log.error("METRICS_PORT: cannot be opened (%s); no metrics until the next reload", error.strerror)  # noqa: TRY400 -- one line is enough


def follow_settings(server: Any) -> None:
    """Apply the current settings.

    Raises:
        OSError: the address of the metrics cannot be opened.
    """
    server.drain_seconds = _settings.DRAIN_SECONDS
    try:
        metrics.listen_at(server, (_settings.METRICS_HOST, _settings.METRICS_PORT) if _settings.METRICS_PORT else None)
    finally:
        clients.bound_waits(server)


def pre_fork(server: Any, worker: Any) -> None:
    """Keep the last valid key set, and give the worker its index."""
    global _valid_keys  # noqa: PLW0603 -- gunicorn's hooks share no other state
    keys = read_keys()
    if keys != _valid_keys:
        with suppress(trial.CannotStartError):
            trial.try_to_start()
            _valid_keys = keys
    used = {other.worker_index for other in server.WORKERS.values()}
    worker.worker_index = next(index for index in range(len(used) + 1) if index not in used)


def post_fork(server: Any, worker: Any) -> None:
    """Hand the master's facts to the application.

    Only a worker may import the application.
    """
    # Until the worker sets its own handler, it has the master's, which ignores the signal. A stop during the import
    # of the application would last for all of `graceful_timeout`, although there is no request to finish yet.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    keys: Any = importlib.import_module("app.tokens.keys")
    keys.sound_key_set = _valid_keys
    request_module: Any = importlib.import_module("app.web.request")
    request_module.framing_errors += (ParseException,)
    stopping_module: Any = importlib.import_module("app.system.stopping")
    stopping_module.flag = server.stopping
    if _settings.METRICS_PORT:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = server.metrics_folder
        own_metrics: Any = importlib.import_module("app.observability.metrics")
        own_metrics.worker_index = worker.worker_index


def child_exit(server: Any, worker: Any) -> None:
    metrics.forget(server, worker)


def on_exit(server: Any) -> None:
    metrics.remove_files(server)
