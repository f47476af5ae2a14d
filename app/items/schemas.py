from marshmallow import Schema, fields

from app.items.models import DESCRIPTION_LENGTH, NAME_LENGTH, ORDERS
from app.web.fields import Amount, NextCursor, Owner, PageArgs, RowSchema, Sort, Text, Timestamp

_NAME = {"examples": ["Brass padlock"]}
_DESCRIPTION = {"examples": ["Opens with two keys."]}


class ItemPageArgs(PageArgs):
    q = Text(maximum=NAME_LENGTH, metadata={"description": "Part of the name, ignoring case."})
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
        required=True, allow_none=True, metadata={"description": "Null if the owner was deleted.", "examples": [1]}
    )
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class ItemPageSchema(Schema):
    items = fields.Nested(ItemSchema, many=True, required=True)
    next_cursor = NextCursor()


class ItemNameSchema(RowSchema):
    """An item as shown without a token."""

    name = fields.String(required=True, metadata=_NAME)


class ItemNamePageSchema(Schema):
    """A page as shown without a token.  Only this one has `message`."""

    items = fields.Nested(ItemNameSchema, many=True, required=True)
    next_cursor = NextCursor()
    message = fields.String(
        required=True,
        metadata={"description": "A hint that a login shows more.", "examples": ["More data available if you log in."]},
    )
