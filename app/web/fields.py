"""Field types and schemas that features share."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, cast

from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Length, OneOf, Range
from werkzeug.local import LocalProxy

from app.data.base import Base
from app.data.text import Form, TextTooLongError, normalized
from app.data.types import MAX_ID
from app.web.codes import Code

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# The same rules for the API document, as ECMA-262 patterns.
_LINE = r"^[^\u0000-\u001f\u007f-\u009f]*$"
_LINES = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"
_TRIMMED = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,7})(\.[0-9]{1,2})?")


def normalized_within(length: Length, text: str, form: Form) -> str:
    """The text in a normal form, where it can have that length.

    Raises:
        ValidationError: as `length` raises it, where the text is too long to be normalised.
    """
    try:
        return normalized(text, form, cast("int", length.max))
    except TextTooLongError:
        length(text)
        raise


class Text(fields.String):
    """Text in NFC without control characters.  The length is counted after normalisation."""

    def __init__(
        self,
        *,
        maximum: int,
        minimum: int = 0,
        trimmed: bool = False,
        lines: bool = False,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        pattern = _TRIMMED if trimmed and minimum else _LINES if lines else _LINE
        self.length = Length(min=minimum, max=maximum)
        super().__init__(validate=self.length, metadata={"pattern": pattern, **(metadata or {})}, **kwargs)
        self.trimmed = trimmed
        self.lines = lines

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if self.trimmed:
            text = text.strip()
        text = normalized_within(self.length, text, "NFC")
        if _CONTROL.search(re.sub(r"[\t\n\r]", "", text) if self.lines else text):
            raise ValidationError("Control characters are not allowed.")
        return text


class StrictBoolean(fields.Boolean):
    """JSON `true` or `false`, nothing else."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryFlag(fields.Boolean):
    """`true` or `false` in a query."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if value not in ("true", "false"):
            raise self.make_error("invalid", input=value)
        return bool(value == "true")


class QueryInteger(fields.Integer):
    """ASCII digits in a query, nothing else."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if not re.fullmatch(r"[0-9]{1,19}", value):
            raise self.make_error("invalid", input=value)
        return int(value)


class Amount(fields.Field[Decimal]):
    """Money as a decimal string, "0" to "99999999.99".  Shown with two decimals."""

    def __init__(self, **kwargs: Any) -> None:
        documented = {"type": "string", "pattern": f"^{_AMOUNT.pattern}$", "examples": ["19.90"]}
        super().__init__(**{"metadata": documented, **kwargs})

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Decimal:
        if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
            raise ValidationError('Not an amount: a string like "19.90", from "0" to "99999999.99".')
        return Decimal(value)

    def _serialize(self, value: Decimal | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else f"{value:.2f}"


class Timestamp(fields.DateTime):
    """A time in UTC (RFC 3339) with microseconds and `Z`."""

    def __init__(self, *, metadata: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(metadata={"examples": ["2026-03-01T04:05:06.789012Z"], **(metadata or {})}, **kwargs)

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else value.isoformat("T", "microseconds").replace("+00:00", "Z")


class RowSchema(Schema):
    """A schema that dumps rows quickly, by looking each field up once.

    Every field but those that have a form of their own is shown as it is.  A row that lacks one is an error.
    """

    PLAIN = (fields.String, fields.Integer, fields.Boolean)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shown = [
            (name, field.attribute or name, None if type(field) in self.PLAIN else field._serialize)  # noqa: SLF001
            for name, field in self.dump_fields.items()
        ]

    def columns(self, model: type[Base], *others: str) -> list[Any]:
        """The columns to select: those that the fields show, and others."""
        names = dict.fromkeys([*others, *(attribute for _name, attribute, _form in self._shown)])
        return [model.__table__.c[name] for name in names]

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        if self.many if many is None else many:
            return [self._show(row) for row in obj]
        if isinstance(obj, LocalProxy):
            obj = obj._get_current_object()  # noqa: SLF001 -- documented by Werkzeug; one lookup instead of one per field
        return self._show(obj)

    def _show(self, row: Any) -> dict[str, Any]:
        get = row.__getitem__ if type(row) is dict else partial(getattr, row)
        return {
            name: get(attribute) if form is None else form(get(attribute), name, row)
            for name, attribute, form in self._shown
        }


class MessageSchema(Schema):
    message = fields.String(required=True, metadata={"examples": ["It is done."]})


class ErrorSchema(Schema):
    """The error shape, for the API document."""

    error = fields.String(
        required=True,
        validate=OneOf([code.name for code in Code]),
        metadata={"description": "A stable machine code."},
    )
    message = fields.String(required=True, metadata={"description": "A message for people."})
    status = fields.Integer(required=True)
    request_id = fields.String(
        required=True, metadata={"description": "The value of `X-Request-ID`. The log has it too."}
    )
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.Dict(keys=fields.String(), values=fields.List(fields.String())),
        metadata={
            "description": "Only on 422: the problems by location and field. "
            "A field within another has its path: `user.username`, `tags.0`."
        },
    )


class Owner(fields.Field[int | str]):
    """An id in ASCII digits, or `me`."""

    def __init__(self, **kwargs: Any) -> None:
        documented = {
            "type": "string",
            "pattern": "^(me|[1-9][0-9]{0,18})$",
            "description": "`me`, or the id of a user.",
            "examples": ["me"],
        }
        super().__init__(**{"metadata": documented, **kwargs})

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int | str:
        if value == "me":
            return "me"
        if not re.fullmatch(r"[1-9][0-9]{0,18}", value) or int(value) > MAX_ID:
            raise ValidationError("Must be `me` or the id of a user.")
        return int(value)


class NextCursor(fields.String):
    def __init__(self) -> None:
        about = {
            "description": "The `cursor` of the next page, or null on the last one. Only null is the end.",
            "examples": ["W1siaXRlbXMi…"],
        }
        super().__init__(required=True, allow_none=True, metadata=about)


class PageArgs(Schema):
    """The query parameters of a listing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error_messages["unknown"] = f"Unknown field. Allowed: {', '.join(sorted(self.fields))}."

    limit = QueryInteger(load_default=20, validate=Range(min=1, max=100))
    cursor = fields.String(metadata={"description": "`next_cursor` of the previous page."})


class Sort(fields.String):
    """The name of an order, with `-` for descending.

    The first order is the default.
    """

    def __init__(self, orders: Iterable[str]) -> None:
        names = [f"{sign}{order}" for order in orders for sign in ("", "-")]
        super().__init__(
            load_default=names[0],
            validate=OneOf(names),
            metadata={"description": "A leading `-` sorts in descending order."},
        )
