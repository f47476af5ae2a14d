"""The front page, the health of the process, and the log."""

import base64
import hashlib
import json
import logging
import time
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url, text, update

from app import API_TITLE, __version__, create_app
from app.data.base import db
from app.data.types import utcnow
from app.system import stopping
from app.users.models import User
from config import TestingConfig
from support.api import API, PASSWORD, error
from support.contract import off_the_record
from support.databases import at_version
from support.statements import statements

ROOT = Path(__file__).parents[3]


class TestIndex:
    def test_answers_programs_in_json(self, client):
        """Programs get the name, the version and the links as JSON."""
        about = {"name": API_TITLE, "version": __version__, "openapi": "/openapi.json", "docs": "/docs"}

        for accept in ("application/json", "*/*", "", "application/json, text/html;q=0.5"):
            response = client.get("/", headers={"Accept": accept})
            assert response.json == about
        for path in (about["openapi"], about["docs"]):
            assert client.get(path).status_code == 200

    def test_shows_browsers_a_page(self, client):
        """Browsers get a page without foreign links, whose policy allows its own style."""
        response = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

        assert response.mimetype == "text/html"
        assert response.headers["Vary"] == "Accept"
        assert "//" not in response.text
        style = response.text.partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


class TestWithoutDocs:
    """DOCS=false."""

    @pytest.fixture
    def hidden(self):
        """A client of an application without the page and the document, whose database is not used."""
        config = TestingConfig()
        config.DOCS = False
        return create_app(config).test_client()

    @pytest.mark.parametrize("path", ["/docs", "/docs/init.js", "/openapi.json"])
    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
    def test_the_paths_are_unknown(self, hidden, caplog, method, path):
        """Every method gets the answer and the log line of an unknown path."""
        named = {"X-Request-ID": "abc"}
        with caplog.at_level("INFO", "app.access"), off_the_record():  # nobody can read the document
            unknown = hidden.open("/nowhere", method=method, headers=named)
            response = hidden.open(path, method=method, headers=named)

        assert response.status_code == 404
        assert (response.status_code, response.data) == (unknown.status_code, unknown.data)
        assert dict(response.headers) == dict(unknown.headers)
        assert [record.route for record in caplog.records] == [None, None]

    def test_the_front_page_does_not_link_to_them(self, hidden):
        """Neither the page nor the JSON at `/` names a hidden path."""
        assert hidden.get("/").json == {"name": API_TITLE, "version": __version__}
        page = hidden.get("/", headers={"Accept": "text/html"}).text
        assert "/health/ready" in page
        assert "/docs" not in page
        assert "openapi" not in page.lower()

    def test_other_paths_are_served(self, hidden):
        """Only the page and the document are hidden."""
        assert hidden.get("/.well-known/jwks.json").status_code == 200
        assert hidden.get("/health/live").status_code == 200


@contextmanager
def read_only(app):
    """The URL of the application's database, which is read-only in the block."""
    url = make_url(app.config["DATABASE_URL"])
    if url.get_backend_name() == "sqlite":
        yield f"sqlite:///file:{url.database}?mode=ro&uri=true"
    elif url.get_backend_name() == "postgresql":
        setting = f"ALTER DATABASE {url.database}", "default_transaction_read_only"
        with app.app_context(), db.engine.begin() as connection:  # applies to later connections
            connection.execute(text("{} SET {} = on".format(*setting)))
        yield str(app.config["DATABASE_URL"])
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(text("{} RESET {}".format(*setting)))
    else:
        pytest.skip("only the whole MariaDB server can be read-only, and other tests use it")


