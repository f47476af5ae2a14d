"""The values of the metrics, and the port that serves them."""

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
import time_machine
from prometheus_client import values
from sqlalchemy import text

from app.data.base import db
from app.data.types import utcnow
from app.observability import metrics
from app.users import gate
from app.web.errors import ApiError
from support import contract
from support.api import API, PASSWORD, bearer, refresh, sign_up
from support.exposition import read

ROOT = Path(__file__).parents[3]
PORT = 9464


@pytest.fixture
def watched(another):
    return another(METRICS_PORT=PORT)


@pytest.fixture
def visitor(watched):
    return watched.test_client()


@pytest.fixture
def value(watched):
    """Returns the current value of a metric, or None."""

    def value(name, **labels):
        samples = read(watched.extensions["metrics"].text().decode())
        return samples.get((f"{metrics.NAMESPACE}_{name}", *sorted(labels.items())))

    return value


class TestRequests:
    def test_are_counted_by_route(self, visitor, value):
        """Requests are counted by route, because a client can invent any number of paths."""
        for number in range(1, 4):
            visitor.get(f"{API}/users/{number}")
            visitor.get(f"/nowhere/{number}")
        rule = f"{API}/users/<int:user_id>"

        assert value("requests_total", method="GET", route=rule, status="401") == 3
        assert value("requests_total", method="GET", route="none", status="404") == 3
        assert value("request_seconds_count", route=rule) == 3
        assert 0 < value("request_seconds_sum", route=rule) < 60
        assert value("request_seconds_bucket", route=rule, le="+Inf") == 3

    def test_an_unknown_method_adds_no_label(self, visitor, value):
        """An unknown method is counted as `other`, so that it adds no label."""
        visitor.open("/health/live", method="BREW")

        assert value("requests_total", method="other", route="none", status="405") == 1

    def test_a_crash_is_counted(self, watched, visitor, value, monkeypatch):
        """A crash is counted as a 500."""
        monkeypatch.setitem(watched.view_functions, "system.show_index", lambda: 1 / 0)
        visitor.get("/")

        assert value("requests_total", method="GET", route="/", status="500") == 1


class TestOutcomes:
    def test_of_logins(self, visitor, value):
        """Every outcome of logins starts at 0 and is counted."""
        assert [value("logins_total", outcome=outcome) for outcome in ("success", "wrong", "locked")] == [0, 0, 0]
        sign_up(visitor, "grace")
        for password in [PASSWORD, *["wrong password"] * 7]:
            visitor.post(f"{API}/auth/login", json={"username": "grace", "password": password})

        assert [value("logins_total", outcome=outcome) for outcome in ("success", "wrong", "locked")] == [1, 5, 2]

    def test_of_refreshes(self, visitor, value):
        """A refresh counts as rotated, resent within the grace, or reused after it."""
        user = sign_up(visitor, "grace")
        refresh(visitor, user.refresh_token)
        refresh(visitor, user.refresh_token)
        with time_machine.travel(utcnow() + timedelta(seconds=11)):
            refresh(visitor, user.refresh_token)

        outcomes = ("rotated", "resent", "reused")
        assert [value("refreshes_total", outcome=outcome) for outcome in outcomes] == [1, 1, 1]

    def test_of_every_event(self, visitor, value):
        """Every security event counts, also those that a flood leaves out of the log."""
        assert value("security_events_total", event="authn_token_invalid") == 0
        for _ in range(7):
            visitor.get(f"{API}/users/me", headers=bearer("forged"))

        assert value("security_events_total", event="authn_token_invalid") == 7

    def test_of_another_application_are_its_own(self, client, user, value):
        """An application does not count the events of another one in its process."""
        refresh(client, user.refresh_token)

        assert value("refreshes_total", outcome="rotated") == 0


