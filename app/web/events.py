"""Which refusals are security events, and which events are written."""

import hmac
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from logging import INFO, WARNING
from threading import Lock
from typing import Any

from flask import Flask, current_app

from app.web.codes import Code
from app.web.networks import network_of

# The event of each refusal.  `web/errors.py` logs it with the answer, so that no view has to.
# INFO: clients meet these in normal use.
REFUSALS: Mapping[Code, Mapping[str, Any]] = {
    Code.invalid_token: {"event": "authn_token_invalid", "level": WARNING},
    Code.token_expired: {"event": "authn_token_expired", "level": INFO},
    Code.token_revoked: {"event": "session_use_after_expire", "level": WARNING},
    Code.token_reused: {"event": "authn_token_reuse", "level": WARNING},
    Code.fresh_token_required: {"event": "authz_fail", "level": INFO, "reason": "fresh_token_required"},
    Code.invalid_credentials: {"event": "authn_login_fail", "level": WARNING},
    Code.csrf_failed: {"event": "csrf_failed", "level": WARNING},
    Code.admin_required: {"event": "authz_fail", "level": WARNING, "reason": "admin_required"},
    Code.forbidden: {"event": "authz_fail", "level": WARNING, "reason": "forbidden"},
    Code.too_many_attempts: {"event": "excess_rate_limit_exceeded", "level": WARNING},
}
# Of an object that the answer says does not exist.
CONCEALED: Mapping[str, Any] = {"event": "authz_fail", "level": WARNING, "reason": "not_found"}
REFUSED = {str(refusal["event"]) for refusal in REFUSALS.values()} | {"authn_login_lock", "authn_password_change_fail"}

MINUTE = 60  # seconds
# A worker writes at most so many lines a minute in full; it counts the rest.
CHANGES = 10  # of an event other than a refusal, of one user and network
USERS = 30  # of the refusals of one network: one for each event and user
REFUSALS_OF_ALL = 1000  # of all networks: somebody may have many
GROUPS = 10_000  # events, networks and users that it tells apart: about 10 MB

SHARED = ("event", "ip_address", "request_id")  # members of a line about more than one user
REST = "*"  # the network or the user of the groups for the rest
NAME_HASH = 16  # hexadecimal digits

_Key = tuple[str, str, object]  # event, network, user


@dataclass(slots=True)
class _Group:
    """The events of one name, network and user in this minute."""

    full: int  # lines that may still be written in full
    count: int = 0  # events since the last line
    level: int = INFO
    fields: dict[str, Any] = field(default_factory=dict)  # of the latest of them


class Flood:
    """Selects the events that are written, and counts the others.

    The first events of a minute are written in full, and the others are one line with their number.  A flood that
    goes on writes one line a minute.  The first event after a minute without one is written at once.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._minute = -1
        self.groups: dict[_Key, _Group] = {}
        self._users: Counter[str] = Counter()  # groups of refusals, by network
        self._refusals = 0  # their sum

    def admits(self, level: int, fields: dict[str, Any]) -> bool:
        """Whether to write this event in full.

        Counts it otherwise.

        Args:
            level: of the log.
            fields: of the line.
        """
        event, network = fields["event"], network_of(fields["ip_address"])
        with self._lock:
            group = self._group(event, network, fields["user_id"] or fields.get("name_hash"))
            if group is None:  # too many users or networks
                group = self._rest(event, network)
                fields = {name: fields.get(name) for name in SHARED} | {"user_id": None, "session_id": None}
            if group.full:
                group.full -= 1
                return True
            group.count += 1
            group.level, group.fields = level, fields
            return False

    def _group(self, event: str, network: str, user: object) -> _Group | None:
        if group := self.groups.get((event, network, user)):
            return group
        is_refusal = event in REFUSED
        if len(self.groups) >= GROUPS:
            return None
        if is_refusal:
            if self._refusals >= REFUSALS_OF_ALL or self._users[network] >= USERS:
                return None
            self._users[network] += 1
            self._refusals += 1
        return self.groups.setdefault((event, network, user), _Group(1 if is_refusal else CHANGES))

    def _rest(self, event: str, network: str) -> _Group:
        """The group of all users that have none of their own."""
        key = event, network, REST
        if key not in self.groups and (len(self.groups) >= GROUPS or self._refusals >= REFUSALS_OF_ALL):
            key = event, REST, REST
        return self.groups.setdefault(key, _Group(full=0))

    def ended(self, now: float) -> list[tuple[int, dict[str, Any]]]:
        """The levels and fields of the lines that are due.

        Empty until the minute has ended.

        Args:
            now: seconds of a monotonic clock.
        """
        minute = int(now // MINUTE)
        if minute == self._minute:
            return []
        with self._lock:
            if minute == self._minute:  # another thread was faster
                return []
            self._minute = minute
            going_on = {key: group for key, group in self.groups.items() if group.count}
            lines = [(group.level, {**group.fields, "count": group.count}) for group in going_on.values()]
            for group in going_on.values():
                group.full = group.count = 0
            self.groups = going_on
            self._users = Counter(network for event, network, user in going_on if event in REFUSED and user != REST)
            self._refusals = self._users.total()
        return lines


def name_hash(name: str) -> str:
    """An HMAC of a user name.

    It shows equal names and discloses none. It is the same on every machine.

    Args:
        name: `username_key` of it.
    """
    secret: bytes = current_app.extensions["event_secrets"]()[-1]
    key = hmac.digest(secret, b"names in security events", "sha256")
    return hmac.digest(key, name.encode(), "sha256").hex()[:NAME_HASH]


def init_app(app: Flask, secrets: Callable[[], tuple[bytes, ...]]) -> None:
    """Hash names with a key derived from these secrets.

    Args:
        app: the application.
        secrets: returns the secrets in force; the last one is that of the signing key.
    """
    app.extensions["event_flood"] = Flood()
    app.extensions["event_secrets"] = secrets
