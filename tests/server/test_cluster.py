"""Three servers behind nginx with deploy/nginx.conf, on one PostgreSQL."""

import json
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from threading import Barrier, Event, Thread

import pytest
from sqlalchemy import NullPool, create_engine, text

from app.data.connections import database_url
from support import secrets_in_logs
from support.api import API, PASSWORD, bearer, claims
from support.databases import absent, fresh_database
from support.machines import Cluster, call, wait_for_port
from support.programs import tool
from support.serving import migrate, wait_until_ready

RECEIVE_TIMEOUT = 5  # of server/clients.py
numbers = count()  # shared by all clients; atomic, unlike a generator


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if missing := absent("postgresql"):
        pytest.skip(missing)
    tool("nginx")
    folder = tmp_path_factory.mktemp("cluster")
    with fresh_database("postgresql", folder) as url:
        migrate(url)
        cluster = Cluster(folder, url)
        nginx = cluster.start_nginx()
        try:
            wait_for_port(nginx, cluster.port)
            for server, port in zip(cluster.servers, cluster.ports, strict=True):
                wait_until_ready(server, port)
            yield cluster
        finally:
            for process in [nginx, *cluster.servers]:
                process.terminate()
            for process in [nginx, *cluster.servers]:
                process.wait(timeout=30)
            secrets_in_logs.LOGS += [(folder / name).read_text() for name in ("servers.log", "nginx.log")]


