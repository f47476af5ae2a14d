"""The extensions, made once and bound to an application by `create_app()`.

`db` is in `app/data/base.py`.
"""

from typing import Any

from flask import current_app
from flask_jwt_extended import JWTManager
from flask_migrate import Migrate
from flask_smorest import Api


class TokenManager(JWTManager):
    """The library's manager, whose refresh tokens are for the issuer alone."""

    def _encode_jwt_from_config(
        self, identity: Any, token_type: str, claims: Any = None, *args: Any, **options: Any
    ) -> str:
        if token_type == "refresh":  # noqa: S105 -- the type of a token
            claims = {"aud": current_app.config["JWT_ISSUER"], **(claims or {})}
        return super()._encode_jwt_from_config(identity, token_type, claims, *args, **options)


migrate = Migrate()
jwt = TokenManager()
api = Api()
api.DEFAULT_ERROR_RESPONSE_NAME = None  # every error of an operation is named (`web/openapi.py`)
