"""Has this request been carried out already?"""

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
    """What a key is kept under: the same word of another user, or for another operation, is another key."""
    return hashlib.sha256(f"{user_id}\0{operation}\0{key}".encode()).hexdigest()


def fingerprint(body: Any) -> str:
    """The same for the same JSON, however it was written."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()


def first_answer(key: str, user_id: int, body_fingerprint: str) -> str | None:
    """What was answered to the first request of that key; none, where this is the first.

    Then the key is taken, in the transaction of the request: whoever comes with
    it meanwhile waits for the end of this one. If this one fails, it is free again.

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
        if is_deadlock(error):  # MariaDB's way when the first one fails and several wait for its key
            return first_answer(key, user_id, body_fingerprint)
        if not (isinstance(error, IntegrityError) and is_unique_violation(error)):
            raise
    else:
        return None
    first = db.session.execute(
        select(IdempotencyKey.fingerprint, IdempotencyKey.answer).where(IdempotencyKey.key == key)
    ).one_or_none()
    if first is None:  # it was taken back just now
        return first_answer(key, user_id, body_fingerprint)
    if first.fingerprint != body_fingerprint:
        reason = "It came before, with another body."
        raise ApiError(Code.idempotency_key_reused, errors={"headers": {HEADER: [reason]}})
    return str(first.answer)


def keep(key: str, answer: str) -> None:
    """Keep what is answered, in the transaction that does what was asked."""
    db.session.execute(update(IdempotencyKey).where(IdempotencyKey.key == key).values(answer=answer))
