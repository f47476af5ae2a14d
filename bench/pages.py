"""Compare the first and the 10,000th page of a million items.

    python bench/pages.py [URL …]     # servers on which databases can be created; default: SQLite

Prints for each database and order the milliseconds of the fastest of many requests, which no other work on the machine
has slowed down, and the time of the last page divided by that of the first.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade
from sqlalchemy import insert, text

ROOT = Path(__file__).parent.parent
sys.path += [str(ROOT), str(ROOT / "tests")]

from app import create_app  # noqa: E402
from app.data.base import db  # noqa: E402
from app.items.models import Item, name_key  # noqa: E402
from config import TestingConfig  # noqa: E402
from support.databases import database_on  # noqa: E402 -- needs the path

ITEMS, LIMIT, PAGE, REPEATS = 1_000_000, 100, 10_000, 51
ORDERS = ("id", "-id", "name", "-name", "price", "-price", "created_at", "-created_at")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def rows() -> Iterator[dict[str, Any]]:
    """Items whose ids have another order than their names, prices and times."""
    for number in range(ITEMS):
        name, moment = f"Thing {number * 7_919 % ITEMS:07}", BEGAN + timedelta(seconds=number * 31 % 500_000)
        yield {
            "name": name,
            "name_key": name_key(name),
            "price": Decimal(number * 17 % 100_000) / 100,
            "created_at": moment,
            "updated_at": moment,
        }


def fill(app: Flask) -> None:
    with app.app_context():
        upgrade()
        every = rows()
        while some := list(islice(every, 5_000)):
            db.session.execute(insert(Item), some)
        db.session.commit()
        db.session.execute(text("ANALYZE TABLE items" if db.engine.dialect.name == "mysql" else "ANALYZE"))
        db.session.commit()


def fastest_ms(client: FlaskClient, path: str, headers: dict[str, str]) -> tuple[float, Any]:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        response = client.get(path, headers=headers)
        times.append((time.perf_counter() - began) * 1000)
        if response.status_code != HTTPStatus.OK:
            raise SystemExit(f"{path}: {response.text}")
    return min(times), response


def measure(app: Flask) -> None:
    client = app.test_client()
    account = {"username": "grace", "password": "correct horse battery"}
    token = client.post("/api/v1/auth/register", json=account).json["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    for order in ORDERS:
        first_path = f"/api/v1/items?limit={LIMIT}&sort={order}"
        first, page = fastest_ms(client, first_path, headers)
        path = first_path
        for _ in range(PAGE - 1):  # follow the links, like a client
            path = page.headers["Link"][1:].partition(">")[0]
            page = client.get(path, headers=headers)
        last, page = fastest_ms(client, path, headers)
        seen = "the last" if page.json["next_cursor"] is None else "not the last"
        kind = app.config["SQLALCHEMY_DATABASE_URI"].get_backend_name()
        told = f"{kind:10} {order:12} page 1: {first:6.2f} ms   page {PAGE:,} ({seen}): {last:6.2f} ms"
        print(f"{told}   {last / first:.2f}", flush=True)


def run(url: str) -> None:
    config = TestingConfig()
    config.DATABASE_URL, config.LOG_LEVEL = url, "WARNING"
    app = create_app(config)
    fill(app)
    measure(app)
    with app.app_context():
        db.engine.dispose()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        with tempfile.TemporaryDirectory() as folder:
            run(f"sqlite:///{folder}/pages.db")
    for server in sys.argv[1:]:
        with database_on(server) as url:
            run(url)
