from marshmallow import Schema, fields

from app.items.models import DESCRIPTION_LENGTH, NAME_LENGTH, ORDERS
from app.web.fields import Amount, NextCursor, Owner, PageArgs, RowSchema, Sort, Text, Timestamp

_NAME = {"examples": ["Brass padlock"]}
_DESCRIPTION = {"examples": ["Opens with two keys."]}


class ItemPageArgs(PageArgs):
    q = Text(maximum=NAME_LENGTH, metadata={"description": "A part of the name, in any case."})
    owner = Owner()
    min_price = Amount()
    max_price = Amount()
    sort = Sort(ORDERS)


class NewItemSchema(Schema):
    name = Text(required=True, minimum=1, maximum=NAME_LENGTH, trimmed=True, metadata=_NAME)
    price = Amount(required=True)
    description = Text(maximum=DESCRIPTION_LENGTH, lines=True, allow_none=True, metadata=_DESCRIPTION)


class ItemChangesSchema(Schema):
    name = Text(minimum=1, maximum=NAME_LENGTH, trimmed=True, metadata=_NAME)
    price = Amount()
    description = Text(maximum=DESCRIPTION_LENGTH, lines=True, allow_none=True, metadata=_DESCRIPTION)


class ItemSchema(RowSchema):
    id = fields.Integer(required=True, metadata={"examples": [7]})
    name = fields.String(required=True, metadata=_NAME)
    description = fields.String(required=True, allow_none=True, metadata=_DESCRIPTION)
    price = Amount(required=True)
    owner_id = fields.Integer(
        required=True, allow_none=True, metadata={"description": "None, where the owner is gone.", "examples": [1]}
    )
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class ItemPageSchema(Schema):
    items = fields.Nested(ItemSchema, many=True, required=True)
    next_cursor = NextCursor()


class ItemNameSchema(RowSchema):
    """What a stranger sees of an item."""

    name = fields.String(required=True, metadata=_NAME)


class ItemNamePageSchema(Schema):
    """The page that a stranger gets: `message` tells it from the other one."""

    items = fields.Nested(ItemNameSchema, many=True, required=True)
    next_cursor = NextCursor()
    message = fields.String(
        required=True,
        metadata={"description": "That there is more to see.", "examples": ["More data available if you log in."]},
    )
