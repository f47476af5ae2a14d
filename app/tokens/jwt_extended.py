"""Flask-JWT-Extended, set up to give our answers.

No view of this project uses the library's own functions and decorators; a view of yours may
(`@jwt_required()`, `get_jwt()`, `create_access_token(user)`).  It gets the same keys, checks and errors.
"""

from collections.abc import Mapping
from typing import Any

from flask import Flask, Response
from jwt import PyJWK, PyJWTError

from app.extensions import jwt
from app.tokens import keys, locations
from app.tokens.caller import find_caller
from app.tokens.issuing import Identity
from app.tokens.key_set import KINDS
from app.tokens.verification import key_for, read_claims
from app.web.errors import ApiError, Code, error_response


def init_app(app: Flask) -> None:
    """Tell the library what we sign with and what we take."""
    keys.init_app(app)
    locations.init_app(app)
    app.config.update(
        JWT_DECODE_ALGORITHMS=list(KINDS),  # of these a token may have the one of its key
        JWT_TOKEN_LOCATION=["headers"],  # for the library; `authenticate` finds it anywhere, and judges its CSRF value
        JWT_COOKIE_CSRF_PROTECT=False,
        JWT_ENCODE_ISSUER=app.config["JWT_ISSUER"],
        JWT_DECODE_ISSUER=app.config["JWT_ISSUER"],
        JWT_ENCODE_AUDIENCE=app.config["JWT_AUDIENCE"],
        JWT_DECODE_AUDIENCE=sorted({app.config[name] for name in ("JWT_AUDIENCE", "JWT_ISSUER", "FORMER_AUDIENCE")}),
        JWT_DECODE_LEEWAY=app.config["JWT_LEEWAY"],
    )
    jwt.init_app(app)
    app.register_error_handler(PyJWTError, lambda _error: error_response(ApiError(Code.invalid_token)))


@jwt.user_identity_loader
def _subject(user: Identity) -> str:
    return str(user.id)  # RFC 7519 section 4.1.2: a string


@jwt.additional_claims_loader
def _claims(user: Identity) -> dict[str, Any]:
    return {"is_admin": user.is_admin}


@jwt.additional_headers_loader
def _headers(_user: Identity) -> dict[str, Any]:
    key = keys.signing_key()
    return {"kid": key.kid, "alg": key.algorithm}


@jwt.encode_key_loader
def _signing_key(_user: str) -> PyJWK:
    return keys.signing_key().signing


@jwt.decode_key_loader
def _key(header: Mapping[str, Any], claims: Mapping[str, Any]) -> PyJWK:
    return key_for(header, claims)


@jwt.token_in_blocklist_loader
def _is_dead(_header: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    return not find_caller(read_claims(claims))


# `authenticate` comes before these; they speak for a view that uses the library's own decorator.
@jwt.unauthorized_loader
def _no_token(_reason: str) -> Response:
    return error_response(ApiError(Code.authorization_required))


@jwt.needs_fresh_token_loader
def _stale_token(_header: Mapping[str, Any], _claims: Mapping[str, Any]) -> Response:
    return error_response(ApiError(Code.fresh_token_required))


@jwt.invalid_token_loader
def _bad_token(_reason: str) -> Response:
    return error_response(ApiError(Code.invalid_token))


@jwt.expired_token_loader
def _expired_token(_header: Mapping[str, Any], _claims: Mapping[str, Any]) -> Response:
    return error_response(ApiError(Code.token_expired))


@jwt.revoked_token_loader
def _revoked_token(_header: Mapping[str, Any], _claims: Mapping[str, Any]) -> Response:
    return error_response(ApiError(Code.token_revoked))
