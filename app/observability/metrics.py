"""Prometheus metrics, served on their own port (METRICS_PORT).

Only this module knows Prometheus.  It listens to signals of the other modules.

Under gunicorn every worker writes its numbers into files, and the worker that is asked adds up
all files.  A file belongs to a worker index, not to a process.  A replacement worker continues
the file of the dead one, so that restarts do not add files.
"""

import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import event

from app.data.base import db
from app.users.gate import Gate, load_changed
from app.web.events import REFUSED
from app.web.logs import event_logged
from app.web.typing import StartResponse, WSGIApplication, WSGIEnvironment

# The index of this worker, if server/metrics.py has made a folder for the files. None: there is only one process.
worker_index: int | None = None

NAMESPACE = "latchkey"  # the prefix of every name
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}  # clients may send any other
NO_ROUTE = "none"
# Seconds.  A request takes milliseconds, a password hash a few dozen, a queue for hashing up to a second, and the
# database ends a statement after five.
BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

LOGINS = {
    "authn_login_success": "success",
    "authn_login_fail": "wrong",
    "authn_password_change_fail": "wrong",
    "authn_login_lock": "locked",
}


class _AllWorkers(Collector):
    """The sum over the files of all workers."""

    def collect(self) -> Iterable[Metric]:
        files = []
        for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("*.db"):
            with suppress(FileNotFoundError):  # of a worker that has just stopped
                if file.stat().st_size:  # the library fails on a file that is still empty
                    files.append(str(file))
        return MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call, no-any-return]


class Metrics:
    """The numbers of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: Any = {"namespace": NAMESPACE, "registry": self.registry}
        self.info = Gauge("info", "The running version.", ["version"], multiprocess_mode="livemax", **own)
        self.requests = Counter("requests", "Requests answered.", ["method", "route", "status"], **own)
        self.seconds = Histogram("request_seconds", "Seconds per request.", ["route"], buckets=BUCKETS, **own)
        self.logins = Counter("logins", "Logins, by outcome.", ["outcome"], **own)
        self.refreshes = Counter("refreshes", "Refreshes, by outcome.", ["outcome"], **own)
        self.events = Counter("security_events", "Security events, also those that are not written.", ["event"], **own)
        self.running = self._gauge("hashes_running", "Passwords being hashed.")
        self.waiting = self._gauge("hashes_waiting", "Passwords waiting to be hashed.")
        self.room = self._gauge("hashes_limit", "Limit of passwords hashed or waiting.")
        self.connections = self._gauge("database_connections", "Database connections in use.")
        self.pool = self._gauge("database_connections_limit", "Limit of database connections in use.")
        # Create each series now: the rate of a missing series is empty, and an alert would miss the first event.
        for outcome in LOGINS.values():
            self.logins.labels(outcome)
        for outcome in ("rotated", "resent", "reused"):
            self.refreshes.labels(outcome)
        for name in REFUSED:
            self.events.labels(name)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, namespace=NAMESPACE, registry=self.registry, multiprocess_mode="livesum")

    def text(self) -> bytes:
        """The metrics of all workers in Prometheus' text format."""
        return generate_latest(self.registry if worker_index is None else _AllWorkers())

    def count_request(self, response: Response) -> Response:
        """Count by the route's rule, because clients can invent any path."""
        route = request.url_rule.rule if request.url_rule else NO_ROUTE
        method = request.method if request.method in METHODS else "other"
        self.requests.labels(method, route, response.status_code).inc()
        self.seconds.labels(route).observe(time.perf_counter() - g.started)
        return response

    def count_event(self, _app: Flask, *, event: str, how: str | None = None, **_details: Any) -> None:
        """Count the events; logins and refreshes also by outcome."""
        self.events.labels(event).inc()
        if event in LOGINS:
            self.logins.labels(LOGINS[event]).inc()
        elif event == "session_renewed":
            self.refreshes.labels(how).inc()
        elif event == "authn_token_reuse":
            self.refreshes.labels("reused").inc()

    def count_hashes(self, _gate: Gate, *, waiting: int, running: int) -> None:
        """Add the changes in waiting and running hashes."""
        if waiting:
            self.waiting.inc(waiting)
        if running:
            self.running.inc(running)


def init_app(app: Flask) -> None:
    """Connect to the signals and serve METRICS_PORT.

    Runs last, so that it is the outermost layer.
    """
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


def _apart(metrics: Metrics, port: int, inner: WSGIApplication) -> WSGIApplication:
    """Serve the metrics, and only them, on their own port.

    Takes the port from the socket, because a proxy's headers or the client's Host header can change
    the port in the WSGI environment.
    """

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        connection: socket.socket | None = environ.get("gunicorn.socket")
        if connection is None or connection.family == socket.AF_UNIX or connection.getsockname()[1] != port:
            return inner(environ, start_response)
        answer = Response(metrics.text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
        return answer(environ, start_response)

    return application
