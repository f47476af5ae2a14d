"""Verify passwords and start sessions."""

import uuid
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from flask import current_app
from sqlalchemy import Select, Table, bindparam, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from app.auth.limits import counted_attempt, forget_failures, login_counters
from app.auth.models import IP_ADDRESS_LENGTH, USER_AGENT_LENGTH, RevokedToken, Session
from app.data.base import db
from app.data.errors import unique_or
from app.data.expiry import prune_some
from app.data.statements import read, write
from app.data.types import utcnow
from app.sessions.service import end_longest_unused, end_sessions
from app.tokens.caller import Caller
from app.tokens.issuing import Grant
from app.users.models import User, username_key
from app.users.passwords import hash_password, hashing_slot, is_outdated, verify_password
from app.users.schemas import UserSchema
from app.web.errors import ApiError, Code
from app.web.events import name_hash
from app.web.request import Client


class Account(SimpleNamespace):
    """A user as read before the password check.

    It has every field of `UserSchema`.
    """

    id: int
    username: str
    username_key: str
    password_hash: str
    password_version: int
    is_admin: bool
    is_active: bool

    def __repr__(self) -> str:  # keeps the hash out of logs
        return f"<Account {self.id}>"


_users = cast("Table", User.__table__)
_ACCOUNT = select(*UserSchema().columns(User, *Account.__annotations__))
_BY_NAME = _ACCOUNT.where(_users.c.username_key == bindparam("name"))
_BY_ID = _ACCOUNT.where(_users.c.id == bindparam("id"))


def verify_login(username: str, password: str, client: Client) -> Account:
    """Find the active user with this name and password.

    Raises:
        ApiError: 401 `invalid_credentials`, with the same text and cost for every cause;
            429 `too_many_attempts`; 503 `overloaded`.
    """
    key = username_key(username)
    with hashing_slot():  # first, so that a refused login costs nothing more
        user = _find(_BY_NAME, name=key)
        if user is not None and user.username_key != key:
            user = None  # MariaDB finds `grace` for `grace ` too
        return _verify(user, key, password, client)


def replace_password(caller: Caller, current: str, new: str, client: Client) -> Account:
    """Verify the caller's password, replace it, and end every session.

    Raises:
        ApiError: as `verify_login` does.
    """
    with hashing_slot():  # one slot for both hashes
        account = _find(_BY_ID, id=caller.id)
        user = _verify(account, username_key(caller.username), current, client, event="authn_password_change_fail")
        set_password(user, new)
    return user


def set_password(user: Account | User, password: str) -> None:
    """Replace the password of an active user, and end every session.

    Does not need the current password.  Call `start_login` with the same object to log the user in again.

    Args:
        user: as `verify_login` returned it, or loaded in this request.
        password: as `NewPassword` accepts it.

    Raises:
        ApiError: 401 `invalid_credentials` where the user is inactive, or the password changed since the user was
            read; 503 `overloaded`.
    """
    password_hash = hash_password(password)
    _hold(user, password_hash=password_hash, password_version=user.password_version + 1)
    if isinstance(user, User):
        db.session.refresh(user)
    else:
        user.password_version += 1
    end_sessions(user.id)


def _find(statement: Select[*tuple[Any, ...]], **values: Any) -> Account | None:
    rows = read(statement, values)
    db.session.remove()  # give the connection back, because a hash takes long
    return Account(**rows[0]._asdict()) if rows else None


def _verify(
    user: Account | None, name: str, password: str, client: Client, *, event: str = "authn_login_fail"
) -> Account:
    counters = login_counters(user.id if user else None, name, client.ip_address)
    with counted_attempt(counters):
        is_usable = user is not None and user.is_active
        is_correct = verify_password(user.password_hash if user else None, password, is_usable=is_usable)
    if user is None or not is_correct or not user.is_active:
        prune_some()
        who = {"user_id": user.id} if user else {"name_hash": name_hash(name)}
        reason = "unknown" if user is None else "inactive" if is_correct else "wrong_password"
        raise ApiError(Code.invalid_credentials, event={"event": event, "reason": reason, **who})
    forget_failures(counters)
    if is_outdated(user.password_hash):
        _renew_hash(user, password)
    return user


def _renew_hash(user: Account, password: str) -> None:
    """Store a hash with the current parameters.

    A failure does not fail the login.
    """
    try:
        renewed = hash_password(password)
        with db.engine.begin() as connection:
            connection.execute(
                update(User)
                .where(User.id == user.id, User.password_hash == user.password_hash)
                .values(password_hash=renewed, updated_at=User.updated_at)
            )
    except (ApiError, SQLAlchemyError) as error:
        current_app.logger.warning("A password hash could not be renewed: %s", type(error).__name__)


