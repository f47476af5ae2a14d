"""The extensions, made once and bound to an application by `create_app()`.

`db` is in `app/data/base.py`.
"""

from flask_jwt_extended import JWTManager
from flask_migrate import Migrate
from flask_smorest import Api

migrate = Migrate()
jwt = JWTManager()
api = Api()
api.DEFAULT_ERROR_RESPONSE_NAME = None  # every error of an operation is named (`web/openapi.py`)
