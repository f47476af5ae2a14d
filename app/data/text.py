"""Unicode text: the only file that normalises it."""

import unicodedata
from typing import Literal

EXPANSION = 4  # characters: the most that one has in a canonical decomposition (Unicode Standard Annex 15)

Form = Literal["NFC", "NFKC"]


class TextTooLongError(ValueError):
    """The text has more characters than allowed, in every form."""


def normalized(text: str, form: Form, most: int) -> str:
    """The text in a normal form.

    The length is checked first, because normalising costs the square of it.
    No text of at most `most` characters is refused: composing makes one
    character of at most four.

    Args:
        text: of any length.
        form: NFC or NFKC.
        most: characters that the normalised text may have.

    Raises:
        TextTooLongError: the text has more than four times as many characters.
    """
    if len(text) > EXPANSION * most:
        raise TextTooLongError
    return unicodedata.normalize(form, text)


def folded(text: str, form: Form, most: int) -> str:
    """The text in a normal form without case, to compare.

    This is Unicode section 3.13, D145.  It is in Python, because SQLite's lower() knows only ASCII.

    Raises:
        TextTooLongError: as `normalized` does.
    """
    return unicodedata.normalize(form, normalized(text, form, most).casefold())
