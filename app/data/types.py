"""Column types that mean the same on every database, and the clock."""

from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, String
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator

MAX_ID = 2**63 - 1
# 64 bits everywhere; SQLite counts up only a column that is called INTEGER, which has 64 bits there too.
BigId = BigInteger().with_variant(Integer, "sqlite")


def exact_text(length: int) -> String:
    """Text that sorts by its code points on every database.  The others do so by the rules of their tables."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def utcnow() -> datetime:
    """The one clock of the program: aware, in UTC."""
    return datetime.now(UTC)


class UTCDateTime(TypeDecorator[datetime]):
    """An instant.  Takes aware datetimes of any zone, gives aware ones in UTC, to the microsecond.

    By `combine`, which puts a zone to a time and takes it away in a quarter of the time of `replace`.
    """

    impl = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime is no instant")
        instant = value.astimezone(UTC)
        return instant if dialect.name == "postgresql" else datetime.combine(instant, instant.time())

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name == "postgresql":
            return value.astimezone(UTC)
        return datetime.combine(value, value.time(), UTC)


class Money(TypeDecorator[Decimal]):
    """An amount with two places, kept as whole hundredths: exact on every database, and it sorts as a number."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, _dialect: Dialect) -> int | None:
        return None if value is None else int(value.scaleb(2).to_integral_exact())

    def process_result_value(self, value: int | None, _dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value).scaleb(-2)
