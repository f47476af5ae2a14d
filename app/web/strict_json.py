"""Strict JSON (RFC 8259) for bodies and tokens.

It refuses what parsers read differently.
"""

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 32
# A string, closed or not, or a bracket.  The possessive quantifier keeps the scan linear.
_NESTING = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{\]}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # as a JSON escape; UTF-8 itself cannot hold one


class NotStrictError(ValueError):
    """The bytes are not strict JSON.

    The message says why and quotes nothing of the input.
    """


def strict_json(content: bytes) -> Any:
    """Parse UTF-8 JSON strictly.

    Refuses duplicate names, NaN, lone surrogates and more than 32 levels.

    Raises:
        NotStrictError: if the bytes break one of these rules.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrictError("It is not UTF-8.") from None
    if not text.strip(" \t\r\n"):
        raise NotStrictError("It is empty.")
    if _depth_exceeds(text, MAX_DEPTH):
        raise NotStrictError(f"It nests deeper than {MAX_DEPTH} levels.")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotStrictError("It contains a lone surrogate.") from None
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
        raise NotStrictError("An object contains a name twice.")
    return members


def _no_constant(name: str) -> NoReturn:
    raise NotStrictError(f"{name} is not JSON.")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise NotStrictError("A number is out of range.")
    return number