_HOLD = (
    update(_users)
    .where(_users.c.id == bindparam("held"), _users.c.password_version == bindparam("seen"), _users.c.is_active)
    .values(updated_at=_users.c.updated_at)
)


def _hold(user: Account | User, **changes: Any) -> None:
    """Lock the user's row until the commit, and write the changes.

    A login and a concurrent password change or deactivation wait for each other here, so that no
    session starts after either of them.

    Raises:
        ApiError: 401 `invalid_credentials` if the user is inactive, or the password changed since the user was read.
    """
    hold = _HOLD.values(changes) if changes else _HOLD
    if not write(hold, {"held": user.id, "seen": user.password_version}):
        raise ApiError(Code.invalid_credentials)


_sessions = cast("Table", Session.__table__)
_NEW_SESSION = insert(_sessions)


def start_login(user: Account | User, client: Client) -> Grant:
    """Start a session that lasts as long as a refresh token.

    Ends others as `start_session` does.

    Args:
        user: as `verify_login` returned it, or an active user whom another way of logging in has identified.
        client: `client_of_request()`.

    Raises:
        ApiError: 401 `invalid_credentials` where the user is inactive, or the password changed since the user was read.
    """
    return start_session(user, client, lasts=current_app.config["JWT_REFRESH_TOKEN_EXPIRES"])


def start_session(user: Account | User, client: Client, *, lasts: int, renewable: bool = True) -> Grant:
    """Start a session.

    Ends all others under `SINGLE_SESSION`, and the longest unused above `MAX_SESSIONS`.

    Args:
        user: the result of `verify_login`, or a new user.
        client: shown in the list of sessions.
        lasts: lifetime of the session in seconds.
        renewable: whether it has a refresh token.
    """
    _hold(user)
    now = utcnow()
    grant = Grant(uuid.uuid4(), uuid.uuid4() if renewable else None, now, now + timedelta(seconds=lasts))
    row = {
        "id": grant.session_id,
        "user_id": user.id,
        "refresh_jti": grant.refresh_jti,
        "created_at": now,
        "last_used_at": now,
        "expires_at": grant.expires_at,
        "user_agent": client.user_agent and client.user_agent[:USER_AGENT_LENGTH],
        "ip_address": client.ip_address and client.ip_address[:IP_ADDRESS_LENGTH],
    }
    db.session.execute(_NEW_SESSION, row)
    return grant._replace(ended=_end_others(user.id, grant.session_id, now))


def _end_others(user_id: int, kept: uuid.UUID, now: datetime) -> int:
    """End sessions as `SINGLE_SESSION` and `MAX_SESSIONS` say.  Returns their number.

    The lock of `_hold` makes logins of the same user wait, so that parallel logins do not exceed the limit.
    """
    if current_app.config["SINGLE_SESSION"]:
        return end_sessions(user_id, but=kept)
    most: int = current_app.config["MAX_SESSIONS"]
    return end_longest_unused(user_id, most=most, kept=kept, now=now) if most else 0


_TOUCH = (
    update(_sessions)
    .where(_sessions.c.id == bindparam("joined"), _sessions.c.user_id == bindparam("of"))
    .values(last_used_at=bindparam("moment"))
)


def join_session(user: Account | User, caller: Caller) -> Grant | None:
    """Use the caller's session for a fresh access token.

    Ends all others under `SINGLE_SESSION`.

    Returns None if the session has ended meanwhile.

    Raises:
        ApiError: as `start_login` does, under `SINGLE_SESSION`.
    """
    is_single, now, ended = current_app.config["SINGLE_SESSION"], utcnow(), 0
    if is_single:
        _hold(user)  # first, as a login does, so that the two cannot deadlock
    if not write(_TOUCH, {"joined": caller.session_id, "of": user.id, "moment": now}):
        return None
    if is_single:
        ended = end_sessions(user.id, but=caller.session_id)
    return Grant(caller.session_id, None, now, caller.session_expires_at, ended=ended)


def revoke_token(caller: Caller) -> None:
    """Revoke this token only.

    Raises:
        ApiError: 401 `token_revoked` if a concurrent request has revoked it.
    """
    db.session.add(RevokedToken(jti=caller.jti, expires_at=caller.token_expires_at))
    with unique_or(ApiError(Code.token_revoked)):
        db.session.flush()
