"""What every fault is made and measured with: a server to hurt, clients that go on asking, and what they were told."""

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
SLACK = 1 if FULL else 5  # beside other tests a machine is slow: then only what hangs fails
HERE = Path(__file__).parent


def repeat(full, short):
    """How often, or for how many seconds: by FAULTS=full, or beside all the other tests."""
    return full if FULL else short


@dataclass
class Answer:
    """What a request came to."""

    status: int | None  # None: there was no answer
    began: float
    ended: float
    failure: str = ""  # `refused` before it was sent, `reset` with no byte of an answer, `cut` in the middle of it
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
        """It did what was asked, or says that it could not and when to come back."""
        return self.is_good or (not self.failure and self.status == 503 and int(self.headers["Retry-After"]) > 0)


class Client:
    """One connection that is kept alive, made anew where it was lost; never a request sent twice."""

    def __init__(self, port, token=None, timeout=60):
        self.port, self.token, self.timeout = port, token, timeout
        self._connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.hang_up()

    def ask(self, method, path, body=None):
        """Send it, once; what it came to."""
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
        """Close the connection, where there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body=None):
        return self.ask("POST", path, body)

    def sign_up(self):
        """Register, and go on as that user; what was answered."""
        answer = self.post(f"{API}/auth/register", {"username": f"u{uuid4().hex}", "password": PASSWORD})
        assert answer.status == 201, answer
        self.token = answer.body["access_token"]
        return answer.body

    def write(self):
        """Create a thing of a name that nobody else takes; the name, and the answer."""
        name = uuid4().hex
        return name, self.post(PATH, {"name": name, "price": "1"})


def new_token(port):
    """A fresh access token of a user of our own."""
    with Client(port) as client:
        return client.sign_up()["access_token"]


def ask_once(port, method, path, token=None, body=None):
    """A request on a connection of its own; what it came to."""
    with Client(port, token) as client:
        return client.ask(method, path, body)


class Crowd:
    """Clients that go on asking, each in a thread of its own, until the block ends."""

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
        if answer.status == 201:  # even where the rest broke off
            self.acknowledged[name] = answer
        return answer

    @staticmethod
    def _read(client):
        return client.get(f"{API}/users/me")

    def counts(self):
        """How many answers there were of each status, and of each failure."""
        return dict(Counter(answer.failure or answer.status for answer in self.answers))

    def slowest(self):
        return max(answer.seconds for answer in self.answers)


class Server:
    """A gunicorn in a process group of its own, over a migrated database."""

    def __init__(self, folder, *, app=WITH_THINGS, root=ROOT, **settings):
        self.port = free_port()
        self.log = folder / f"server-{self.port}.log"
        self._app, self._root = app, root
        # Warnings only: what is measured is the fault, not the log.
        defaults = {"PORT": str(self.port), "APP_ENV": "testing", "WEB_CONCURRENCY": "1", "LOG_LEVEL": "WARNING"}
        self._env = environment(**defaults, PYTHONPATH=f"{TESTS}:{HERE}") | settings
        self.process = None

    def start(self, until="/health/ready"):
        """Seconds until the first good answer to that."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "gunicorn", self._app],
                cwd=self._root, env=self._env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return self.first_good_answer(began, until)

    def first_good_answer(self, began, path="/health/ready"):
        """Seconds from then to the first answer that is good."""
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
        """SIGTERM; seconds until it has gone."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        return time.monotonic() - began


@contextmanager
def running(folder, *, until="/health/ready", **settings):
    """A server, stopped at the end if it still runs; what it logged is searched for secrets, and must have no bug."""
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
    """SQLite finds nothing wrong with its file."""
    if make_url(url).get_backend_name() == "sqlite":
        with closing(sqlite3.connect(make_url(url).database)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
