"""What a token of ours says: every claim that we set, of the type and in the spelling in which we set it."""

import re
from collections.abc import Mapping
from typing import Any

from jwt import InvalidTokenError

from app.database import MAX_ID

MAX_TIME = 253_402_300_799  # the last second of the year 9999, in seconds since 1970
_SUBJECT = re.compile(r"[1-9][0-9]{0,18}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
