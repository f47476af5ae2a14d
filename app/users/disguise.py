"""See through disguises of a word, such as `l4tchk3y` or `L.ä.t.c.h`.

A disguised word and the plain one have the same skeleton.
"""

import re
import unicodedata
from functools import lru_cache

# Characters that people read or type for a letter.  I, l and 1 are one letter, because they look the same.
_SUBSTITUTES = {
    "0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g",
    "@": "a", "$": "s", "!": "i", "|": "i", "+": "t", "€": "e", "l": "i",
}  # fmt: skip
_TABLE = str.maketrans(_SUBSTITUTES)
# The letter in a Unicode name: LATIN SMALL LETTER E WITH ACUTE, LATIN LETTER SMALL CAPITAL E, LATIN SMALL LETTER ALPHA.
_LATIN = re.compile(r"LATIN (?:SMALL |CAPITAL )?LETTER (?:[A-Z]+ )*?([A-Z]|ALPHA|IOTA)(?: WITH .+)?")


@lru_cache(maxsize=4096)
def plain_character(character: str) -> str:
    """The letter that a character looks like, or the character itself.

    Args:
        character: one, case-folded.
    """
    if not character.isascii() and (found := _LATIN.fullmatch(unicodedata.name(character, ""))):
        character = found[1][0].lower()
    return _SUBSTITUTES.get(character, character)


def plain(text: str) -> str:
    """The text without accents and substitutes.  Has as many characters.

    Args:
        text: case-folded, in NFKC.
    """
    return text.translate(_TABLE) if text.isascii() else "".join(map(plain_character, text))


def skeleton(text: str) -> str:
    """The plain text without marks, signs and blanks.

    Args:
        text: case-folded, in NFKC.
    """
    return "".join(letter for letter in plain(text) if letter.isalnum())


def look(text: str) -> str:
    """The skeleton at a glance: `rn` is like `m`, `vv` like `w`."""
    return skeleton(text).replace("rn", "m").replace("vv", "w")
