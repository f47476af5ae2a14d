"""Measure requests with millions of revoked tokens, and during `flask tokens prune`.

    python bench/tokens.py [URL …] [--revoked 10000000] [--sessions 1000000] [--expired 1000000]

The URLs are servers on which databases can be created; default: SQLite. Takes minutes and, with these numbers, some
gigabytes. Sends `GET /users/me` with many tokens, in turns to an application with empty tables and to one with full
tables. Then runs `flask tokens prune` in another process while this one creates items, one after another.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade
from sqlalchemy import text

ROOT = Path(__file__).parent.parent
sys.path += [str(ROOT), str(ROOT / "tests")]

from app import create_app  # noqa: E402
from app.data.base import db  # noqa: E402
from config import TestingConfig  # noqa: E402
from support.databases import database_on  # noqa: E402 -- needs the path

CALLERS, ROUNDS, REQUESTS = 200, 25, 200
PAUSE = 0.002  # seconds between two items
PASSWORD = "correct horse battery"  # noqa: S105 -- the databases exist for minutes only

# Every key is random, as in production. Inserts in key order are faster and give the same tables.
FILL = {
    "sqlite": {
        "users": """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :number)
            INSERT INTO users (username, username_key, password_hash, is_admin, is_active, created_at, updated_at)
            SELECT 'user' || i, 'user' || i, 'x', 0, 1, '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000'
            FROM n
        """,
        "sessions": """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :number)
            INSERT INTO sessions (id, user_id, refresh_jti, created_at, last_used_at, expires_at)
            SELECT lower(hex(randomblob(16))), (SELECT min(id) FROM users) + i % 1000, lower(hex(randomblob(16))),
                '2026-01-01 00:00:00.000000', strftime('%Y-%m-%d %H:%M:%S.000000', 'now'),
                strftime('%Y-%m-%d %H:%M:%S.000000', 'now', (1000 + abs(random()) % 2500000) || ' seconds')
            FROM n ORDER BY 1
        """,
        "revoked_tokens": """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :number)
            INSERT INTO revoked_tokens (jti, expires_at)
            SELECT lower(hex(randomblob(16))),
                strftime('%Y-%m-%d %H:%M:%S.000000', 'now', :days || ' days', (abs(random()) % 800000) || ' seconds')
            FROM n ORDER BY 1
        """,
    },
    "postgresql": {
        "users": """
            INSERT INTO users (username, username_key, password_hash, is_admin, is_active, created_at, updated_at)
            SELECT 'user' || i, 'user' || i, 'x', false, true, now(), now() FROM generate_series(1, :number) i
        """,
        "sessions": """
            INSERT INTO sessions (id, user_id, refresh_jti, created_at, last_used_at, expires_at)
            SELECT gen_random_uuid(), (SELECT min(id) FROM users) + i % 1000, gen_random_uuid(), now(), now(),
                now() + interval '1000 seconds' + random() * interval '29 days'
            FROM generate_series(1, :number) i ORDER BY 1
        """,
        "revoked_tokens": """
            INSERT INTO revoked_tokens (jti, expires_at)
            SELECT gen_random_uuid(), now() + :days * interval '1 day' + random() * interval '9 days'
            FROM generate_series(1, :number) ORDER BY 1
        """,
    },
}


def make_app(url: str) -> Flask:
    config = TestingConfig()
    config.DATABASE_URL, config.LOG_LEVEL = url, "WARNING"
    config.MAX_SESSIONS = 0  # one user has CALLERS sessions
    app = create_app(config)
    with app.app_context():
        upgrade()
    return app


def fill(app: Flask, arguments: argparse.Namespace) -> None:
    with app.app_context():
        engine = db.engine.execution_options(isolation_level="AUTOCOMMIT") if is_postgresql(app) else db.engine
        statements = FILL[engine.dialect.name]
        with engine.begin() as connection:
            if is_postgresql(app):
                connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text(statements["users"]), {"number": 1000})
            connection.execute(text(statements["sessions"]), {"number": arguments.sessions})
            for number, days in ((arguments.revoked - arguments.expired, 2), (arguments.expired, -30)):
                connection.execute(text(statements["revoked_tokens"]), {"number": number, "days": days})
        with engine.begin() as connection:
            if is_postgresql(app):
                connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("ANALYZE"))
        db.engine.dispose()


def is_postgresql(app: Flask) -> bool:
    return bool(app.config["SQLALCHEMY_DATABASE_URI"].get_backend_name() == "postgresql")


def callers(client: FlaskClient) -> Iterator[dict[str, str]]:
    """The headers of callers with their own sessions, in an endless cycle."""
    account = {"username": "grace", "password": PASSWORD}
    answers = [client.post("/api/v1/auth/register", json=account)]
    answers += [client.post("/api/v1/auth/login", json=account) for _ in range(CALLERS - 1)]
    return itertools.cycle([{"Authorization": f"Bearer {answer.json['access_token']}"} for answer in answers])


def ask(client: FlaskClient, headers: Iterator[dict[str, str]]) -> tuple[float, list[float]]:
    """The average CPU milliseconds per request, and the milliseconds of each request."""
    times = []
    cpu = time.process_time()
    for _ in range(REQUESTS):
        began = time.perf_counter()
        response = client.get("/api/v1/users/me", headers=next(headers))
        times.append((time.perf_counter() - began) * 1000)
        if response.status_code != HTTPStatus.OK:
            raise SystemExit(response.text)
    return (time.process_time() - cpu) / REQUESTS * 1000, times


def compare(kind: str, apps: dict[str, Flask]) -> None:
    clients = {name: app.test_client() for name, app in apps.items()}
    headers = {name: callers(client) for name, client in clients.items()}
    cpu: dict[str, list[float]] = {name: [] for name in apps}
    times: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(ROUNDS):
        for name, client in clients.items():
            used, took = ask(client, headers[name])
            cpu[name].append(used)
            times[name] += took
    for name in apps:
        median, p99 = statistics.median(times[name]), statistics.quantiles(times[name], n=100)[98]
        used = statistics.median(cpu[name])
        print(f"{kind:10} me, {name:5}: {used:.3f} ms CPU, {median:.3f} ms at the median, {p99:.3f} ms at the 99th %")
    by_cpu, by_median = (
        statistics.median(figures["full"]) / statistics.median(figures["empty"]) for figures in (cpu, times)
    )
    print(f"{kind:10} full by empty: CPU {by_cpu:.3f}, median {by_median:.3f}", flush=True)


def write(client: FlaskClient, headers: dict[str, str], stop: threading.Event) -> list[float]:
    """Create items one after another until `stop` is set.  Returns the milliseconds of each."""
    took = []
    while not stop.is_set():
        began = time.perf_counter()
        response = client.post("/api/v1/items", json={"name": f"Made {uuid.uuid4()}", "price": "1.00"}, headers=headers)
        took.append((time.perf_counter() - began) * 1000)
        if response.status_code != HTTPStatus.CREATED:
            raise SystemExit(response.text)
        time.sleep(PAUSE)
    return took


def tell_writes(kind: str, what: str, took: list[float]) -> None:
    p99 = statistics.quantiles(took, n=100)[98]
    figures = f"median {statistics.median(took):.1f} ms, 99th % {p99:.1f} ms, longest {max(took):.1f} ms"
    print(f"{kind:10} {len(took)} items created {what}: {figures}", flush=True)


def prune(kind: str, app: Flask, url: str) -> None:
    client = app.test_client()
    account = {"username": "grace", "password": PASSWORD}
    token = client.post("/api/v1/auth/login", json=account).json["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    alone = threading.Event()
    threading.Timer(10, alone.set).start()
    tell_writes(kind, "alone", write(client, headers, alone))

    environment = {**os.environ, "APP_ENV": "testing", "DATABASE_URL": url}
    program = [sys.executable, "-m", "flask", "--app", "wsgi", "tokens", "prune"]
    began = time.perf_counter()
    done = threading.Event()
    with subprocess.Popen(program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as pruning:
        threading.Thread(target=lambda: (pruning.wait(), done.set())).start()
        took = write(client, headers, done)
        told = pruning.stdout.read().strip() if pruning.stdout else ""
    print(f"{kind:10} {told} In {time.perf_counter() - began:.0f} s.")
    tell_writes(kind, "meanwhile", took)


def run(kind: str, empty_url: str, full_url: str, arguments: argparse.Namespace) -> None:
    apps = {"empty": make_app(empty_url), "full": make_app(full_url)}
    began = time.perf_counter()
    fill(apps["full"], arguments)
    print(f"{kind:10} {arguments.revoked:,} revoked tokens, {arguments.sessions:,} sessions, filled in ", end="")
    print(f"{time.perf_counter() - began:.0f} s", flush=True)
    compare(kind, apps)
    prune(kind, apps["full"], full_url)
    for app in apps.values():
        with app.app_context():
            db.engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="*", metavar="URL")
    parser.add_argument("--revoked", type=int, default=10_000_000)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--expired", type=int, default=1_000_000, help="revoked tokens that have expired, to be pruned")
    arguments = parser.parse_args()
    if not arguments.servers:
        with tempfile.TemporaryDirectory() as folder:
            run("sqlite", f"sqlite:///{folder}/empty.db", f"sqlite:///{folder}/full.db", arguments)
    for server in arguments.servers:
        with ExitStack() as stack:
            urls = [stack.enter_context(database_on(server)) for _ in range(2)]
            run("postgresql", *urls, arguments)


if __name__ == "__main__":
    main()
