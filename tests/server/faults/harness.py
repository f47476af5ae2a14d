"""A server to break, clients that keep sending requests, and their answers."""

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from uuid import uuid4

from sqlalchemy import NullPool, create_engine, make_url, text

from app.data.connections import database_url
from support import secrets_in_logs
from support.api import API, PASSWORD, bearer
from support.serving import BIN, ROOT, TESTS, WITH_THINGS, environment, free_port, migrate
from support.things import PATH

FULL = os.environ.get("FAULTS") == "full"
SLACK = 1 if FULL else 5  # other tests slow the machine down, so then a test only fails if something hangs
HERE = Path(__file__).parent


def repeat(full, short):
    """The number of repetitions or seconds: `full` with FAULTS=full, else `short`."""
    return full if FULL else short


@dataclass
class Answer:
    """The result of a request."""

    status: int | None  # None: no answer
    began: float
    ended: float
    failure: str = ""  # `refused`: not sent; `reset`: no byte of an answer; `cut`: an incomplete answer
    headers: dict = field(default_factory=dict)
    body: dict = field(default_factory=dict)

    @property
    def seconds(self):
        return self.ended - self.began

    @property
    def is_good(self):
        return not self.failure and self.status < 300

    @property
    def is_honest(self):
        """Whether it is a success, or a 503 with `Retry-After`."""
        return self.is_good or (not self.failure and self.status == 503 and int(self.headers["Retry-After"]) > 0)


class Client:
    """One persistent connection.  Reconnects after a loss, but never repeats a request."""

    def __init__(self, port, token=None, timeout=60):
        self.port, self.token, self.timeout = port, token, timeout
        self._connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.hang_up()

    def ask(self, method, path, body=None):
        """Send a request once, and return the result."""
        headers = bearer(self.token) if self.token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        began, sent, response = time.monotonic(), False, None
        try:
            if self._connection is None:
                self._connection = HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
                self._connection.connect()
            sent = True
            self._connection.request(method, path, body and json.dumps(body), headers)
            response = self._connection.getresponse()
            content = json.loads(response.read())
        except (OSError, HTTPException, ValueError):
            self.hang_up()
            failure = "cut" if response else "reset" if sent else "refused"
            return Answer(response and response.status, began, time.monotonic(), failure)
        if response.will_close:
            self.hang_up()
        return Answer(response.status, began, time.monotonic(), "", dict(response.headers), content)

    def hang_up(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body=None):
        return self.ask("POST", path, body)

    def sign_up(self):
        """Register, and use the token from now on.  Returns the body of the answer."""
        answer = self.post(f"{API}/auth/register", {"username": f"u{uuid4().hex}", "password": PASSWORD})
        assert answer.status == 201, answer
        self.token = answer.body["access_token"]
        return answer.body

    def write(self):
        """Create a thing of a name that nobody else takes; the name, and the answer."""
        name = uuid4().hex
        return name, self.post(PATH, {"name": name, "price": "1"})


def new_token(port):
    """A fresh access token of a new user."""
    with Client(port) as client:
        return client.sign_up()["access_token"]


def ask_once(port, method, path, token=None, body=None):
    """Send a request on a new connection, and return the result."""
    with Client(port, token) as client:
        return client.ask(method, path, body)


class Crowd:
    """Clients that send requests until the block ends, each in its own thread."""

    def __init__(self, port, token, *, writers=0, readers=0, pause=0.0):
        self.port, self.token, self.pause = port, token, pause
        self.answers = []  # appending is atomic
        self.acknowledged = {}
        self._over = threading.Event()
        acts = [self._write] * writers + [self._read] * readers
        self._threads = [threading.Thread(target=self._run, args=(act,)) for act in acts]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, act):
        with Client(self.port, self.token) as client:
            while not self._over.is_set():
                answer = act(client)
                self.answers.append(answer)
                self._over.wait(0.02 if answer.failure else self.pause)

    def _write(self, client):
        name, answer = client.write()
        if answer.status == 201:  # also if the body is incomplete
            self.acknowledged[name] = answer
        return answer

    @staticmethod
    def _read(client):
        return client.get(f"{API}/users/me")

    def counts(self):
        """The number of answers of each status and failure."""
        return dict(Counter(answer.failure or answer.status for answer in self.answers))

    def slowest(self):
        return max(answer.seconds for answer in self.answers)


class Server:
    """A gunicorn in its own process group, on a migrated database."""

    def __init__(self, folder, *, app=WITH_THINGS, root=ROOT, **settings):
        self.port = free_port()
        self.log = folder / f"server-{self.port}.log"
        self._app, self._root = app, root
        # Only warnings, so that logging does not slow down what is measured.
        defaults = {"PORT": str(self.port), "APP_ENV": "testing", "WEB_CONCURRENCY": "1", "LOG_LEVEL": "WARNING"}
        self._env = environment(**defaults, PYTHONPATH=f"{TESTS}:{HERE}") | settings
        self.process = None

    def start(self, until="/health/ready"):
        """Start it.  Returns the seconds until the first good answer at the path `until`."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "gunicorn", self._app],
                cwd=self._root, env=self._env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return self.first_good_answer(began, until)

    def first_good_answer(self, began, path="/health/ready"):
        """Wait for a good answer.  Returns the seconds since `began`."""
        with Client(self.port) as client:
            while not client.get(path).is_good:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() - began < 60, self.log.read_text()
                time.sleep(0.01)
        return time.monotonic() - began

    @property
    def workers(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def kill_everything(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Send SIGTERM.  Returns the seconds until the process has ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        return time.monotonic() - began


@contextmanager
def running(folder, *, until="/health/ready", **settings):
    """A running server.  Its log must contain no traceback, and is searched for secrets."""
    migrate(settings["DATABASE_URL"])
    server = Server(folder, **settings)
    try:
        server.start(until)
        yield server
    finally:
        if server.process.poll() is None:
            try:
                server.stop()
            except subprocess.TimeoutExpired:
                server.kill_everything()
        log = server.log.read_text()
        secrets_in_logs.LOGS.append(log)
    assert server.process.returncode in (0, -signal.SIGKILL)
    assert "Traceback" not in log, log[-4000:]


def names_in(url):
    """The names of all things in the database."""
    engine = create_engine(database_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        return set(connection.scalars(text("SELECT name FROM things")))


def assert_sound(url):
    """Assert that an SQLite file is intact."""
    if make_url(url).get_backend_name() == "sqlite":
        with closing(sqlite3.connect(make_url(url).database)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