class TestHealth:
    def test_live_touches_nothing(self, app, client):
        """`/health/live` sends no statement."""
        with statements(app) as sent:
            assert client.get("/health/live").json == {"status": "ok"}

        assert sent == []

    def test_ready(self, client):
        """`/health/ready` answers 200 if the schema is the newest."""
        assert client.get("/health/ready").json == {"status": "ok"}

    def test_not_ready_while_the_schema_is_behind(self, app, client, caplog):
        """An old schema gets 503, and the log names `flask db upgrade`."""
        with at_version(app, "0001"):
            response = client.get("/health/ready")

        assert error(response) == (503, "database_unavailable")
        assert "flask db upgrade" in caplog.text
        assert client.get("/health/ready").status_code == 200

    def test_not_ready_without_a_migration(self, app, client):
        """A database without a migration gets 503."""
        with at_version(app, None):
            response = client.get("/health/ready")

        assert error(response) == (503, "database_unavailable")

    def test_ready_while_the_schema_is_ahead(self, another, caplog):
        """A newer schema gets 200, and the log has one warning."""
        app = another()
        with at_version(app, "9999"):
            answers = [app.test_client().get("/health/ready").status_code for _ in range(3)]

        assert answers == [200, 200, 200]
        noted = [record.levelname for record in caplog.records if "newer release" in record.getMessage()]
        assert noted == ["WARNING"]

    def test_not_ready_while_it_stops(self, client, monkeypatch):
        """A process that stops is not ready, but live."""
        monkeypatch.setattr(stopping, "flag", b"\1")

        assert error(client.get("/health/ready")) == (503, "unavailable")
        assert client.get("/health/live").status_code == 200

    def test_not_ready_if_read_only(self, app, another, caplog):
        """A read-only database gets 503, and the log gives the reason."""
        with read_only(app) as url:
            response = another(DATABASE_URL=url).test_client().get("/health/ready")

        assert error(response) == (503, "database_unavailable")
        assert "read-only" in caplog.text
        assert app.test_client().get("/health/ready").status_code == 200

    def test_ready_while_somebody_writes(self, app, client):
        """A lock of another transaction does not delay the check."""
        with app.app_context(), db.engine.begin() as other:
            other.execute(update(User).values(updated_at=utcnow()))
            began = time.monotonic()
            response = client.get("/health/ready")

        assert response.status_code == 200
        assert time.monotonic() - began < 2


class TestLog:
    @pytest.fixture
    def lines(self, capsys):
        """Returns the lines that an application with this log format writes."""

        def lines(log_format, act):
            config = TestingConfig()
            config.LOG_FORMAT = log_format
            act(create_app(config).test_client())
            return capsys.readouterr().out.splitlines()

        yield lines
        logging.getLogger("app").handlers = []

    def test_a_request_is_one_line_of_json(self, lines):
        """A request is one line of JSON with the documented keys."""
        sent = {"X-Request-ID": "abc", "User-Agent": "x"}
        (line,) = lines("json", lambda client: client.get("/health/live", headers=sent))
        record = json.loads(line)

        assert record["request_id"] == "abc"
        assert (record["method"], record["path"], record["route"]) == ("GET", "/health/live", "/health/live")
        assert (record["status"], record["ip_address"]) == (200, "127.0.0.1")
        assert record["duration_ms"] >= 0
        assert datetime.fromisoformat(record["time"]).utcoffset() == timedelta(0)
        assert record["user_id"] is record["session_id"] is None
        assert record.keys() == {
            "time", "level", "logger", "message", "request_id", "method", "path", "route", "status", "duration_ms",
            "user_id", "session_id", "ip_address",
        }  # fmt: skip

    def test_the_caller(self, client, user, caplog):
        """A line has the caller's user and session."""
        with caplog.at_level("INFO", "app.access"):
            client.get(f"{API}/users/{user.id}", headers=user.headers)

        record = caplog.records[-1]
        assert (record.user_id, record.route) == (user.id, f"{API}/users/<int:user_id>")
        assert record.session_id in client.get(f"{API}/auth/sessions", headers=user.headers).text

    def test_no_secret(self, client, user, caplog):
        """The log has no password, no token and no query."""
        with caplog.at_level("DEBUG"):
            client.post(f"{API}/auth/login", json={"username": "grace", "password": PASSWORD})
            client.post(f"{API}/auth/refresh", headers={"Authorization": f"Bearer {user.refresh_token}"})
            client.get(f"{API}/users/me?jwt={user.access_token}", headers=user.headers)

        assert len(caplog.records) >= 3
        written = "".join(str(record.__dict__) for record in caplog.records)
        for secret in (PASSWORD, user.access_token, user.refresh_token, "jwt="):
            assert secret not in written

    @pytest.mark.parametrize("log_format", ["json", "console"])
    def test_line_break_of_a_client(self, lines, log_format):
        """A line break in a path starts no new line."""
        written = lines(log_format, lambda client: client.get("/x%0A00:00:00%20INFO%20forged%1b[31m"))

        assert len(written) == 1
        assert "\x1b" not in written[0]

    def test_crash(self, lines):
        """A crash is logged with its stack trace and request id."""

        def crash(client):
            client.application.view_functions["system.show_live"] = lambda: 1 / 0
            client.get("/health/live", headers={"X-Request-ID": "abc"})

        crashed, access = map(json.loads, lines("json", crash))

        assert "ZeroDivisionError" in crashed["exc_info"]
        assert crashed["request_id"] == access["request_id"] == "abc"
        assert access["status"] == 500


def test_the_level_is_a_setting(capsys):
    """With LOG_LEVEL=WARNING a successful request writes no line."""
    config = TestingConfig()
    config.LOG_LEVEL = "WARNING"

    create_app(config).test_client().get("/health/live")

    assert capsys.readouterr().out == ""
    logging.getLogger("app").setLevel("INFO")
