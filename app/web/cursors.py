"""Signed cursors: where the next page of a listing begins."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from flask import Flask, current_app
from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import Uuid

from app.data.types import Money, UTCDateTime
from app.web.errors import ApiError, invalid

NOT_A_CURSOR = "Not a cursor of this listing and order."
# JSON has all other types.
_READERS: dict[type, Any] = {Money: Decimal, UTCDateTime: datetime.fromisoformat, Uuid: UUID}


def init_app(app: Flask, secrets: Callable[[], tuple[bytes, ...]]) -> None:
    """Sign cursors with keys derived from these secrets.

    Args:
        app: the application.
        secrets: returns the secrets in force; the last one signs, all of them verify.
    """
    app.extensions["cursor_secrets"] = secrets


@lru_cache(maxsize=1)
def _signer(secrets: tuple[bytes, ...]) -> URLSafeSerializer:
    """Signs cursors, so that a client cannot make its own."""
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(list(secrets), salt="cursor", signer_kwargs=options)


def encode(order: list[Any], position: Sequence[Any]) -> str:
    """The cursor of a position.

    Args:
        order: the name of the listing and its order.
        position: the values of the columns of the order.
    """
    written = [value if isinstance(value, int | str) else str(value) for value in position]
    return str(_signer(current_app.extensions["cursor_secrets"]()).dumps([order, written]))


def decode(cursor: str, order: list[Any], keys: Sequence[Any]) -> list[Any]:
    """The position of a cursor.

    Args:
        cursor: as the client sent it.
        order: the name of the listing and its order.
        keys: the columns of the order.

    Raises:
        ApiError: 422, where the cursor belongs to another listing or order.
    """
    try:
        signed_order, position = _signer(current_app.extensions["cursor_secrets"]()).loads(cursor)
    except BadData:
        raise _not_a_cursor() from None
    if signed_order != order:
        raise _not_a_cursor()
    return [_READERS.get(type(key.type), _unchanged)(one) for key, one in zip(keys, position, strict=True)]


def _unchanged(value: Any) -> Any:
    return value


def _not_a_cursor() -> ApiError:
    return invalid("query", "cursor", NOT_A_CURSOR)
