"""The same API in the style of the tutorials.

It uses ORM objects, a query per question and the default JSON. Do not copy it, because it trusts every claim of a token
and its parallel refreshes race.
"""

import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from flask import Flask, abort, jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    current_user,
    get_jwt,
    jwt_required,
)
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema, ValidationError, fields, validate

app = Flask(__name__)
app.config.update(
    SQLALCHEMY_DATABASE_URI=os.environ["DATABASE_URL"],
    JWT_SECRET_KEY=os.environ["JWT_SECRET_KEY"],
    JWT_ACCESS_TOKEN_EXPIRES=timedelta(minutes=15),
)
db = SQLAlchemy(app)
jwt = JWTManager(app)
hasher = PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1)


class User(db.Model):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)
    username = db.Column(db.String(64), unique=True, nullable=False)
    password_hash = db.Column(db.String(255), nullable=False)
    is_admin = db.Column(db.Boolean, default=False, nullable=False)
    created_at = db.Column(db.DateTime, default=lambda: datetime.now(UTC))


class Item(db.Model):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(80), unique=True, nullable=False)
    price = db.Column(db.Numeric(10, 2), nullable=False)
    owner_id = db.Column(db.ForeignKey("user.id"))
    created_at = db.Column(db.DateTime, default=lambda: datetime.now(UTC))


class Revoked(db.Model):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)
    jti = db.Column(db.String(36), index=True, nullable=False)


class UserSchema(Schema):
    id = fields.Integer(dump_only=True)
    username = fields.String(required=True, validate=validate.Length(min=3, max=64))
    password = fields.String(required=True, load_only=True)
    is_admin = fields.Boolean(dump_only=True)
    created_at = fields.DateTime(dump_only=True)


class ItemSchema(Schema):
    id = fields.Integer(dump_only=True)
    name = fields.String(required=True, validate=validate.Length(min=1, max=80))
    price = fields.Decimal(required=True, as_string=True, places=2)
    owner_id = fields.Integer(dump_only=True)
    created_at = fields.DateTime(dump_only=True)


@jwt.user_lookup_loader
def load_user(_header: dict[str, Any], claims: dict[str, Any]) -> Any:
    return User.query.get(int(claims["sub"]))


@jwt.token_in_blocklist_loader
def is_revoked(_header: dict[str, Any], claims: dict[str, Any]) -> bool:
    return Revoked.query.filter_by(jti=claims["jti"]).first() is not None


def tokens(user: Any, *, fresh: bool) -> dict[str, str]:
    return {
        "access_token": create_access_token(str(user.id), fresh=fresh),
        "refresh_token": create_refresh_token(str(user.id)),
    }


@app.post("/api/v1/auth/register")
def register() -> Any:
    data = UserSchema().load(request.get_json())
    user = User(username=data["username"], password_hash=hasher.hash(data["password"]))
    db.session.add(user)
    db.session.commit()
    return jsonify(tokens(user, fresh=True)), 201


@app.post("/api/v1/auth/login")
def login() -> Any:
    data = UserSchema().load(request.get_json())
    user = User.query.filter_by(username=data["username"]).first()
    try:
        hasher.verify(user.password_hash if user else "", data["password"])
    except VerifyMismatchError:
        abort(401)
    return jsonify(tokens(user, fresh=True))


@app.post("/api/v1/auth/refresh")
@jwt_required(refresh=True)
def refresh() -> Any:
    db.session.add(Revoked(jti=get_jwt()["jti"]))
    db.session.commit()
    return jsonify(tokens(current_user, fresh=False))


@app.get("/api/v1/users/me")
@jwt_required()
def me() -> Any:
    return jsonify(UserSchema().dump(current_user))


@app.get("/api/v1/items")
@jwt_required()
def list_items() -> Any:
    page = Item.query.order_by(Item.id).paginate(per_page=20)
    return jsonify({"items": ItemSchema(many=True).dump(page.items), "total": page.total})


@app.post("/api/v1/items")
@jwt_required(fresh=True)
def create_item() -> Any:
    try:
        data = ItemSchema().load(request.get_json())
    except ValidationError as error:
        return jsonify(error.messages), 422
    if Item.query.filter_by(name=data["name"]).first():
        abort(409)
    item = Item(**data, owner_id=current_user.id)
    db.session.add(item)
    db.session.commit()
    return jsonify(ItemSchema().dump(item)), 201


@app.cli.command("prepare")
def prepare() -> None:
    """Create the tables and the same number of items as `latchkey` has."""
    db.create_all()
    for number in range(30):
        db.session.add(Item(name=f"Item {number} {uuid.uuid4()}", price=1))
    db.session.commit()
