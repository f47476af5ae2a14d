"""Column types that mean the same on every database, and the clock."""

from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, String
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator

MAX_ID = 2**63 - 1
# 64 bits everywhere.  SQLite autoincrements only an INTEGER column, which has 64 bits too.
BigId = BigInteger().with_variant(Integer, "sqlite")


def exact_text(length: int) -> String:
    """Text that sorts by code point on every database.

    Only PostgreSQL needs a collation for it.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def utcnow() -> datetime:
    """The current time: aware, in UTC.  All code uses this clock."""
    return datetime.now(UTC)


class UTCDateTime(TypeDecorator[datetime]):
    """An instant with microseconds.  Accepts aware datetimes and returns them in UTC.

    Uses `combine`, which is four times as fast as `replace`.
    """

    impl = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime needs a time zone")
        instant = value.astimezone(UTC)
        return instant if dialect.name == "postgresql" else datetime.combine(instant, instant.time())

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name == "postgresql":
            return value.astimezone(UTC)
        return datetime.combine(value, value.time(), UTC)


class Money(TypeDecorator[Decimal]):
    """An amount with two decimals, stored as an integer of hundredths."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, _dialect: Dialect) -> int | None:
        return None if value is None else int(value.scaleb(2).to_integral_exact())

    def process_result_value(self, value: int | None, _dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value).scaleb(-2)
