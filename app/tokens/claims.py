"""What a token of ours looks like and says: its text, and every claim that we set, as we set it."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from jwt import InvalidTokenError

from app.data.types import MAX_ID
from app.web.strict_json import strict_json

MAX_TIME = 253_402_300_799  # the last second of the year 9999, in seconds since 1970
MAX_TOKEN_LENGTH = 4096
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515 section 7.1
_SUBJECT = re.compile(r"[1-9][0-9]{0,18}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def read_token(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims of a token, of unknown worth, in the one spelling that each has.

    PyJWT would also read UTF-16, the last of two members of one name, and
    several spellings of one segment (RFC 8725 sections 2.4 and 3.7).

    Raises:
        InvalidTokenError: where it is something else.
    """
    if len(token) > MAX_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
        raise InvalidTokenError("not of our form")
    try:
        segments = [_segment(text) for text in token.split(".")]
        header, claims = strict_json(segments[0]), strict_json(segments[1])
    except ValueError:
        header = claims = None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise InvalidTokenError("not in the one spelling")
    return header, claims


def _segment(text: str) -> bytes:
    content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != text:  # unused bits of the last character
        raise ValueError("another spelling")
    return content


def check_claims(claims: Mapping[str, Any]) -> None:
    """Refuse a token that we would not have made (RFC 8725 sections 3.8 to 3.12).

    Signed with our key it may be all the same: by a release with a mistake, or a sibling that shares the key.

    Raises:
        InvalidTokenError: where a claim is missing or strange.
    """
    sound = (
        all(_is_time(claims.get(name)) for name in ("iat", "nbf", "exp"))
        and all(_matches(_UUID, claims.get(name)) for name in ("jti", "sid"))
        and _matches(_SUBJECT, claims.get("sub"))
        and int(claims["sub"]) <= MAX_ID
        and all(isinstance(claims.get(name), str) for name in ("iss", "aud"))
        and claims.get("type") in ("access", "refresh")
        and all(isinstance(claims.get(name), bool) for name in ("fresh", "is_admin"))
        and isinstance(claims.get("csrf", ""), str)
    )
    if not sound:
        raise InvalidTokenError("a claim is missing or strange")


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_TIME  # a boolean is no time


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