def slots(app):
    """The number of passwords that it hashes at the same time."""
    return max(1, gate.cores() // app.config["WEB_CONCURRENCY"])


class TestLoad:
    @contextmanager
    def hashing(self, watched, value, *, running, waiting=0):
        """Jobs that last until the block ends: `running` of them run, `waiting` wait."""
        end, passwords = Event(), watched.extensions["passwords"].gate
        threads = [Thread(target=passwords.run, args=("", end.wait, 60)) for _ in range(running + waiting)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(100):
                now = value("hashes_running"), value("hashes_waiting")
                if now == (running, waiting):
                    break
                end.wait(0.05)
            assert now == (running, waiting)
            yield
        finally:
            end.set()
            for thread in threads:
                thread.join()

    def test_hashes_that_run_and_wait(self, watched, value):
        """Running and waiting hashes are counted, and their limit is exposed."""
        with self.hashing(watched, value, running=slots(watched), waiting=2):
            pass

        assert (value("hashes_running"), value("hashes_waiting")) == (0, 0)
        assert value("hashes_limit") == watched.extensions["passwords"].gate.room

    def test_a_failed_job_is_not_counted(self, watched, value, monkeypatch):
        """A request that gives up and a failed hash are not counted."""
        passwords = watched.extensions["passwords"].gate
        with self.hashing(watched, value, running=slots(watched)), monkeypatch.context() as patch:
            patch.setattr(gate, "WAIT", 0.01)
            with pytest.raises(ApiError):
                passwords.run("", int)
        with pytest.raises(ValueError, match="invalid literal"):
            passwords.run("", int, "x")

        assert (value("hashes_running"), value("hashes_waiting")) == (0, 0)

    def test_connections(self, watched, value):
        """The connections in use and their limit are exposed."""
        with watched.app_context():
            db.session.execute(text("SELECT 1"))
            assert value("database_connections") == 1
        assert value("database_connections") == 0
        assert value("database_connections_limit") == watched.config["SQLALCHEMY_ENGINE_OPTIONS"]["pool_size"]


class TestWorkers:
    @pytest.fixture
    def worker(self, another, monkeypatch, tmp_path):
        """Returns the application of a worker with the given index."""
        monkeypatch.setattr(values, "ValueClass", values.ValueClass)
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

        def worker(index):
            monkeypatch.setattr(metrics, "worker_index", index)
            return another(METRICS_PORT=PORT)

        return worker

    def test_add_up(self, worker):
        """Every worker reports the sum, also while a new worker has an empty file."""
        first, second = worker(0), worker(1)
        for app in (first, second, second):
            app.test_client().get("/health/live")
        (Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) / "counter_2.db").touch()

        for app in (first, second):
            samples = read(app.extensions["metrics"].text().decode())
            pool_size = app.config["SQLALCHEMY_ENGINE_OPTIONS"]["pool_size"]
            assert samples["latchkey_database_connections_limit",] == 2 * pool_size
            assert samples["latchkey_request_seconds_count", ("route", "/health/live")] == 3

    def test_continue_the_counters(self, worker):
        """A replacement worker continues the counters of its predecessor."""
        for _ in range(2):
            app = worker(0)
            app.test_client().get("/health/live")

        samples = read(app.extensions["metrics"].text().decode())
        assert samples["latchkey_request_seconds_count", ("route", "/health/live")] == 2


class TestWhere:
    def ask(self, visitor, connection, **headers):
        return visitor.get("/metrics", headers=headers, environ_overrides={"gunicorn.socket": connection})

    @pytest.fixture
    def connection(self):
        """The server's side of a connection."""
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.create_connection(listener.getsockname()),
            listener.accept()[0] as accepted,
        ):
            yield accepted

    def test_on_their_own_port(self, another, connection):
        """The metrics port serves the metrics at every path."""
        visitor = another(METRICS_PORT=connection.getsockname()[1]).test_client()

        answer = self.ask(visitor, connection)
        assert answer.content_type.startswith("text/plain")
        assert 'latchkey_info{version="0.1.0"} 1.0' in answer.text
        with contract.off_the_record():  # openapi.json does not describe this port
            other = visitor.get(f"{API}/users/me", environ_overrides={"gunicorn.socket": connection})
        assert other.text.startswith("# HELP latchkey_info")

    def test_nowhere_else(self, another, connection):
        """Another port or a Unix socket serves no metrics, whatever the headers say."""
        visitor = another(METRICS_PORT=PORT, TRUSTED_PROXIES=1).test_client()
        pretended = {
            "Host": f"127.0.0.1:{PORT}",
            "X-Forwarded-Host": f"127.0.0.1:{PORT}",
            "X-Forwarded-Port": str(PORT),
        }
        left, right = socket.socketpair(socket.AF_UNIX)
        with left, right:
            for one in (connection, left, None):
                assert self.ask(visitor, one, **pretended).status_code == 404

    @pytest.mark.programs
    def test_not_loaded_by_default(self):
        """Without the settings, no package of Prometheus or OpenTelemetry is imported."""
        seen = "import sys, wsgi; print([m for m in sys.modules if m.startswith(('prometheus', 'opentelemetry'))])"
        env = {"PATH": os.environ["PATH"], "APP_ENV": "testing", "FLASK_SKIP_DOTENV": "1"}
        run = subprocess.run(
            [sys.executable, "-c", seen], cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )

        assert run.stdout == "[]\n"
