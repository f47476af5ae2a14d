from typing import Any

from marshmallow import Schema, fields

from app.items.models import DESCRIPTION_LENGTH, NAME_LENGTH
from app.schemas import Amount, Text, Timestamp


class NewItemSchema(Schema):
    name = Text(required=True, minimum=1, maximum=NAME_LENGTH, trimmed=True)
    price = Amount(required=True)
    description = Text(maximum=DESCRIPTION_LENGTH, lines=True, allow_none=True, load_default=None)


class ItemChangesSchema(Schema):
    name = Text(minimum=1, maximum=NAME_LENGTH, trimmed=True)
    price = Amount()
    description = Text(maximum=DESCRIPTION_LENGTH, lines=True, allow_none=True)


class ItemSchema(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True, allow_none=True)
    price = Amount(required=True)
    owner_id = fields.Integer(required=True, allow_none=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class ListedItemSchema(ItemSchema):
    """An item of a listing: without a token only its name is there."""

    def __init__(self, **kwargs: Any) -> None:
        everything_else = tuple(name for name in ItemSchema._declared_fields if name != "name")  # noqa: SLF001
        super().__init__(**{"partial": everything_else, **kwargs})


class ItemPageSchema(Schema):
    items = fields.List(fields.Nested(ListedItemSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
    message = fields.String(metadata={"description": "Without a token: that there is more to see."})
