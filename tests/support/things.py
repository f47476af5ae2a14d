"""A resource of the tests' own, for the mechanisms that every resource uses.

Tests of errors, pages, ETags, idempotency and races use it, so that `items` can be deleted.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from flask import Response, jsonify, url_for
from marshmallow import Schema, fields
from sqlalchemy import ForeignKey, MetaData, String, UniqueConstraint, bindparam, delete, select, text
from sqlalchemy.orm import Mapped, mapped_column, validates

from app.data.base import Base, db
from app.data.errors import unique_or
from app.data.statements import ESCAPE, insert, like_pattern, write
from app.data.text import folded
from app.data.types import BigId, Money, UTCDateTime, exact_text, utcnow
from app.extensions import api
from app.idempotency.guards import idempotent
from app.tokens.caller import caller
from app.tokens.guards import admin_required, fresh_login_required, login_optional, login_required
from app.users.models import User
from app.web.blueprint import Blueprint
from app.web.errors import ApiError, Code
from app.web.etags import conditional, require_match
from app.web.fields import Amount, MessageSchema, NextCursor, Owner, PageArgs, RowSchema, Sort, Text, Timestamp
from app.web.openapi import CREATED_HEADERS
from app.web.pages import PAGE_HEADERS, Listing

PATH = "/api/v1/things"
NAME_LENGTH = 80
TAKEN = Code.username_taken  # any 409 will do


class Thing(Base):
    __tablename__ = "things"
    __table_args__ = (UniqueConstraint("name"), Base.__table_args__)
    metadata = MetaData(naming_convention=Base.metadata.naming_convention)  # no migration makes this table

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(exact_text(NAME_LENGTH))
    name_key: Mapped[str] = mapped_column(String(3 * NAME_LENGTH), server_default=text("''"))
    description: Mapped[str | None] = mapped_column(String(500))
    price: Mapped[Decimal] = mapped_column(Money)
    owner_id: Mapped[int | None] = mapped_column(BigId, ForeignKey(User.id, ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow, onupdate=utcnow)

    @validates("name")
    def _keep_key(self, _name: str, name: str) -> str:
        self.name_key = name_key(name)
        return name


def name_key(name: str) -> str:
    return folded(name, "NFC", NAME_LENGTH)


ORDERS: dict[str, tuple[Any, ...]] = {
    "id": (Thing.id,),
    "name": (Thing.name,),
    "price": (Thing.price, Thing.id),
    "created_at": (Thing.created_at, Thing.id),
}


class ThingPageArgs(PageArgs):
    q = Text(maximum=NAME_LENGTH)
    owner = Owner()
    sort = Sort(ORDERS)


class ThingChangesSchema(Schema):
    name = Text(minimum=1, maximum=NAME_LENGTH, trimmed=True)
    price = Amount()
    description = Text(maximum=500, lines=True, allow_none=True)


class NewThingSchema(ThingChangesSchema):
    name = Text(required=True, minimum=1, maximum=NAME_LENGTH, trimmed=True)
    price = Amount(required=True)


class ThingSchema(RowSchema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True, allow_none=True)
    price = Amount(required=True)
    owner_id = fields.Integer(required=True, allow_none=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class ThingPageSchema(Schema):
    things = fields.Nested(ThingSchema, many=True, required=True)
    next_cursor = NextCursor()


blp = Blueprint("things", __name__, url_prefix=PATH, description="The tests' own resource.")
_THING = ThingSchema()
LISTING = Listing(
    select(*_THING.columns(Thing)),
    orders=ORDERS,
    filters={
        "q": Thing.name_key.like(bindparam("q"), escape=ESCAPE),
        "owner": Thing.owner_id == bindparam("owner"),
    },
)


def add_routes() -> None:
    """Add the routes to the application that `create_app` made last."""
    api.register_blueprint(blp)


def get_thing_or_404(thing_id: int) -> Thing:
    thing = db.session.get(Thing, thing_id)
    if thing is None:
        raise ApiError(Code.not_found)
    return thing


@blp.get("")
@login_optional
@blp.arguments(ThingPageArgs, location="query")
@blp.response(200, ThingPageSchema, headers=PAGE_HEADERS)
def list_things(args: dict[str, Any]) -> tuple[Response, dict[str, str]]:
    """List the things."""
    if q := args.pop("q", ""):
        args["q"] = like_pattern(name_key(q))
    if args.get("owner") == "me":
        args["owner"] = caller.id
    page = LISTING.read(args)
    return jsonify(things=_THING.dump(page.rows, many=True), next_cursor=page.next_cursor), page.headers


@blp.post("")
@fresh_login_required
@blp.arguments(NewThingSchema)
@idempotent
@conditional
@blp.response(201, ThingSchema, headers=CREATED_HEADERS)
@blp.fails(Code.not_found, TAKEN)
def create_thing(new: dict[str, Any]) -> tuple[Thing, dict[str, str]]:
    """Create a thing."""
    with unique_or(ApiError(TAKEN)):
        thing = insert(Thing, **new, owner_id=caller.id)
    return thing, {"Location": url_for("things.get_thing", thing_id=thing.id)}


@blp.get("/<int:thing_id>")
@login_required
@conditional
@blp.response(200, ThingSchema)
@blp.fails(Code.not_found)
def get_thing(thing_id: int) -> Thing:
    """Show a thing."""
    return get_thing_or_404(thing_id)


@blp.patch("/<int:thing_id>")
@login_required
@blp.arguments(ThingChangesSchema)
@conditional
@blp.response(200, ThingSchema)
@blp.fails(Code.not_found, Code.forbidden, TAKEN)
def update_thing(changes: dict[str, Any], thing_id: int) -> Thing:
    """Change a thing.  Owner or administrators only."""
    thing = get_thing_or_404(thing_id)
    if thing.owner_id != caller.id and not caller.may_administer:
        raise ApiError(Code.forbidden)
    require_match(_THING, thing)
    for name, value in changes.items():
        setattr(thing, name, value)
    with unique_or(ApiError(TAKEN)):
        db.session.commit()
    return thing


@blp.delete("/<int:thing_id>")
@admin_required
@conditional
@blp.response(200, MessageSchema)
@blp.fails(Code.not_found)
def delete_thing(thing_id: int) -> dict[str, str]:
    """Delete a thing.  Administrators only."""
    require_match(_THING, get_thing_or_404(thing_id))
    write(delete(Thing).where(Thing.id == thing_id))
    db.session.commit()
    return {"message": "Thing deleted."}


def make_thing(client: Any, user: Any) -> Any:
    return client.post(PATH, headers=user.headers, json={"name": "Thing", "price": "1"}).json["id"]


PATHS = {"<int:thing_id>": make_thing}

#   body, then: nobody user other admin refresh revoked stale
POLICY = {
    ("GET", PATH): (None, "200", "200", "200", "200", "bad", "dead", "200"),
    ("POST", PATH): ({"name": "New", "price": "1"}, "who", "201", "201", "201", "bad", "dead", "old"),
    ("GET", f"{PATH}/<int:thing_id>"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("PATCH", f"{PATH}/<int:thing_id>"): ({"price": "2"}, "who", "200", "own", "200", "bad", "dead", "200"),
    ("DELETE", f"{PATH}/<int:thing_id>"): (None, "who", "adm", "adm", "200", "bad", "dead", "adm"),
}

STATEMENTS = {
    ("GET", PATH): 2,
    ("POST", PATH): 2,
    ("GET", f"{PATH}/<int:thing_id>"): 2,
    ("PATCH", f"{PATH}/<int:thing_id>"): 5,
    ("DELETE", f"{PATH}/<int:thing_id>"): 5,
}
