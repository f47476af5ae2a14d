"""Find out whether a request was carried out before."""

import hashlib
import json
from datetime import timedelta
from typing import Any

from flask import current_app
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.data.base import db
from app.data.errors import is_deadlock, is_unique_violation
from app.data.types import utcnow
from app.idempotency.models import IdempotencyKey
from app.web.errors import ApiError, Code

HEADER = "Idempotency-Key"


def stored_key(user_id: int, operation: str, key: str) -> str:
    """The stored key.  Each user and operation has keys of its own."""
    return hashlib.sha256(f"{user_id}\0{operation}\0{key}".encode()).hexdigest()


def fingerprint(body: Any) -> str:
    """A hash that is equal for equal JSON, whatever its formatting."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()


def first_answer(key: str, user_id: int, body_fingerprint: str) -> str | None:
    """The answer to the first request with this key, or None.

    None means that this request is the first.  It then reserves the key in its transaction, and other
    requests with the key wait for the end of that transaction.  If it fails, the key is free again.

    Raises:
        ApiError: 422 `idempotency_key_reused`, where the first request was another one.
    """
    now = utcnow()
    db.session.execute(delete(IdempotencyKey).where(IdempotencyKey.key == key, IdempotencyKey.expires_at <= now))
    row = {
        "key": key,
        "user_id": user_id,
        "fingerprint": body_fingerprint,
        "expires_at": now + timedelta(seconds=current_app.config["IDEMPOTENCY_KEY_EXPIRES"]),
    }
    try:
        db.session.execute(insert(IdempotencyKey).values(row))
    except DBAPIError as error:
        db.session.rollback()
        if is_deadlock(error):  # MariaDB: the first request failed while several waited for its key
            return first_answer(key, user_id, body_fingerprint)
        if not (isinstance(error, IntegrityError) and is_unique_violation(error)):
            raise
    else:
        return None
    first = db.session.execute(
        select(IdempotencyKey.fingerprint, IdempotencyKey.answer).where(IdempotencyKey.key == key)
    ).one_or_none()
    if first is None:  # it was rolled back meanwhile
        return first_answer(key, user_id, body_fingerprint)
    if first.fingerprint != body_fingerprint:
        reason = "This key was sent before with another request."
        raise ApiError(Code.idempotency_key_reused, errors={"headers": {HEADER: [reason]}})
    return str(first.answer)


def keep(key: str, answer: str) -> None:
    """Store the answer in the transaction of the request."""
    db.session.execute(update(IdempotencyKey).where(IdempotencyKey.key == key).values(answer=answer))
