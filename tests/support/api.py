"""The API as tests use it: accounts, tokens, errors, and applications with other settings."""

import json
from contextlib import contextmanager
from dataclasses import dataclass, field

import jwt
from flask_migrate import upgrade
from sqlalchemy import func, select, update

from app import create_app
from app.data.base import db
from app.users.models import User
from app.web.logs import _formatter
from config import TestingConfig
from support import things

API = "/api/v1"
PASSWORD = "correct horse battery"


def app_with_things(config):
    """The application, with the tests' own resource."""
    app = create_app(config)
    things.add_routes()
    return app


def create_tables():
    """Run the migrations, and add the table of the tests' own resource."""
    upgrade()
    things.Thing.metadata.create_all(db.engine)


@contextmanager
def migrated_app(url):
    config = TestingConfig()
    config.DATABASE_URL = url
    app = app_with_things(config)
    with app.app_context():
        create_tables()
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@dataclass
class Account:
    """A user who is logged in."""

    id: int
    username: str
    password: str
    access_token: str
    refresh_token: str
    headers: dict = field(init=False)

    def __post_init__(self):
        self.headers = bearer(self.access_token)


def variant(app, **settings):
    """An application of the same database and secret, with other settings."""
    config = TestingConfig()
    config.DATABASE_URL = app.config["DATABASE_URL"]
    config.JWT_SECRET_KEY = app.config["JWT_SECRET_KEY"]
    for name, value in settings.items():
        setattr(config, name, value)
    return app_with_things(config)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def sign_up(client, username, password=PASSWORD):
    response = client.post(f"{API}/auth/register", json={"username": username, "password": password})
    assert response.status_code == 201, response.json
    return account(response.json, password)


def log_in(client, username, password=PASSWORD):
    response = client.post(f"{API}/auth/login", json={"username": username, "password": password})
    assert response.status_code == 200, response.json
    return account(response.json, password)


def account(tokens, password):
    user = tokens["user"]
    return Account(user["id"], user["username"], password, tokens["access_token"], tokens["refresh_token"])


def me(client, token):
    return client.get(f"{API}/users/me", headers=bearer(token))


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def error(response):
    """The status and the code of an error, once its shape has been checked."""
    body = response.json
    assert body.keys() - {"errors"} == {"error", "message", "status", "request_id"}
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert ("errors" in body) is (response.status_code == 422)
    return response.status_code, body["error"]


def taken_lines(caplog, logger):
    """What that logger has written since the last time, as a machine reads it."""
    formatter = _formatter("json")
    lines = [json.loads(formatter.format(record)) for record in caplog.records if record.name == logger]
    caplog.clear()
    return lines


def count(app, model):
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(model))


def refresh(client, token):
    return client.post(f"{API}/auth/refresh", headers=bearer(token))


def make_admin(app, username):
    with app.app_context():
        db.session.execute(update(User).where(User.username == username).values(is_admin=True))
        db.session.commit()
