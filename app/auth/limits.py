"""The limits of guesses, registrations and new names.

Each limit is data; the context managers count attempts.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from logging import WARNING
from typing import NamedTuple

from flask import current_app
from sqlalchemy import Connection, bindparam, select

from app.auth.models import Session
from app.auth.throttle import DAY, Admits, Counter, counter_key, delete_counters, never, reserve, settle
from app.data.base import db
from app.data.types import utcnow
from app.tokens.caller import IS_ALIVE, alive_at
from app.web.errors import ApiError, Code
from app.web.logs import log_event
from app.web.networks import network_of

HOUR = 3600  # seconds
YEAR = 365 * DAY


@dataclass(frozen=True)
class Limit:
    """How many attempts are allowed in a window.

    Args:
        name: tells the counters of one account or network apart.
        most: a number, or the setting that has it.  0: no limit.
        seconds: the length of the window, or the setting that has it.
        growth: each further window within a day is so many times longer.
        retry_after: of a refusal in seconds.  None: until the window ends.
    """

    name: str
    most: int | str
    seconds: int | str
    growth: int = 1
    retry_after: int | None = None

    def of(self, who: str, where: str = "", *, admits: Admits = never) -> Counter:
        """The counter of an account, a network, or both together."""
        return Counter(
            counter_key(who, f"{self.name}\0{where}"),
            _value(self.most),
            _value(self.seconds),
            self.growth,
            self.retry_after,
            admits,
        )


def _value(number: int | str) -> int:
    return int(current_app.config[number]) if isinstance(number, str) else number


ACCOUNT_AND_NETWORK = Limit("account and network", "LOGIN_ATTEMPTS", "LOGIN_WINDOW", growth=2)
NETWORK = Limit("network", "LOGIN_ATTEMPTS_PER_NETWORK", 300)
# Consecutive failures (NIST SP 800-63B-4 section 3.2.2).  A success resets it.
ACCOUNT = Limit("account", "LOGIN_ATTEMPTS_PER_ACCOUNT", YEAR, retry_after=300)
# Shorter, because anybody can invent names.
UNKNOWN_ACCOUNT = Limit("account", "LOGIN_ATTEMPTS_PER_ACCOUNT", DAY, retry_after=300)

REGISTRATIONS = Limit("registrations", "REGISTRATIONS_PER_NETWORK", HOUR)
REFUSED_REGISTRATIONS = Limit("refused registrations", "REGISTRATIONS_PER_NETWORK", HOUR)
RENAMES = Limit("renames", 5, DAY)
REFUSED_RENAMES = Limit("refused renames", 20, DAY)


class LoginCounters(NamedTuple):
    user_id: int | None  # None: an unknown name
    pair: Counter
    network: Counter
    account: Counter


def login_counters(user_id: int | None, name: str, address: str | None) -> LoginCounters:
    """The counters of a check of a password.

    Args:
        user_id: None for an unknown name.
        name: counts if the user is unknown.  Otherwise the id does, so that a rename does not reset the counters.
        address: the client's IP address.
    """
    who = f"name {name}" if user_id is None else _account(user_id)
    network = network_of(address)
    account = UNKNOWN_ACCOUNT if user_id is None else ACCOUNT
    return LoginCounters(
        user_id,
        ACCOUNT_AND_NETWORK.of(who, network),
        NETWORK.of(network),
        account.of(who, admits=partial(_has_session, user_id or 0, network)),  # 0: the same work for an unknown name
    )


def _account(user_id: int) -> str:
    return f"user {user_id}"


_ADDRESSES = select(Session.ip_address).where(Session.user_id == bindparam("user"), *IS_ALIVE).distinct()


def _has_session(user_id: int, network: str, connection: Connection) -> bool:
    """Whether the user has a living session from this network."""
    addresses = connection.scalars(_ADDRESSES, {"user": user_id, **alive_at(utcnow())}).all()
    return network in map(network_of, addresses)


@contextmanager
def counted_attempt(counters: LoginCounters) -> Iterator[None]:
    """Count the password check of the block as a failed login.

    A server-side failure does not count.  Call `forget_failures` if the password is right.

    Raises:
        ApiError: 429 `too_many_attempts`; 503 `overloaded` from the block.
    """
    user_id, *limited = counters
    try:
        reserve(*limited)
    except ApiError:
        log_event("authn_login_lock", level=WARNING, user_id=user_id)
        raise
    try:
        yield
    except ApiError:
        settle(given_back=limited)
        raise


def forget_failures(counters: LoginCounters) -> None:
    """Reset the account's failures after a correct password.

    The attempt is no failure of its network either.
    """
    settle(given_back=[counters.network], cleared=[counters.pair, counters.account])


def unlock(user_id: int) -> None:
    """Delete all counters of the account, in a transaction of its own."""
    delete_counters(_account(user_id))


def counted_registration(address: str | None) -> AbstractContextManager[None]:
    """Count the block as a registration.

    If the name is taken, it counts as a refused one.
    """
    done = REGISTRATIONS.of(network_of(address))
    return _counted(done, refused_registrations(address), limit="registrations")


def refused_registrations(address: str | None) -> Counter:
    return REFUSED_REGISTRATIONS.of(network_of(address))


def counted_rename(user_id: int) -> AbstractContextManager[None]:
    """Count the block as a change of the user's name.

    If the name is taken, it counts as a refused one.
    """
    return _counted(RENAMES.of(_account(user_id)), refused_renames(user_id), limit="renames")


def refused_renames(user_id: int) -> Counter:
    return REFUSED_RENAMES.of(_account(user_id))


@contextmanager
def _counted(done: Counter, refused: Counter, *, limit: str) -> Iterator[None]:
    """Count the block, which commits, at one of two counters.

    An answer other than `username_taken` counts at none.

    Raises:
        ApiError: 429 `too_many_attempts`.
    """
    try:
        reserve(done, refused)
    except ApiError:
        log_event("excess_rate_limit_exceeded", level=WARNING, limit=limit)
        raise
    try:
        yield
    except Exception as error:
        db.session.rollback()  # a thread that holds a connection must not wait for a second one
        is_refused = isinstance(error, ApiError) and error.code is Code.username_taken
        settle(given_back=[done] if is_refused else [done, refused])
        raise
    settle(given_back=[refused])


@contextmanager
def bad_names_counted(refused: Callable[[], Counter]) -> Iterator[None]:
    """Count a 422 about the user name as a refused name.

    A decorator of views, above `arguments`.
    """
    try:
        yield
    except ApiError as error:
        if error.code is Code.validation_failed and "username" in (error.errors or {}).get("json", {}):
            with suppress(ApiError):  # at the limit: the answer is still the 422
                reserve(refused())
        raise
