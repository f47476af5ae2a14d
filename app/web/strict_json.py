"""JSON with one meaning (RFC 8259): what parsers disagree about is refused, in bodies and in tokens alike."""

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 32
# A string, closed or not, or a bracket: every character is looked at once, whatever was sent.
_NESTING = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{\]}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # as JSON writes one; UTF-8 itself has none


class NotStrictError(ValueError):
    """Not JSON, or JSON that parsers disagree about.  The text says which, and quotes nothing."""


def strict_json(content: bytes) -> Any:
    """The one meaning of the bytes.

    UTF-8, no name twice in an object, no NaN, no lone surrogate, no deeper than 32.

    Raises:
        NotStrictError: where there is none.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrictError("It is not UTF-8.") from None
    if not text.strip(" \t\r\n"):
        raise NotStrictError("It is empty.")
    if _depth_exceeds(text, MAX_DEPTH):
        raise NotStrictError(f"It nests deeper than {MAX_DEPTH}.")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotStrictError("It has half of a surrogate pair: that is no text.") from None
    except NotStrictError:
        raise
    except ValueError:  # also a number of more digits than Python converts
        raise NotStrictError("It is not JSON.") from None
    return value


def _depth_exceeds(text: str, limit: int) -> bool:
    if text.count("[") + text.count("{") <= limit:
        return False
    depth = 0
    for token in _NESTING.finditer(text):
        depth += (token[0] in "[{") - (token[0] in "]}")
        if depth > limit:
            return True
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictError("A name stands twice in one object.")
    return members


def _no_constant(name: str) -> NoReturn:
    raise NotStrictError(f"{name} is not JSON.")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise NotStrictError("A number is out of range.")
    return number
