"""Rows with names, prices and times, for tests of listings."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from flask import Flask

from app.data.base import Base, db

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
ORDERS = ("id", "name", "price", "created_at")
BOTH_WAYS = [*ORDERS, *(f"-{order}" for order in ORDERS)]
NAMES = ["Lamp", "lamp", "Äpfel", "apple", "钥匙", "😀", "ﬁsh", "%_\\", "Zebra", "İstanbul", "ß", "SS"]
# Few prices and times, so that these orders have ties.
TIED = [
    {"name": name, "price": Decimal(number % 3), "created_at": BEGAN + timedelta(microseconds=number % 4)}
    for number, name in enumerate(NAMES)
]


def add_rows(app: Flask, model: type[Base], rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows of the model; a row needs only a name."""
    plain = {"price": Decimal(1), "created_at": BEGAN, "updated_at": BEGAN}
    with app.app_context():
        db.session.add_all(model(**plain | row) for row in rows)
        db.session.commit()
