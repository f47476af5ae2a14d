"""Refuse common passwords and passwords like the user name."""

import unicodedata
from functools import cache
from pathlib import Path

from app.data.text import folded
from app.users.models import username_key
from app.users.passwords import PASSWORD_LENGTH

COMMON_PASSWORDS = Path(__file__).with_name("common_passwords.txt")


@cache
def _common() -> frozenset[str]:
    """The list in common_passwords.txt (required by NIST SP 800-63B-4 section 3.1.1.2)."""
    lines = COMMON_PASSWORDS.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def is_common(password: str) -> bool:
    """Whether the password is common.

    Ignores case and trailing digits and signs.
    """
    key = _key(password)
    return key in _common() or _stem(key) in _common()


def resembles(password: str, username: str) -> bool:
    """Whether the password is the user name.

    Ignores case and trailing digits and signs.
    """
    key, name = _key(password), username_key(username)
    return key == name or (_stem(key) in {name, _stem(name)} - {""})


def _key(password: str) -> str:
    """The password as a user name would be compared."""
    return folded(password, "NFKC", PASSWORD_LENGTH)


def _stem(key: str) -> str:
    """The text without trailing digits, punctuation and symbols."""
    while key and unicodedata.category(key[-1])[0] in "NPSZ":
        key = key[:-1]
    return key
