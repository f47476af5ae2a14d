"""How gunicorn serves the application: `gunicorn wsgi:app` reads this file."""

import ctypes
import errno
import functools
import gc
import importlib
import inspect
import json
import logging
import mmap
import os
import re
import select
import shutil
import signal
import socket
import struct
import sys
import sysconfig
import tempfile
import threading
import time
import traceback
import uuid
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gunicorn.glogging
import gunicorn.sock
import gunicorn.util
import gunicorn.workers.gthread

HERE = Path(__file__).parent


# What the master has to know of the settings.
KNOWN = ("PORT", "WEB_CONCURRENCY", "THREADS", "DRAIN_SECONDS", "JWT_KEYSET", "METRICS_PORT", "METRICS_HOST")
# Nearly all of what it takes to import the application; these bring along the others.
LIBRARIES = ("argon2", "environs", "flask_cors", "flask_jwt_extended", "flask_migrate", "flask_smorest",
             "flask_sqlalchemy", "pythonjsonlogger")  # fmt: skip


def load_libraries() -> None:
    """Import once, before any fork, what otherwise every process would.  Not ours: a reload reads that anew."""
    for name in LIBRARIES:
        with suppress(ImportError):  # the trial tells of it
            importlib.import_module(name)
    gc.freeze()  # they stay: no collection has to look at them, and the workers share their memory


def installed() -> set[str]:
    """The libraries that are installed, with their versions."""
    return {path.name for path in Path(sysconfig.get_path("purelib")).glob("*.dist-info")}


class CannotStartError(Exception):
    """The application cannot start; the text says why."""


