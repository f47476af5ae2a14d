from typing import Any

from flask import Response, jsonify, url_for
from sqlalchemy import bindparam, delete, select

from app.data.base import db
from app.data.errors import unique_or
from app.data.search import Range, Search
from app.data.statements import insert, write
from app.idempotency.guards import idempotent
from app.items.models import ORDERS, Item, name_key
from app.items.schemas import (
    ItemChangesSchema,
    ItemNamePageSchema,
    ItemPageArgs,
    ItemPageSchema,
    ItemSchema,
    NewItemSchema,
)
from app.tokens.caller import caller, is_anonymous
from app.tokens.guards import admin_required, fresh_login_required, login_optional, login_required, login_required_for
from app.web.blueprint import Blueprint
from app.web.errors import ApiError, Code
from app.web.etags import conditional, require_match
from app.web.fields import MessageSchema
from app.web.openapi import CREATED_HEADERS
from app.web.pages import PAGE_HEADERS, STRANGERS_PATIENCE, Listing
from app.web.request import query

blp = Blueprint("items", __name__, url_prefix="/api/v1/items", description="The sample resource: things with a price.")

_ITEM = ItemSchema()
_PAGE = ItemPageSchema()
_NAME_PAGE = ItemNamePageSchema()
_items = Item.__table__.c  # columns make rows, not objects
_SEARCH = Search("q", _items.name_key)
LISTING = Listing(
    select(
        _items.id, _items.name, _items.description, _items.price, _items.owner_id, _items.created_at, _items.updated_at
    ),
    orders=ORDERS,
    filters={"owner": _items.owner_id == bindparam("owner")},
    finders=[_SEARCH, Range(_items.price, at_least="min_price", at_most="max_price")],
)
NAMES = Listing(select(_items.id, _items.name), orders=ORDERS, finders=[_SEARCH], patience=STRANGERS_PATIENCE)


def get_item_or_404(item_id: int) -> Item:
    item = db.session.get(Item, item_id)
    if item is None:
        raise ApiError(Code.not_found)
    return item


def _asks_for_more_than_names() -> bool:
    """Whether the query could reveal prices or owners."""
    asked = query()
    orders = {order.removeprefix("-") for order in asked.getlist("sort")}
    return bool({"owner", "min_price", "max_price"} & asked.keys() or {"price", "created_at"} & orders)


@blp.get("")
@login_optional
@login_required_for(_asks_for_more_than_names)
@blp.arguments(ItemPageArgs, location="query")
@blp.response(200, {"oneOf": [ItemPageSchema, ItemNamePageSchema]}, headers=PAGE_HEADERS)
def list_items(args: dict[str, Any]) -> tuple[Response, dict[str, str]]:
    """List the items.

    Without a token: only names, sorted by `id` or `name`, filtered by `q`.

    A page may have fewer rows than `limit`, or none, while `next_cursor` is not null: the filters match few of the
    rows that were examined.  Go on with `next_cursor`.
    """
    if q := args.pop("q", ""):
        args["q"] = name_key(q)
    if args.get("owner") == "me":
        args["owner"] = caller.id
    anonymous = is_anonymous()
    page = (NAMES if anonymous else LISTING).read(args)
    answer: dict[str, Any] = {"items": page.rows, "next_cursor": page.next_cursor}
    if anonymous:
        body = _NAME_PAGE.dump(answer | {"message": "More data available if you log in."})
    else:
        body = _PAGE.dump(answer)
    return jsonify(body), page.headers


@blp.post("")
@fresh_login_required
@blp.arguments(NewItemSchema)
@idempotent
@conditional
@blp.response(201, ItemSchema, headers=CREATED_HEADERS)
@blp.fails(Code.not_found, Code.item_exists)
def create_item(new: dict[str, Any]) -> tuple[Item, dict[str, str]]:
    """Create an item.  You become its owner."""
    with unique_or(ApiError(Code.item_exists)):
        item = insert(Item, **new, owner_id=caller.id)
    return item, {"Location": url_for("items.get_item", item_id=item.id)}


@blp.get("/<int:item_id>")
@login_required
@conditional
@blp.response(200, ItemSchema)
@blp.fails(Code.not_found)
def get_item(item_id: int) -> Item:
    """Show an item."""
    return get_item_or_404(item_id)


@blp.patch("/<int:item_id>")
@login_required
@blp.arguments(ItemChangesSchema)
@conditional
@blp.response(200, ItemSchema)
@blp.fails(Code.not_found, Code.forbidden, Code.item_exists)
def update_item(changes: dict[str, Any], item_id: int) -> Item:
    """Change an item.  Owner or administrators only."""
    item = get_item_or_404(item_id)
    if item.owner_id != caller.id and not caller.may_administer:
        raise ApiError(Code.forbidden)
    require_match(_ITEM, item)
    for name, value in changes.items():
        setattr(item, name, value)
    with unique_or(ApiError(Code.item_exists)):
        db.session.commit()
    return item


@blp.delete("/<int:item_id>")
@admin_required
@conditional
@blp.response(200, MessageSchema)
@blp.fails(Code.not_found)
def delete_item(item_id: int) -> dict[str, str]:
    """Delete an item.  Administrators only."""
    require_match(_ITEM, get_item_or_404(item_id))
    write(delete(Item).where(Item.id == item_id))
    db.session.commit()
    return {"message": "Item deleted."}
