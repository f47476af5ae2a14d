"""Numbers for Prometheus, at an address of their own (METRICS_PORT).  Loaded only where they are asked for.

Nobody else knows Prometheus: what happens elsewhere is heard by signals.

Under gunicorn every worker writes its numbers into files, and whichever is
asked adds up the files of all. A file belongs to a worker index, not to a
process: the successor of a dead worker continues its counters, and the number of
files stays the same.
"""

import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import event

from app.data.base import db
from app.users.gate import Gate, load_changed
from app.web.logs import event_logged

if TYPE_CHECKING:  # not there when the program runs
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# The index of this worker, if server/metrics.py has made a folder for the files. None: there is only one process.
worker_index: int | None = None

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}  # anybody may invent more
NO_ROUTE = "none"
# Seconds. A request without a password takes a few milliseconds, one with a password a few dozen, or a second in a
# queue; five seconds is where the database gives up.
BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

LOGINS = {"authn_login_success": "success", "authn_login_fail": "wrong", "authn_login_lock": "locked"}


class _Everybody(Collector):
    """What the files of all workers add up to."""

    def collect(self) -> Iterable[Metric]:
        files = []
        for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("*.db"):
            with suppress(FileNotFoundError):  # of a worker that is no more
                if file.stat().st_size:  # or it has just been made, and the library would fail on it
                    files.append(str(file))
        return MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call, no-any-return]


class Metrics:
    """The numbers of one application."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.info = Gauge(
            "latchkey_info", "The version that runs.", ["version"], registry=own, multiprocess_mode="livemax"
        )
        self.requests = Counter("latchkey_requests", "Answers.", ["method", "route", "status"], registry=own)
        self.seconds = Histogram(
            "latchkey_request_seconds", "Seconds to an answer.", ["route"], registry=own, buckets=BUCKETS
        )
        self.logins = Counter("latchkey_logins", "Logins, by outcome.", ["outcome"], registry=own)
        self.refreshes = Counter(
            "latchkey_refreshes", "Refresh tokens that came, by outcome.", ["outcome"], registry=own
        )
        self.running = self._gauge("latchkey_hashes_running", "Passwords that are being hashed.")
        self.waiting = self._gauge("latchkey_hashes_waiting", "Passwords that wait to be hashed.")
        self.room = self._gauge("latchkey_hashes_limit", "Passwords that may be hashed or wait at a time.")
        self.connections = self._gauge("latchkey_database_connections", "Database connections in use.")
        self.pool = self._gauge("latchkey_database_connections_limit", "Database connections that may be in use.")
        # A rate of something that has never happened is none, and an alert on it would sleep through the first time.
        for outcome in LOGINS.values():
            self.logins.labels(outcome)
        for outcome in ("rotated", "resent", "reused"):
            self.refreshes.labels(outcome)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry, multiprocess_mode="livesum")

    def text(self) -> bytes:
        """All of them in Prometheus' text format, those of the other workers too."""
        return generate_latest(self.registry if worker_index is None else _Everybody())

    def count_request(self, response: Response) -> Response:
        """Under the rule of the route, never the path: of those there are as many as somebody cares to think up."""
        route = request.url_rule.rule if request.url_rule else NO_ROUTE
        method = request.method if request.method in METHODS else "other"
        self.requests.labels(method, route, response.status_code).inc()
        self.seconds.labels(route).observe(time.perf_counter() - g.started)
        return response

    def count_event(self, _app: Flask, *, event: str, how: str | None = None, **_details: Any) -> None:
        """Logins and refreshes, by what the log says of them."""
        if event in LOGINS:
            self.logins.labels(LOGINS[event]).inc()
        elif event == "session_renewed":
            self.refreshes.labels(how).inc()
        elif event == "authn_token_reuse":
            self.refreshes.labels("reused").inc()

    def count_hashes(self, _gate: Gate, *, waiting: int, running: int) -> None:
        """Those that began or ceased to wait, and to run."""
        if waiting:
            self.waiting.inc(waiting)
        if running:
            self.running.inc(running)


def init_app(app: Flask) -> None:
    """Listen to what the application does, and answer at METRICS_PORT.  After all else: nothing may come before it."""
    if worker_index is not None:
        values.ValueClass = values.MultiProcessValue(lambda: worker_index)  # type: ignore[no-untyped-call]
    app.extensions["metrics"] = metrics = Metrics()
    metrics.info.labels(app.config["API_VERSION"]).set(1)
    app.after_request(metrics.count_request)
    event_logged.connect(metrics.count_event, sender=app)

    gate = app.extensions["passwords"].gate
    metrics.room.set(gate.room)
    load_changed.connect(metrics.count_hashes, sender=gate)

    with app.app_context():
        engine = db.engine
    metrics.pool.set(app.config["SQLALCHEMY_ENGINE_OPTIONS"].get("pool_size", 1))
    event.listen(engine, "checkout", lambda *_: metrics.connections.inc())
    event.listen(engine, "checkin", lambda *_: metrics.connections.dec())

    app.wsgi_app = _apart(metrics, app.config["METRICS_PORT"], app.wsgi_app)  # type: ignore[method-assign, assignment]


def _apart(metrics: Metrics, port: int, inner: "WSGIApplication") -> "WSGIApplication":
    """Their own port has the metrics and nothing else; every other has all else and no metrics.

    The port is asked of the socket that the request came by. What stands in the environment is hearsay:
    a proxy's headers change it, and where the service listens at a path, the client's Host header makes it up.
    """

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        connection: socket.socket | None = environ.get("gunicorn.socket")
        if connection is None or connection.family == socket.AF_UNIX or connection.getsockname()[1] != port:
            return inner(environ, start_response)
        answer = Response(metrics.text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
        return answer(environ, start_response)

    return application