def try_to_start() -> SimpleNamespace:
    """The settings, told by a process that starts the application as a worker would.

    Before any worker does: one that cannot start is started again for ever.  And not in
    the master, which would keep modules of ours that a reload (SIGHUP) should read anew.

    Raises:
        CannotStartError: where it does not start.
    """
    reader, writer = os.pipe()
    trial = os.fork()
    if not trial:
        os.write(writer, json.dumps(start_and_tell()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = json.loads(pipe.read() or '{"problem": "it dies"}')
    os.waitpid(trial, 0)
    if "problem" in told:
        raise CannotStartError(told["problem"])
    return SimpleNamespace(**told)


def start_and_tell() -> dict[str, Any]:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.path.insert(0, str(HERE))
    try:
        application = importlib.import_module("wsgi").app
    except SystemExit as reason:
        return {"problem": str(reason)}
    except Exception:  # noqa: BLE001 -- whatever it is, the master tells it
        return {"problem": traceback.format_exc().strip()}
    return {name: application.config[name] for name in KNOWN}


load_libraries()
try:
    _settings = try_to_start()
except CannotStartError as problem:
    sys.exit(str(problem))

TOKEN = re.compile(r"eyJ[\w.-]+|(?<=jwt=)[^&\s'\"]+")


class Logger(gunicorn.glogging.Logger):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's own, which quotes request lines: without a token in them, or a trace for what a client does."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.addFilter(self._mask)
        self.access_log.addFilter(self._mask)

    @staticmethod
    def _mask(record: logging.LogRecord) -> bool:
        record.msg, record.args = TOKEN.sub("…", record.getMessage()), ()
        if record.exc_info and isinstance(record.exc_info[1], TimeoutError | BlockingIOError):
            record.exc_info = None  # SEND_TIMEOUT, RECEIVE_TIMEOUT: a client that stops is no fault of ours
        return True


def read_keys() -> bytes | None:
    """The key set as it stands in its file, sound or not."""
    try:
        return Path(_settings.JWT_KEYSET).read_bytes() if _settings.JWT_KEYSET else None
    except OSError:
        return None


_sound_keys = read_keys()  # the trial has just read it


def pre_fork(server: Any, worker: Any) -> None:
    """See to it that a worker that dies while the key set is broken can be replaced all the same."""
    global _sound_keys  # noqa: PLW0603 -- gunicorn's hooks have nothing else in common
    keys = read_keys()
    if keys != _sound_keys:
        with suppress(CannotStartError):
            try_to_start()
            _sound_keys = keys
    taken = {other.place for other in server.WORKERS.values()}
    worker.place = next(place for place in range(len(taken) + 1) if place not in taken)


class Worker(gunicorn.workers.gthread.ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's own, which, when it stops, goes on listening until it has served what it had accepted.

    Whoever connects meanwhile would be cut off unheard.  Accept them, and close.
    """

    sockets: list[Any]

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 -- gunicorn's signature
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                while select.select([listener.fileno()], [], [], 0)[0]:
                    self.accept(listener)
                listener.close()
            self.sockets = []


SO_ATTACH_FILTER = 26  # of Linux
# As of the socket filters of Linux: a segment that asks for a connection (SYN) is lost, every other one comes in.
NO_NEWCOMERS = struct.pack("HBBI" * 4, *(0x30, 0, 0, 13), *(0x45, 0, 1, 0x02), *(0x06, 0, 0, 0), *(0x06, 0, 0, 0xFFFF))


def turn_newcomers_away(listeners: Any) -> None:
    """Let nobody connect any more, but everybody in who has: the workers have time to accept them.

    Closing alone would cut off whoever connects a moment before, perhaps with a
    request that must not be sent twice.  A lost SYN costs its sender a second,
    and then it is refused, and may ask another server.
    """
    program = ctypes.create_string_buffer(NO_NEWCOMERS, len(NO_NEWCOMERS))
    for listener in listeners:
        with suppress(OSError):  # of a system that has no such thing
            filtering = struct.pack("HP", 4, ctypes.addressof(program))
            listener.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filtering)
    time.sleep(LAST_CALL)


def post_fork(server: Any, worker: Any) -> None:
    """Hand over, in the worker, where the application may be imported, what the master knows."""
    # Until the worker has a handler of its own, the master's takes the signal and does nothing with it: a stop while
    # the application is imported would last for all of `graceful_timeout`. There is nothing to finish yet.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.path.insert(0, str(HERE))
    keys: Any = importlib.import_module("app.auth.keys")
    keys.sound_key_set = _sound_keys
    stopping: Any = importlib.import_module("app.system.stopping")
    stopping.flag = server.stopping
    if _settings.METRICS_PORT:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = server.metrics_folder
        metrics: Any = importlib.import_module("app.metrics")
        metrics.place = worker.place


def child_exit(server: Any, worker: Any) -> None:
    """Forget how busy a worker was that is no more; what it counted stays."""
    if server.metrics_folder:
        importlib.import_module("prometheus_client.multiprocess").mark_process_dead(worker.place, server.metrics_folder)


def on_exit(server: Any) -> None:
    if server.metrics_folder:
        shutil.rmtree(server.metrics_folder, ignore_errors=True)


def on_reload(server: Any) -> None:
    """Follow the settings of now."""
    if installed() != server.installed:
        server.log.warning("Other libraries are installed than those of the start, which go on: restart to use them")
    try:
        serve_metrics(server)
    except OSError as error:
        server.log.error("No metrics: %s", error.strerror)  # noqa: TRY400 -- a line says it all
    bound_waits(server)


def serve_metrics(server: Any) -> None:
    """Open the metrics' own address, beside those of the service that the command line may have chosen.

    The workers answer there too: a thread of the master would be in the way of its
    forks, and a process of its own would have to be watched over.

    Raises:
        OSError: where it cannot be opened.
    """
    wanted = (_settings.METRICS_HOST, _settings.METRICS_PORT) if _settings.METRICS_PORT else None
    before = server.metrics_listener
    if before in server.LISTENERS and before.getsockname()[:2] != wanted:
        server.LISTENERS.remove(before)
        before.close()
    server.metrics_listener = None
    if wanted is None:
        return
    there = [one for one in server.LISTENERS if one.FAMILY != socket.AF_UNIX and one.getsockname()[1] == wanted[1]]
    # Ours, of before a reload or of a master of before (SIGUSR2); else the command line gave the service that port.
    if there and before not in there and not server.master_pid:
        raise OSError(errno.EADDRINUSE, "the service listens at that port")
    if not there:
        kind = gunicorn.sock.TCP6Socket if ":" in wanted[0] else gunicorn.sock.TCPSocket
        there = [kind(wanted, server.cfg, server.log)]
        server.LISTENERS += there
        server.log.info("Metrics at: %s", there[0])
    server.metrics_folder = server.metrics_folder or tempfile.mkdtemp(prefix="latchkey-metrics-", dir=worker_tmp_dir)
    server.metrics_listener = there[0]


wsgi_app = "wsgi:app"
logger_class = Logger
bind = f"127.0.0.1:{_settings.PORT}"
workers = _settings.WEB_CONCURRENCY
worker_class = Worker
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

RECEIVE_TIMEOUT = 5  # seconds: a client that stops sending loses its thread
SEND_TIMEOUT = 10  # seconds: so does one that stops taking what it asked for
MAX_LINGERING = 64  # connections that a worker closes at a time with patience
LAST_CALL = 0.2  # seconds before the end in which those are accepted who have connected
MALFORMED = "bad_request", "The request is malformed."
REFUSALS = {
    408: ("request_timeout", "The request did not arrive in time."),
    414: ("uri_too_long", "The address is too long."),
    431: ("headers_too_large", "The header fields are too large."),
    500: ("internal_error", "Something went wrong on our side."),
}


def bound_waits(server: Any) -> None:
    """Bound every read and write of a client's socket.  Accepted ones inherit it; `timeout` is not for threads."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", RECEIVE_TIMEOUT, 0))
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux (RFC 5482); SO_SNDTIMEO begins anew with every few bytes
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SEND_TIMEOUT * 1000)


def when_ready(server: Any) -> None:
    """What gunicorn has no setting for."""
    server.installed = installed()
    server.metrics_folder = server.metrics_listener = None
    try:
        serve_metrics(server)
    except OSError as error:
        sys.exit(f"latchkey cannot start: METRICS_PORT: cannot be opened at METRICS_HOST ({error.strerror})")
    bound_waits(server)

    # A reload (SIGHUP) that would end in workers that cannot start leaves those that run alone.
    reload = server.reload

    def reload_if_it_can_start() -> None:
        try:
            try_to_start()
        except CannotStartError as problem:
            server.log.error("Not reloaded, the workers of before go on: %s", problem)  # noqa: TRY400 -- a line says it
        else:
            reload()

    server.reload = reload_if_it_can_start

    # SIGTERM makes /health/ready 503 at once; the stop comes DRAIN_SECONDS later, or with the next SIGTERM.
    server.stopping = mmap.mmap(-1, 1)  # of the master and all workers
    stop = server.handle_term

    def drain_and_stop() -> None:
        again, server.stopping[0] = server.stopping[0], 1
        if again or not _settings.DRAIN_SECONDS:
            turn_newcomers_away(server.LISTENERS)
            stop()
        server.log.info("Serving on for %s s, unready", _settings.DRAIN_SECONDS)
        signal.signal(signal.SIGALRM, lambda *_: server.signal(signal.SIGTERM, None))
        signal.alarm(_settings.DRAIN_SECONDS)

    server.handle_term = drain_and_stop


def write_error(sock: socket.socket, status: int, _reason: str, _message: str) -> None:
    """What is refused before the application sees it has the application's error shape too, and quotes nothing."""
    status = status if status in REFUSALS else 400
    code, message = REFUSALS.get(status, MALFORMED)
    request_id = str(uuid.uuid4())
    body = json.dumps({"error": code, "message": message, "status": status, "request_id": request_id}).encode()
    head = (
        f"HTTP/1.1 {status} {code.replace('_', ' ').title()}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\n"
        "Cache-Control: no-store\r\n"
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
        "Cross-Origin-Resource-Policy: same-origin\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        f"X-Request-ID: {request_id}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    gunicorn.util.write_nonblock(sock, head.encode("latin-1") + body)


gunicorn.util.write_error = write_error


_close_graceful = inspect.unwrap(gunicorn.util.close_graceful)  # after a reload the one there is ours of before
_lingering = threading.BoundedSemaphore(MAX_LINGERING)


@functools.wraps(_close_graceful)
def close_graceful(sock: socket.socket) -> None:
    """Close a connection without keeping anybody else.

    Whoever is told that this is the end gets two seconds to hang up, so that the answer is not lost (RFC 9112
    section 9.6). gunicorn spends them in the worker's main thread, which alone accepts connections: thirty clients
    that do not hang up keep everybody else out for a minute. So they are spent beside it, as far as there is room.
    """
    if threading.current_thread() is not threading.main_thread():
        _close_graceful(sock)
    elif _lingering.acquire(blocking=False):
        threading.Thread(target=_linger, args=(sock,), daemon=True).start()
    else:
        gunicorn.util.close(sock)


def _linger(sock: socket.socket) -> None:
    try:
        _close_graceful(sock)
    finally:
        _lingering.release()


gunicorn.util.close_graceful = close_graceful
