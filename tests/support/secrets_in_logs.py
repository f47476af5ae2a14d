"""Check that no line that the suite logs contains a secret."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import pytest

from app.users import passwords
from app.web.logs import _formatter
from config import TestingConfig

MIN_LENGTH = 8  # characters

LOGS: list[str] = []  # all log lines; tests that start servers add the servers' output

TOKEN = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")
WORD = re.compile(r"[^\s\"',:;()<>]+")  # a word of a log line; a leaked secret would be a whole word
# Passwords that are blank or a plain word: a log may contain these for other reasons.
PLAIN = re.compile(r"[\W_]*[a-z]{0,11}[\W_]*")


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_formatter("json"))

    def emit(self, record: logging.LogRecord) -> None:
        LOGS.append(self.format(record))


@contextmanager
def watching() -> Iterator[None]:
    """Collect logs and secrets of all applications; compare them after the block."""
    used = {TestingConfig.JWT_SECRET_KEY}
    keeper, patch = _Keeper(), pytest.MonkeyPatch()
    encode, normalize = jwt.encode, passwords.normalize_password

    def keep_token(claims: dict[str, Any], *args: Any, **options: Any) -> str:
        token = encode(claims, *args, **options)
        used.update({token, token.rpartition(".")[2], claims.get("csrf") or token})
        return token

    def keep_password(password: str) -> str:
        used.add(password)
        return normalize(password)

    patch.setattr(jwt, "encode", keep_token)
    patch.setattr(passwords, "normalize_password", keep_password)
    logging.getLogger().addHandler(keeper)
    yield
    logging.getLogger().removeHandler(keeper)
    patch.undo()
    assert_none_of(used)


def assert_none_of(used: set[str]) -> None:
    """Check that the logs contain no token and none of these secrets."""
    text = "\n".join(LOGS)
    assert TOKEN.search(text) is None, "a token is in the log"
    used = {secret for secret in used if len(secret) >= MIN_LENGTH and not PLAIN.fullmatch(secret)}
    used |= {json.dumps(secret)[1:-1] for secret in used}  # as a line of JSON has it
    shown = used & set(WORD.findall(text)) | {s for s in used if not WORD.fullmatch(s) and s in text}
    lines = [line for line in LOGS if any(secret in line for secret in shown)]
    assert not shown, f"{sorted(shown)} in {lines[:3]}"
