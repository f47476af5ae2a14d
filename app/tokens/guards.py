"""Guards decide who may call a route.

Put one in line 2 of the view.  A guard enforces its rule and documents it in the API document.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import current_app, g
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import PyJWTError

from app.tokens.caller import authenticate, caller, is_anonymous
from app.web.blueprint import Blueprint
from app.web.errors import ApiError, Code
from app.web.openapi import Token
from app.web.typing import View


def _guard(check: Callable[[], None], *codes: Code, token: Token | None = None) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **view_args: Any) -> Any:
            check()
            return view(*args, **view_args)

        facts = {} if token is None else {"token": token}
        return Blueprint.declare(guarded, codes=codes, **facts)  # type: ignore[return-value]

    return decorate


def _check_login() -> None:
    authenticate()


def _check_login_if_any() -> None:
    authenticate(optional=True)


def _check_live_login_if_any() -> None:
    try:
        authenticate(optional=True)
    except ApiError as error:  # the password decides, so an invalid token counts as none
        if error.code in (Code.csrf_failed, Code.bad_request):
            raise
    except (JWTExtendedException, PyJWTError):
        g.caller = None


def _check_refresh() -> None:
    authenticate(refresh=True)


def _check_fresh() -> None:
    authenticate()
    _require_fresh()


def _check_admin() -> None:
    authenticate()
    _require_admin()


def _check_fresh_admin() -> None:
    authenticate()
    _require_admin()
    _require_fresh()


def _require_admin() -> None:
    if not caller.may_administer:
        raise ApiError(Code.admin_required)


def _require_fresh() -> None:
    if not caller.is_fresh:
        raise ApiError(Code.fresh_token_required)


_TOKEN = (Code.invalid_token, Code.token_expired, Code.token_revoked, Code.database_unavailable)
_NEEDED = (Code.authorization_required, *_TOKEN)

# An access token.
login_required = _guard(_check_login, *_NEEDED, token=Token())
# An access token or none.  An invalid one is refused.
login_optional = _guard(_check_login_if_any, *_TOKEN, token=Token(optional=True))
# An access token or none.  An invalid one counts as none.
live_login_optional = _guard(_check_live_login_if_any, Code.database_unavailable, token=Token(optional=True))
# A refresh token.
refresh_required = _guard(_check_refresh, *_NEEDED, token=Token(refresh=True))
# An access token from a password login, not from a refresh.
fresh_login_required = _guard(_check_fresh, *_NEEDED, Code.fresh_token_required, token=Token(roles=("fresh",)))
# An administrator's access token.
admin_required = _guard(_check_admin, *_NEEDED, Code.admin_required, token=Token(roles=("admin",)))
# An administrator's access token from a password login.
fresh_admin_required = _guard(
    _check_fresh_admin, *_NEEDED, Code.admin_required, Code.fresh_token_required, token=Token(roles=("admin", "fresh"))
)


def login_required_for(asked: Callable[[], bool]) -> Callable[[View], View]:
    """Require an access token if `asked()` is true.  Put it below `login_optional`."""

    def check() -> None:
        if is_anonymous() and asked():
            raise ApiError(Code.authorization_required)

    return _guard(check, Code.authorization_required)


def fresh_login_required_unless(exempt: Callable[[], bool]) -> Callable[[View], View]:
    """Require an access token from a password login.

    If `exempt()` is true, any access token will do.
    """

    def check() -> None:
        authenticate()
        if not exempt():
            _require_fresh()

    return _guard(check, *_NEEDED, Code.fresh_token_required, token=Token())


def switched_on(setting: str) -> Callable[[View], View]:
    """Refuse the request if the operator has switched the feature off."""

    def check() -> None:
        if not current_app.config[setting]:
            off = {"reason": "switched_off", "setting": setting}
            raise ApiError(Code.forbidden, f"The setting {setting} switches this off.", event=off)

    return _guard(check, Code.forbidden)
