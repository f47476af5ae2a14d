"""Latchkey, a Flask back end that gets tokens right.

This file is its table of contents.
"""

from pathlib import Path

from flask import Flask

from app import observability
from app.auth.cli import tokens_cli
from app.auth.routes import blp as auth_blp
from app.data.base import db
from app.data.connections import database_url, engine_options
from app.data.files import make_private
from app.extensions import api, migrate
from app.items.cli import seed
from app.items.routes import blp as items_blp
from app.sessions.routes import blp as sessions_blp
from app.system import docs
from app.system.cli import errors_cli, openapi_cli
from app.system.doctor import doctor
from app.system.routes import blp as system_blp
from app.tokens import jwt_extended, keys, locations
from app.tokens.cli import keys_cli
from app.users import passwords
from app.users.cli import users_cli
from app.users.routes import blp as users_blp
from app.web import cursors, errors, logs, openapi, proxies, request
from app.web.fields import ErrorSchema

__version__ = "0.1.0"
# The name of the product: in the API document, on `/` and `/docs`, and the realm of every 401.
API_TITLE = "Latchkey"

BLUEPRINTS = (  # the order of the API document
    auth_blp,
    sessions_blp,
    users_blp,
    items_blp,
    system_blp,
)
COMMANDS = (
    users_cli,
    tokens_cli,
    keys_cli,
    openapi_cli,
    errors_cli,
    doctor,
    seed,
)


def create_app(config: object) -> Flask:
    """The application of these settings (see `config.py`)."""
    app = Flask(__name__, static_folder=None)
    app.config.from_object(config)
    url = database_url(app.config["DATABASE_URL"])
    make_private(Path(app.instance_path), url)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(url, app.config["THREADS"], pooler=app.config["DATABASE_POOLER"]),
        API_TITLE=API_TITLE,
        API_VERSION=__version__,
        **openapi.SETTINGS,
    )

    # For every request, in this order.
    logs.init_app(app, keys.derivation_secrets)
    request.init_app(app)
    proxies.init_app(app)
    docs.init_app(app)

    # Extensions.
    db.init_app(app)
    migrate.init_app(app, db, directory=str(Path(app.root_path).parent / "migrations"))
    passwords.init_app(app)
    jwt_extended.init_app(app)
    api.ERROR_SCHEMA = ErrorSchema
    api.init_app(app)
    openapi.prepare(app, locations.security_schemes(app))
    cursors.init_app(app, keys.derivation_secrets)

    # Features.
    for blueprint in BLUEPRINTS:
        api.register_blueprint(blueprint)
    for command in COMMANDS:
        app.cli.add_command(command)

    # Last, so that our error handlers win; then observability, which wraps everything.
    errors.init_app(app)
    observability.init_app(app)
    return app
