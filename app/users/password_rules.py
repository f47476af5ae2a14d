"""Refuse passwords that are common, follow a pattern, or resemble a name."""

import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path

from flask import current_app

from app.data.text import folded
from app.users.disguise import plain, plain_character, skeleton
from app.users.models import username_key
from app.users.password_list import PasswordList
from app.users.passwords import PASSWORD_LENGTH
from app.users.patterns import is_pattern

COMMON_PASSWORDS = Path(__file__).with_name("common_passwords.txt")
LITTLE = 2  # letters that a password may add to a name and still be refused
SHORTEST_NAME = 3  # letters and digits: a shorter name is no guess


@cache
def _common() -> frozenset[str]:
    """The words of common_passwords.txt without disguise (NIST SP 800-63B-4 section 3.1.1.2)."""
    lines = COMMON_PASSWORDS.read_text(encoding="utf-8").splitlines()
    return frozenset(plain(line) for line in lines if line and not line.startswith("#"))


@cache
def _list(path: str) -> PasswordList:
    return PasswordList(Path(path))


def load_list(path: str) -> None:
    """Read the lists before the first request needs them.

    Args:
        path: of PASSWORD_LIST, empty for none.
    """
    _common()
    if path:
        _list(path)


def is_common(password: str, more: str = "") -> bool:
    """Whether the password is in a list of common ones.

    Ignores case, `l33t`, and digits and signs at both ends.

    Args:
        password: of at most 128 characters.
        more: the path of another list.
    """
    key = _key(password)
    forms = {key, _stem(key)}
    if any(plain(form) in _common() for form in forms):
        return True
    return bool(more) and any(form in _list(more) for form in forms)


def is_predictable(password: str) -> bool:
    """Whether the password repeats itself, or consists of few walks or words."""
    key = _key(password)
    return is_pattern(key, plain(key), _common())


def resembles(password: str, username: str) -> bool:
    """Whether the password is the user name, or little more."""
    key, name = _key(password), username_key(username)
    return key == name or any(_is_little_more(key, form) for form in {name, _stem(name)})


def resembles_service(password: str) -> bool:
    """Whether the password is the name of this service, or little more."""
    key = _key(password)
    return any(_is_little_more(key, name.casefold()) for name in service_names())


def service_names() -> set[str]:
    """The names of this service: the API title and the token issuer."""
    return {current_app.config["API_TITLE"], current_app.config["JWT_ISSUER"]}


def _key(password: str) -> str:
    """The password as a user name would be compared."""
    return folded(password, "NFKC", PASSWORD_LENGTH)


def _stem(key: str) -> str:
    """The text without digits, punctuation, symbols and blanks at both ends."""
    first, last = 0, len(key)
    while first < last and _is_trimming(key[first]):
        first += 1
    while first < last and _is_trimming(key[last - 1]):
        last -= 1
    return key[first:last]


def _is_trimming(character: str) -> bool:
    return unicodedata.category(character)[0] in "NPSZ"


def _is_little_more(key: str, name: str) -> bool:
    """Whether the text is a name in any disguise, and little more.

    The name may occur often, or backward.

    Args:
        key: the password, case-folded.
        name: case-folded.
    """
    word = skeleton(name)
    if len(word) < SHORTEST_NAME:
        return False
    counts = str.isalpha if any(map(str.isalpha, name)) else str.isalnum  # what is more than a little
    with_signs = [character for character in key if plain_character(character).isalnum()]
    without_signs = [character for character in key if character.isalnum()]
    return any(
        _is_covered(characters, shape, counts)
        for characters in (with_signs, without_signs)
        for shape in (word, word[::-1])
    )


def _is_covered(characters: list[str], word: str, counts: Callable[[str], bool]) -> bool:
    """Whether the word occurs with few characters that count around it."""
    shape = "".join(map(plain_character, characters))
    rest, position = list[str](), 0
    while (found := shape.find(word, position)) >= 0:
        rest += characters[position:found]
        position = found + len(word)
    rest += characters[position:]
    return position > 0 and sum(map(counts, rest)) <= LITTLE
