"""The exact form of our tokens: their text and their claims."""

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
_HEADER = {"alg", "kid", "typ"}
# The longest life that config.py allows for each type.  Not the configured one, or a lower setting would end the tokens
# that were issued before, and those that other machines still issue.
MAX_LIFE = {"access": 86_400, "refresh": 366 * 86_400}  # seconds
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def read_token(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parse the header and the claims of an unverified token.

    Stricter than PyJWT, which also accepts UTF-16, duplicate members and several encodings
    of one segment (RFC 8725 sections 2.4 and 3.7).

    Raises:
        InvalidTokenError: if the text is malformed.
    """
    if len(token) > MAX_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
        raise InvalidTokenError("malformed")
    try:
        segments = [_decode_segment(text) for text in token.split(".")]
        header, claims = strict_json(segments[0]), strict_json(segments[1])
    except ValueError:
        header = claims = None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise InvalidTokenError("not strict JSON objects in base64url")
    return header, claims


def _decode_segment(text: str) -> bytes:
    content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != text:  # the unused bits of the last character
        raise ValueError("not canonical base64url")
    return content


def check_header(header: Mapping[str, Any]) -> None:
    """Refuse a header that this project never issues.

    `typ` keeps other kinds of JWT out (RFC 8725 section 3.11).

    Raises:
        InvalidTokenError: if a member is unknown or missing, or `typ` is not `JWT`.
    """
    if header.keys() != _HEADER or header["typ"] != "JWT":
        raise InvalidTokenError("not a header of ours")


def check_claims(claims: Mapping[str, Any]) -> None:
    """Refuse claims that this project never issues.

    A valid signature is not enough, because another release or another service may share the key
    (RFC 8725 sections 3.8 to 3.12).

    Raises:
        InvalidTokenError: if a claim is missing or malformed, or the token lives too long.
    """
    is_valid = (
        all(_is_time(claims.get(name)) for name in ("iat", "nbf", "exp"))
        and all(_matches(_UUID, claims.get(name)) for name in ("jti", "sid"))
        and _matches(_SUBJECT, claims.get("sub"))
        and int(claims["sub"]) <= MAX_ID
        and all(isinstance(claims.get(name), str) for name in ("iss", "aud"))
        and claims.get("type") in ("access", "refresh")
        and all(isinstance(claims.get(name), bool) for name in ("fresh", "is_admin"))
        and isinstance(claims.get("csrf", ""), str)
    )
    if not is_valid:
        raise InvalidTokenError("a claim is missing or malformed")
    if claims["exp"] - claims["iat"] > MAX_LIFE[claims["type"]] + 1:  # both are rounded to seconds
        raise InvalidTokenError("lives longer than any token of ours")


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_TIME  # not a boolean


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
