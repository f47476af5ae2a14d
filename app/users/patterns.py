"""Find repetitions, keyboard walks, sequences and joined common words."""

from collections.abc import Container

# The pieces of a password cost units, roughly three bits each for a guesser: a single character one, a walk, a sequence
# or a common word two, a repetition of something earlier one, and an immediate repetition nothing.
CHARACTER, RUN, WORD, COPY = 1, 2, 2, 1
ENOUGH = 6  # units
SHORTEST_RUN = 3  # characters
SHORTEST_WORD, LONGEST_WORD = 8, 32  # characters of a common word within a password

_ROWS = (
    "12345678901234567890", "!@#$%^&*()_+", '!"§$%&/()=', "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./",
    "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn", "йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю",
    "1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    "qazwsxedcrfvtgbyhnujmikolp", "zaq1xsw2cde3vfr4bgt5nhy6mju7", "1qazxsw23edcvfr45tgbnhy67ujm",
)  # fmt: skip
_WALKS = "\n".join([*_ROWS, *(row[::-1] for row in _ROWS)])


def is_pattern(text: str, plain: str, words: Container[str]) -> bool:
    """Whether a few units make the whole text.

    Args:
        text: case-folded, of at most 128 characters.
        plain: the same without disguise, of the same length.
        words: common ones, without disguise.
    """
    return _units(text, plain, words) < ENOUGH


def _units(text: str, plain: str, words: Container[str]) -> int:
    """The units of the cheapest way to divide the text into pieces."""
    least = [0]
    walk = sequence = 0  # where those that end here begin
    for end in range(1, len(text) + 1):
        while text[walk:end] not in _WALKS:
            walk += 1
        if not _goes_on(text, sequence, end):
            sequence = end - 2
        run = min(walk, sequence) if end > 1 else 0
        costs = [least[end - 1] + CHARACTER]
        if end - run >= SHORTEST_RUN:
            costs.append(least[run] + RUN)
        costs += [least[start] + WORD for start in _word_starts(plain, end, words)]
        copied = _copied(text, end)
        if copied >= SHORTEST_RUN:
            costs.append(least[end - copied] + COPY)
        costs += [
            least[end - size]
            for size in range(1, end // 2 + 1)
            if text[end - size : end] == text[end - 2 * size : end - size]
        ]
        least.append(min(costs))
    return least[-1]


def _goes_on(text: str, start: int, end: int) -> bool:
    """Whether the last character continues `aaa`, `abc` or `cba`."""
    if end - start <= 1:
        return True
    step = ord(text[start + 1]) - ord(text[start])
    return step in (-1, 0, 1) and ord(text[end - 1]) - ord(text[end - 2]) == step


def _word_starts(plain: str, end: int, words: Container[str]) -> list[int]:
    """Where common words that end here begin."""
    first = max(0, end - LONGEST_WORD)
    return [start for start in range(first, end - SHORTEST_WORD + 1) if plain[start:end] in words]


def _copied(text: str, end: int) -> int:
    """How many characters before the end occur earlier too."""
    size = 0
    while 2 * (size + 1) <= end and text[end - size - 1 : end] in text[: end - size - 1]:
        size += 1
    return size
