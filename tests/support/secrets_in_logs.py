"""Keeps every secret that the suite uses and every line that it logs, to compare them at the end."""

import logging
import re
from contextlib import contextmanager

import jwt
import pytest

from app.users import passwords
from app.web.logs import _formatter
from config import TestingConfig

MIN_LENGTH = 8  # characters

LOGS: list[str] = []  # what real servers wrote; their tests add to it

TOKEN = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")
WORD = re.compile(r"[^\s\"',:;()<>]+")  # of a log line, which a secret would stand in as a whole
# A password that is blank, or a word of English or of Python, proves nothing where it stands in a log.
PLAIN = re.compile(r"[\W_]*[a-z]{0,11}[\W_]*")


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_formatter("json"))

    def emit(self, record: logging.LogRecord) -> None:
        LOGS.append(self.format(record))


@contextmanager
def watching():
    """All that is logged meanwhile, by whatever application; fails at the end where a secret is in it."""
    used = {TestingConfig.JWT_SECRET_KEY}
    keeper, patch = _Keeper(), pytest.MonkeyPatch()
    encode, normalize = jwt.encode, passwords.normalize_password

    def keep_token(claims, *args, **options):
        token = encode(claims, *args, **options)
        used.update({token, token.rpartition(".")[2], claims.get("csrf") or token})
        return token

    def keep_password(password):
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
    """No token of any kind, and none of these texts, in all that was logged."""
    text = "\n".join(LOGS)
    assert TOKEN.search(text) is None, "a token is in the log"
    used = {secret for secret in used if len(secret) >= MIN_LENGTH and not PLAIN.fullmatch(secret)}
    shown = used & set(WORD.findall(text)) | {s for s in used if not WORD.fullmatch(s) and s in text}
    lines = [line for line in LOGS if any(secret in line for secret in shown)]
    assert not shown, f"{sorted(shown)} in {lines[:3]}"
