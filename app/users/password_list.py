"""The operator's list of passwords to refuse, in little memory."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from app.data.text import TextTooLongError, folded
from app.users.passwords import MIN_PASSWORD_LENGTH, PASSWORD_LENGTH

CHUNK = 200_000  # words that are sorted at once: they need 20 MB for that time
LONGEST_LINE = 1024  # bytes; a longer one is no password


class PasswordList:
    """The words of a file as sorted hashes of 8 bytes.

    A word that is not in the file is found by mistake with a probability of one in 10^12 for ten million words.

    Args:
        path: of a file in UTF-8, one word a line.  A line that is not UTF-8 matches nothing.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        words = _words(path)
        self._chunks: list[array[int]] = []
        while chunk := sorted({hash(word) for word in islice(words, CHUNK)}):
            self._chunks.append(array("q", chunk))

    def __contains__(self, word: str) -> bool:
        wanted = hash(word)
        return any(
            (place := bisect_left(chunk, wanted)) < len(chunk) and chunk[place] == wanted for chunk in self._chunks
        )

    def __len__(self) -> int:
        return sum(map(len, self._chunks))


def _words(path: Path) -> Iterator[str]:
    """The words that can be passwords, case-folded."""
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE):
            try:
                word = folded(line.decode().rstrip("\r\n"), "NFKC", PASSWORD_LENGTH)
            except (UnicodeDecodeError, TextTooLongError):
                continue
            if len(word) >= MIN_PASSWORD_LENGTH:
                yield word
