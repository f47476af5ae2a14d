from typing import Any

from flask import url_for
from sqlalchemy import delete, select

from app.auth.guards import admin_required, fresh_login_required, login_optional, login_required
from app.auth.tokens import caller, is_anonymous
from app.blueprint import Blueprint
from app.database import unique_or
from app.errors import ApiError, Code
from app.extensions import db, execute_write
from app.items.models import Item
from app.items.schemas import ItemChangesSchema, ItemPageSchema, ItemSchema, NewItemSchema
from app.pagination import read_page
from app.schemas import MessageSchema, PageArgs

blp = Blueprint("items", __name__, url_prefix="/api/v1/items", description="Things with a price.")

_NAMES = select(Item.name)
_ITEMS = select(Item.id, Item.name, Item.description, Item.price, Item.owner_id, Item.created_at, Item.updated_at)


def get_item_or_404(item_id: int) -> Item:
    item = db.session.get(Item, item_id)
    if item is None:
        raise ApiError(Code.not_found)
    return item


@blp.get("")
@login_optional
@blp.arguments(PageArgs, location="query")
@blp.response(200, ItemPageSchema)
def list_items(args: dict[str, Any]) -> Any:
    """List the items.  Without a token: their names."""
    page = read_page(_NAMES if is_anonymous() else _ITEMS, Item.id, **args)
    answer: dict[str, Any] = {"items": page.rows, "next_cursor": page.next_cursor}
    if is_anonymous():
        answer["message"] = "More data available if you log in."
    return answer, page.headers


@blp.post("")
@fresh_login_required
@blp.arguments(NewItemSchema)
@blp.response(201, ItemSchema)
@blp.alt_response(409, response="CONFLICT")
def create_item(new: dict[str, Any]) -> Any:
    """Create an item of your own."""
    item = Item(**new, owner_id=caller.id)
    db.session.add(item)
    with unique_or(ApiError(Code.item_exists)):
        db.session.commit()
    return item, {"Location": url_for("items.get_item", item_id=item.id)}


@blp.get("/<int:item_id>")
@login_required
@blp.response(200, ItemSchema)
@blp.alt_response(404, response="NOT_FOUND")
def get_item(item_id: int) -> Item:
    """Show an item."""
    return get_item_or_404(item_id)


@blp.patch("/<int:item_id>")
@login_required
@blp.arguments(ItemChangesSchema)
@blp.response(200, ItemSchema)
@blp.alt_response(403, response="FORBIDDEN")
@blp.alt_response(404, response="NOT_FOUND")
@blp.alt_response(409, response="CONFLICT")
def update_item(changes: dict[str, Any], item_id: int) -> Item:
    """Change an item.  Its owner or an administrator."""
    item = get_item_or_404(item_id)
    if item.owner_id != caller.id and not caller.may_administer:
        raise ApiError(Code.forbidden)
    for name, value in changes.items():
        setattr(item, name, value)
    with unique_or(ApiError(Code.item_exists)):
        db.session.commit()
    return item


@blp.delete("/<int:item_id>")
@admin_required
@blp.response(200, MessageSchema)
@blp.alt_response(404, response="NOT_FOUND")
def delete_item(item_id: int) -> dict[str, str]:
    """Delete an item.  Administrators only."""
    if not execute_write(delete(Item).where(Item.id == item_id)):
        raise ApiError(Code.not_found)
    db.session.commit()
    return {"message": "Item deleted."}