@contextmanager
def load(cluster, token, clients=4):
    """Clients that read and write in turns through nginx until the block ends.  Yields the list of their answers."""
    over, answers = Event(), []

    def go_on(number):
        with closing(cluster.client(10 + number)) as client:
            while not over.wait(0.2):  # leaves CPU time to servers that start
                name = f"Thing {next(numbers)}"
                for method, path, body in (("GET", f"{API}/users/me", None), ("POST", f"{API}/things", thing(name))):
                    try:
                        status, answer = call(client, method, path, body, **bearer(token))
                        answers.append((method, name, status, answer.get("error")))
                    except OSError as fault:
                        answers.append((method, name, None, repr(fault)))
                        client.close()

    threads = [Thread(target=go_on, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def thing(name):
    return {"name": name, "price": "1.00"}


def names_in(url):
    """The names of all things."""
    engine = create_engine(database_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        return set(connection.scalars(text("SELECT name FROM things")))


def test_a_logout_is_known_everywhere(cluster):
    """A session that ended on one server is invalid on all servers."""
    tokens = cluster.sign_up("ada")
    token = bearer(tokens["access_token"])
    assert [cluster.direct(n, "GET", f"{API}/users/me", **token)[0] for n in range(3)] == [200] * 3

    assert cluster.direct(0, "POST", f"{API}/auth/logout", **token)[0] == 200

    after = [cluster.direct(n, "GET", f"{API}/users/me", **token) for n in (1, 2, 0)]
    assert [(status, body["error"]) for status, body in after] == [(401, "token_revoked")] * 3
    refresh = bearer(tokens["refresh_token"])
    assert [cluster.direct(n, "POST", f"{API}/auth/refresh", **refresh)[0] for n in range(3)] == [401] * 3


def at_once(calls):
    barrier = Barrier(len(calls))

    def run(function):
        barrier.wait()
        return function()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_failed_logins_have_one_count(cluster):
    """Of twelve parallel guesses at three servers, five are checked."""
    wrong = {"username": "nobody", "password": "wrong password"}

    answers = at_once([lambda n=n: cluster.direct(n % 3, "POST", f"{API}/auth/login", wrong) for n in range(12)])

    assert Counter(status for status, _body in answers) == {401: 5, 429: 7}


def test_a_refresh_race_over_three_servers_has_one_winner(cluster):
    """Sixteen parallel refreshes at three servers get the same successor."""
    refresh = bearer(cluster.sign_up("grace")["refresh_token"])

    answers = at_once([lambda n=n: cluster.direct(n % 3, "POST", f"{API}/auth/refresh", **refresh) for n in range(16)])

    assert {status for status, _body in answers} == {200}
    assert len({claims(body["refresh_token"])["jti"] for _status, body in answers}) == 1


@pytest.mark.parametrize(("length", "status"), [(1, 404), (5000, 414), (9000, 414)])
def test_every_answer_promises_https_once(cluster, length, status):
    """An answer of the application, of gunicorn and of nginx has one Strict-Transport-Security."""
    with closing(cluster.client(8)) as client:
        client.request("GET", f"/{'x' * length}")
        response = client.getresponse()

    assert response.status == status
    assert response.headers.get_all("Strict-Transport-Security") == ["max-age=31536000"]


def test_nginx_passes_the_address_of_the_client(cluster):
    """The proxy passes the client's address, and its errors have the API's shape."""
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example"}
    token = bearer(cluster.sign_up("linus")["access_token"])
    with closing(cluster.client(9)) as client:
        body = {"username": "linus", "password": PASSWORD}
        assert call(client, "POST", f"{API}/auth/login", body, **forged)[0] == 200
        empty = [call(client, "POST", f"{API}/auth/register", {}, **{"X-Request-ID": "me-1"}) for _ in range(25)]
        large = call(client, "POST", f"{API}/things", "x" * 70_000)

    _status, listed = cluster.through_nginx("GET", f"{API}/auth/sessions", **token)
    assert {session["ip_address"] for session in listed["sessions"]} == {"127.0.0.1", "127.0.0.9"}
    assert {status for status, _answer in empty} == {422, 429}  # too many password requests from one address
    refusal = {"error": "too_many_attempts", "message": "Too many requests. Try again later.", "status": 429}
    assert empty[-1] == (429, refusal | {"request_id": "me-1"})
    assert (large[0], large[1]["error"]) == (413, "payload_too_large")


def send_slowly(client):
    """A body that takes longer than a server would wait for."""
    body = json.dumps(thing("Snail")).encode()

    def drops():
        for start in range(len(body)):
            time.sleep(RECEIVE_TIMEOUT * 1.2 / len(body))
            yield body[start : start + 1]

    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    client.request("POST", f"{API}/things", drops(), headers)
    return client.getresponse().status


def test_a_rolling_restart_loses_nothing(cluster):
    """Only a POST that meets the closing port fails, with 503 `unavailable`."""
    token = cluster.sign_up("barbara")["access_token"]
    with load(cluster, token) as answers, closing(cluster.client(8)) as client, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(send_slowly, client)
        for number in range(3):
            cluster.servers[number].terminate()
            cluster.wait_for_drain(number)
            assert cluster.servers[number].wait(timeout=40) == 0
            cluster.restart(number)

    assert slow.result() == 401  # the whole body was read, and there was no token
    written = {name for _method, name, status, _error in answers if status == 201}
    failed = [(method, *rest) for method, _name, *rest in answers if rest not in ([200, None], [201, None])]
    assert written
    assert written <= names_in(cluster.url)
    assert len(failed) <= 3, failed
    assert set(failed) <= {("POST", 503, "unavailable")}
    print(f"rolling restart: {len(answers)} requests, {len(failed)} failed")  # noqa: T201 -- shown by pytest -s


def test_a_killed_server_loses_no_acknowledged_write(cluster):
    """After a server is killed, each acknowledged item exists."""
    token = cluster.sign_up("katherine")["access_token"]
    with load(cluster, token) as answers:
        time.sleep(1)
        os.killpg(cluster.servers[0].pid, signal.SIGKILL)
        cluster.servers[0].wait()
        time.sleep(2)

    written = {name for method, name, status, _error in answers if status == 201}
    failed = [answer for answer in answers if answer[2] not in (200, 201)]
    assert written
    assert written <= names_in(cluster.url)
    assert len(failed) <= 4  # one a client
    assert {(method, status, error) for method, _name, status, error in failed} <= {("POST", 503, "unavailable")}
    print(f"kill: {len(answers)} requests, {len(written)} written, {len(failed)} failed")  # noqa: T201 -- same
