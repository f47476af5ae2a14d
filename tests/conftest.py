"""The fixtures of all tests.  A test that uses `app` runs once per database."""

import atexit

import pytest
from flask import Flask, has_app_context
from flask.testing import FlaskClient

from app import create_app
from app.data.base import Base, db
from app.users import gate
from app.web.events import Flood
from app.web.logs import write_counts
from config import TestingConfig
from support import contract, events, secrets_in_logs
from support.api import bearer, log_in, make_admin, migrated_app, refresh, sign_up, variant
from support.databases import PRESENT, fresh_beside, fresh_database
from support.things import PATH, Thing

NEVER_SEEN = pytest.StashKey()
SLOWEST = 10  # hostile requests that a run reports
pytest_plugins = ["support.releases", "support.typescript"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Run the tests of servers first, so that none runs alone at the end."""
    items.sort(key=lambda item: not {"serving", "running", "Cluster"} & vars(item.module).keys())


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    """Remove the settings of this machine, so that they do not affect tests."""
    for name in (
        "APP_ENV",
        "DATABASE_URL",
        "JWT_SECRET_KEY",
        "JWT_KEYSET",
        "JWT_TOKEN_LOCATION",
        "FLASK_DEBUG",
        "REFRESH_GRACE",
        "WEB_CONCURRENCY",
        "PORT",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def _hashes_get_their_turn():
    """Wait long for a hash, because hashing has a low priority, and share no room: all clients have one address.

    Otherwise tests fail with `overloaded` on a busy machine.
    """
    usual = gate.WAIT, gate.SHARES
    gate.WAIT, gate.SHARES = 60.0, 1
    yield
    gate.WAIT, gate.SHARES = usual


@pytest.fixture(scope="session", autouse=True)
def _no_secret_in_any_log():
    """No log line contains a password, token, CSRF value or key."""
    with secrets_in_logs.watching():
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_event_beside_the_list():
    """docs/security.md lists every security event, with its members."""
    with events.watching():
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_line_at_the_end():
    """No application writes its counts at the end, when pytest has closed the output."""
    yield
    atexit.unregister(write_counts)


@pytest.fixture(scope="session", autouse=True)
def _no_answer_beside_the_document():
    """The API document describes every response to a test client."""
    with contract.watching():
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Collect the errors that each process of pytest-xdist has seen."""
    contract.SEEN.update(getattr(node, "workeroutput", {}).get("codes", ()))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Fail a run of the whole suite unless it met exactly the table's errors."""
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["codes"] = sorted(contract.SEEN)
    elif session.exitstatus == 0 and not config.option.keyword and config.args_source.name == "TESTPATHS":
        config.stash[NEVER_SEEN] = contract.never_seen()
        if config.stash[NEVER_SEEN]:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "figure" and report.when == "call":
                terminalreporter.write_line(value)
    costs = [(cost, report.nodeid) for report in terminalreporter.getreports("") for name, cost in
             report.user_properties if name == "cpu" and report.when == "teardown"]  # fmt: skip
    if costs:
        terminalreporter.write_line("The slowest hostile requests, in CPU time:")
    for cost, case in sorted(costs, reverse=True)[:SLOWEST]:
        terminalreporter.write_line(f"{cost * 1000:6.1f} ms  {case}")
    for code in config.stash.get(NEVER_SEEN, ()):
        terminalreporter.write_line(f"FAILED: the table of errors and the suite differ in {code}", red=True)


@pytest.fixture
def figure(record_property):
    """Add a measurement to the summary at the end of the run."""

    def note(what, **measured):
        values = (f"{value:.2f} s" if isinstance(value, float) else value for value in measured.values())
        shown = (f"{name.replace('_', ' ')} {value}" for name, value in zip(measured, values, strict=True))
        record_property("figure", f"{what}: {', '.join(shown)}")

    return note


@pytest.fixture(scope="session", params=PRESENT)
def database(request, tmp_path_factory):
    """The URL of an empty database, for each kind of database."""
    with fresh_database(request.param, tmp_path_factory.mktemp(request.param)) as url:
        yield url


class Client(FlaskClient):
    """Gives each request its own application context, even inside another one."""

    def open(self, *args, **kwargs):
        if not has_app_context():
            return super().open(*args, **kwargs)
        with self.application.app_context():
            return super().open(*args, **kwargs)


Flask.test_client_class = Client  # for all applications in tests


@pytest.fixture(scope="session")
def migrated(database):
    """An application with a migrated database."""
    with migrated_app(database) as app:
        yield app


@pytest.fixture
def empty(database, tmp_path):
    """An application with an empty database, in an application context."""
    with fresh_beside(database, tmp_path) as url:
        config = TestingConfig()
        config.DATABASE_URL = url
        app = create_app(config)
        with app.app_context():
            yield app
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def app(migrated, monkeypatch):
    """The application.  Restores its settings and empties its tables afterwards."""
    migrated.extensions["event_flood"] = Flood()  # earlier tests do not count
    settings = dict(migrated.config)
    yield migrated
    migrated.config.clear()
    migrated.config.update(settings)
    with migrated.app_context():
        for table in (Thing.__table__, *reversed(Base.metadata.sorted_tables)):
            db.session.execute(table.delete())
        db.session.commit()


@pytest.fixture
def another(app):
    """Make applications with other settings and the same database."""
    made = []

    def make(**settings):
        made.append(variant(app, **settings))
        return made[-1]

    yield make
    for one in made:
        with one.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def runner(app):
    return app.test_cli_runner()


@pytest.fixture
def user(client):
    return sign_up(client, "grace")


@pytest.fixture
def other(client):
    return sign_up(client, "linus")


@pytest.fixture
def admin(app, client):
    sign_up(client, "ada")
    make_admin(app, "ada")
    return log_in(client, "ada")


@pytest.fixture
def as_user(user):
    return user.headers


@pytest.fixture
def as_other(other):
    return other.headers


@pytest.fixture
def as_admin(admin):
    return admin.headers


@pytest.fixture
def as_stale_user(client, user):
    """The user with an access token from a refresh, which is not fresh."""
    return bearer(refresh(client, user.refresh_token).json["access_token"])


@pytest.fixture
def lamp(client, as_user):
    """A thing of the user's."""
    response = client.post(PATH, headers=as_user, json={"name": "Lamp", "price": "19.90"})
    assert response.status_code == 201
    return response.json
