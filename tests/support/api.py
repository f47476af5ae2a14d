"""Accounts, tokens, errors, and applications with other settings."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from app import create_app
from app.data.base import Base, db
from app.users.models import User
from app.web.logs import _formatter
from config import TestingConfig
from support import things

API = "/api/v1"
PASSWORD = "correct horse battery"
# The settings of an application that many tests share, all from one network.
UNLIMITED = {
    "LOGIN_ATTEMPTS": 10_000,
    "LOGIN_ATTEMPTS_PER_NETWORK": 0,
    "LOGIN_ATTEMPTS_PER_ACCOUNT": 0,
    "REGISTRATIONS_PER_NETWORK": 0,
}


def app_with_things(config: TestingConfig) -> Flask:
    """The application, with the tests' own resource."""
    app = create_app(config)
    things.add_routes()
    return app


def create_tables() -> None:
    """Run the migrations, and add the table of the tests' own resource."""
    upgrade()
    things.Thing.metadata.create_all(db.engine)


@contextmanager
def migrated_app(url: str) -> Iterator[Flask]:
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
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = bearer(self.access_token)


def variant(app: Flask, **settings: object) -> Flask:
    """An application of the same database and secret, with other settings."""
    config = TestingConfig()
    config.DATABASE_URL = app.config["DATABASE_URL"]
    config.JWT_SECRET_KEY = app.config["JWT_SECRET_KEY"]
    for name, value in settings.items():
        setattr(config, name, value)
    return app_with_things(config)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def sign_up(client: FlaskClient, username: str, password: str = PASSWORD) -> Account:
    response = client.post(f"{API}/auth/register", json={"username": username, "password": password})
    assert response.status_code == 201, response.json
    return account(response.get_json(), password)


def log_in(client: FlaskClient, username: str, password: str = PASSWORD) -> Account:
    response = client.post(f"{API}/auth/login", json={"username": username, "password": password})
    assert response.status_code == 200, response.json
    return account(response.get_json(), password)


def account(tokens: dict[str, Any], password: str) -> Account:
    user = tokens["user"]
    return Account(user["id"], user["username"], password, tokens["access_token"], tokens["refresh_token"])


def me(client: FlaskClient, token: str) -> TestResponse:
    return client.get(f"{API}/users/me", headers=bearer(token))


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def error(response: TestResponse) -> tuple[int, str]:
    """Check the shape of an error, and return its status and code."""
    body = response.get_json()
    assert body.keys() - {"errors"} == {"error", "message", "status", "request_id"}
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert ("errors" in body) is (response.status_code == 422)
    return response.status_code, body["error"]


def taken_lines(caplog: pytest.LogCaptureFixture, logger: str) -> list[dict[str, Any]]:
    """Return the JSON lines that the logger wrote since the last call."""
    formatter = _formatter("json")
    lines = [json.loads(formatter.format(record)) for record in caplog.records if record.name == logger]
    caplog.clear()
    return lines


def count(app: Flask, model: type[Base]) -> int:
    with app.app_context():
        return db.session.execute(select(func.count()).select_from(model)).scalar_one()


def refresh(client: FlaskClient, token: str) -> TestResponse:
    return client.post(f"{API}/auth/refresh", headers=bearer(token))


def make_admin(app: Flask, username: str) -> None:
    with app.app_context():
        db.session.execute(update(User).where(User.username == username).values(is_admin=True))
        db.session.commit()
