"""Measure pages and searches of a million items.

    python bench/pages.py [URL …]     # servers on which databases can be created; default: SQLite

Prints for each database and order the milliseconds of the fastest of many requests, which no other work on the machine
has slowed down, and the time of the last page divided by that of the first.  Then prints the time of varied searches
and filters, and the number of rows of their pages.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import unquote_plus, urlencode

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
WORDS = (
    *("padlock", "brass", "chain", "door", "night", "latch", "skeleton", "key", "ring", "letter", "slot", "peephole"),
    *("deadbolt", "hasp", "staple", "strongbox", "spring", "lamp", "chair", "table", "window", "glass", "copper"),
    *("steel", "iron", "hinge", "bolt", "screw", "nail", "hammer", "wrench", "钥匙", "门锁", "弹簧", "黄铜", "窗户"),
)
SEARCHED = (
    *(
        "padlock",
        "strongbox spring",
        "padlock 12",
        "brass 999999",
        "999999",
        "zzz",
        "zebra",
        "latchkey",
        "wrench wrench",
    ),
    *("e", "q", "9", "钥", "ck", "zz", "7 ", "钥匙", "窗户 钥", "黄铜 999", "%", "_", "钥匙 padlock 7"),
)
LISTED = (
    *("min_price=999.99&sort=name", "min_price=999.99", "min_price=999&sort=-created_at", "max_price=500&sort=name"),
    *(
        "min_price=999.99&q=padlock&sort=name",
        "min_price=500&max_price=500.01&sort=-name",
        "min_price=999.99&sort=price",
    ),
    *("q=wrench&sort=price", "q=wrench wrench&sort=-created_at", "q=窗户&max_price=1&sort=name"),
)
ORDERS = ("id", "-id", "name", "-name", "price", "-price", "created_at", "-created_at")
ACCOUNT = {"username": "grace", "password": "correct horse battery"}
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def rows() -> Iterator[dict[str, Any]]:
    """Items whose ids have another order than their names, prices and times."""
    for number in range(ITEMS):
        mixed = number * 7_919 % ITEMS
        first, second = WORDS[mixed % len(WORDS)], WORDS[mixed // len(WORDS) % len(WORDS)]
        name, moment = f"{first.title()} {second} {mixed}", BEGAN + timedelta(seconds=number * 31 % 500_000)
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
        while some := list(islice(every, 1_000)):
            db.session.execute(insert(Item), some)
        db.session.commit()
        db.session.execute(text("ANALYZE TABLE items" if db.engine.dialect.name == "mysql" else "ANALYZE"))
        db.session.commit()


def fastest_ms(client: FlaskClient, path: str, headers: dict[str, str], repeats: int = REPEATS) -> tuple[float, Any]:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        response = client.get(path, headers=headers)
        times.append((time.perf_counter() - began) * 1000)
        if response.status_code != HTTPStatus.OK:
            raise SystemExit(f"{path}: {response.text}")
    return min(times), response


def measure(app: Flask) -> None:
    client = app.test_client()
    token = client.post("/api/v1/auth/register", json=ACCOUNT).json["access_token"]
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


def measure_searches(app: Flask) -> None:
    """Searches without a token, and filters with one."""
    kind = app.config["SQLALCHEMY_DATABASE_URI"].get_backend_name()
    client = app.test_client()
    token = client.post("/api/v1/auth/login", json=ACCOUNT).json["access_token"]
    for sort in ("id", "-id", "name", "-name"):
        report(kind, client, [f"{urlencode({'q': q})}&sort={sort}" for q in SEARCHED], {})
    report(kind, client, LISTED, {"Authorization": f"Bearer {token}"})


def report(kind: str, client: FlaskClient, queries: Sequence[str], headers: dict[str, str]) -> None:
    every = []
    for query in queries:
        took, page = fastest_ms(client, f"/api/v1/items?{query}", headers, repeats=5)
        every.append(took)
        end = "" if page.json["next_cursor"] is None else ", more"
        print(f"{kind:10} {unquote_plus(query):50} {took:7.2f} ms   {len(page.json['items'])} rows{end}", flush=True)
    print(f"{kind:10} {'a user' if headers else 'a stranger'}: median {median(every):.2f} ms, max {max(every):.2f} ms")


def run(url: str) -> None:
    config = TestingConfig()
    config.DATABASE_URL, config.LOG_LEVEL = url, "WARNING"
    app = create_app(config)
    fill(app)
    measure(app)
    measure_searches(app)
    with app.app_context():
        db.engine.dispose()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        with tempfile.TemporaryDirectory() as folder:
            run(f"sqlite:///{folder}/pages.db")
    for server in sys.argv[1:]:
        with database_on(server) as url:
            run(url)
