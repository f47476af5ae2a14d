"""Import users, with password hashes of another application, from JSON lines."""

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, cast

from marshmallow import Schema, ValidationError, fields
from sqlalchemy import Table, bindparam, insert, select

from app.data.base import db
from app.data.statements import read
from app.users.foreign_hashes import IMPORTED, MALFORMED, fault_of, stored
from app.users.models import HASH_LENGTH, User, username_key
from app.users.schemas import Username
from app.web.fields import StrictBoolean
from app.web.strict_json import NotStrictError, strict_json

MAX_LINE = 4096  # bytes
BATCH = 500  # lines, and rows of a statement

_users = cast("Table", User.__table__)
_INSERT = insert(_users)
_TAKEN = select(_users.c.username_key).where(_users.c.username_key.in_(bindparam("keys", expanding=True)))
_FIELD_NAME = re.compile(r"\w{1,30}", re.ASCII)


class _ImportedHash(fields.String):
    """A password hash of another application, within limits of its cost."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        password_hash: str = super()._deserialize(value, attr, data, **kwargs)
        if len(password_hash) > HASH_LENGTH - len(IMPORTED):
            raise ValidationError(MALFORMED)
        if fault := fault_of(stored(password_hash)):
            raise ValidationError(fault)
        return stored(password_hash)


class _LineSchema(Schema):
    """The members of a line."""

    username = Username(required=True)
    password_hash = _ImportedHash(required=True)
    is_admin = StrictBoolean(load_default=False)
    is_active = StrictBoolean(load_default=True)


_LINE = _LineSchema()


class NewUser(NamedTuple):
    username: str
    username_key: str
    password_hash: str
    is_admin: bool
    is_active: bool


class UserFile:
    """The users in a file, and what is wrong with its lines."""

    def __init__(self) -> None:
        self.users: dict[str, NewUser] = {}  # by `username_key`
        self.faults: list[tuple[int, str]] = []  # the number of a line, and the reason
        self._lines: dict[str, int] = {}  # the number of the line of each `username_key`

    def read(self, file: BinaryIO) -> Iterator[int]:
        """Read and check all lines, without a transaction.

        Yields the number of lines of each batch.
        """
        lines = enumerate(_bounded_lines(file), start=1)
        while batch := list(islice(lines, BATCH)):
            keys = [key for number, line in batch if (key := self._add(number, line))]
            self.faults += [(self._lines[key], "username: This name is taken.") for key in _taken(keys)]
            yield len(batch)
        self.faults.sort()

    def insert(self) -> Iterator[int]:
        """Insert the users in the session's transaction.  The caller commits.

        Yields the number of rows of each batch.
        """
        users = iter(self.users.values())
        while batch := [user._asdict() for user in islice(users, BATCH)]:
            db.session.execute(_INSERT, batch)
            yield len(batch)

    def _add(self, number: int, line: bytes | None) -> str | None:
        """Add the user of a line, or a fault.

        Returns the key of a new user.
        """
        if line is not None and not line.strip():
            return None
        user = _parsed(line)
        if isinstance(user, str):
            self.faults.append((number, user))
            return None
        key = user.username_key
        if key in self.users:
            self.faults.append((number, f"username: Line {self._lines[key]} has the same name."))
            return None
        self.users[key], self._lines[key] = user, number
        return key


def _bounded_lines(file: BinaryIO) -> Iterator[bytes | None]:
    """The lines of a file.  None for one that is too long."""
    start = codecs.BOM_UTF8  # written by some programs on Windows
    while line := file.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE)
            yield None
        else:
            yield line.removeprefix(start)
        start = b""


def _parsed(line: bytes | None) -> NewUser | str:
    """The user of a line, or what is wrong with it.

    The reason quotes no value.
    """
    if line is None:
        return f"It is longer than {MAX_LINE} bytes."
    try:
        content = strict_json(line)
        if not isinstance(content, dict):
            return "It is not a JSON object."
        values = _LINE.load(content)
    except NotStrictError as error:
        return str(error)
    except ValidationError as error:
        return "; ".join(f"{_shown(field)}: {' '.join(texts)}" for field, texts in error.messages_dict.items())
    return NewUser(username_key=username_key(values["username"]), **values)


def _shown(field: str) -> str:
    """The name of a member, if a terminal can show it."""
    return field if _FIELD_NAME.fullmatch(field) else "a member"


def _taken(keys: Sequence[str]) -> list[str]:
    """Those of the keys that users of the database have."""
    return [row.username_key for row in read(_TAKEN, {"keys": keys})] if keys else []
