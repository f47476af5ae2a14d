from collections.abc import Mapping
from typing import Any

from flask import current_app
from marshmallow import Schema, ValidationError, fields, validates_schema
from marshmallow.validate import Length

from app.users.models import USERNAME_LENGTH
from app.users.name_rules import is_reserved, name_problem
from app.users.password_rules import is_common, is_predictable, resembles, resembles_service, service_names
from app.users.passwords import MIN_PASSWORD_LENGTH, PASSWORD_LENGTH
from app.web.fields import NextCursor, PageArgs, RowSchema, StrictBoolean, Text, Timestamp, normalized_within

RESEMBLES = "The password is too similar to the user name."
_NAME_LENGTH = Length(min=3, max=USERNAME_LENGTH)


_NAME = {
    "description": "PRECIS UsernameCaseMapped (RFC 8265), further restricted: letters, their marks and digits of one "
    "script (Latin may mix with Han and kana, Bopomofo or Hangul) and, after the first character, `. _ -`. No "
    "invisible characters, few marks on a letter. Unique, ignoring case. Names like `admin` are reserved.",
    "examples": ["grace"],
}


class Username(fields.String):
    """A user name of 3 to 64 characters after NFKC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=_NAME_LENGTH, metadata=_NAME, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        name = normalized_within(_NAME_LENGTH, super()._deserialize(value, attr, data, **kwargs), "NFKC")
        _NAME_LENGTH(name)  # before the rules, whose cost grows with the length
        if problem := name_problem(name):
            raise ValidationError(problem)
        return name


class ChosenUsername(Username):
    """A user name that people choose themselves, so not a reserved one."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        name = super()._deserialize(value, attr, data, **kwargs)
        if is_reserved(name, service_names()):
            raise ValidationError("This name is reserved.")
        return name


class NewPassword(fields.String):
    """A new password that is not easy to guess.

    It has 8 (PASSWORD_MIN_LENGTH) to 128 characters after NFKC.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            load_only=True,
            metadata={
                "format": "password",
                "minLength": MIN_PASSWORD_LENGTH,
                "maxLength": PASSWORD_LENGTH,
                "description": "Any characters, including spaces and emoji. Common passwords, patterns such as "
                "`123456789012` and the names of the user and the service are refused. "
                "The setting `PASSWORD_MIN_LENGTH` may require more.",
                "examples": ["correct horse battery"],
            },
            **kwargs,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        password: str = super()._deserialize(value, attr, data, **kwargs)
        length = Length(min=current_app.config["PASSWORD_MIN_LENGTH"], max=PASSWORD_LENGTH)
        length(normalized_within(length, password, "NFKC"))
        if is_common(password, current_app.config["PASSWORD_LIST"]):
            raise ValidationError("This password is too common.")
        if is_predictable(password):
            raise ValidationError("This password repeats itself or follows a pattern.")
        if resembles_service(password):
            raise ValidationError("The password is too similar to the name of this service.")
        return password


class AccountSchema(Schema):
    """The fields of a new account.

    The command line may use reserved names.
    """

    username = Username(required=True)
    password = NewPassword(required=True)

    @validates_schema
    def _keep_them_apart(self, account: dict[str, str], **_kwargs: Any) -> None:
        if resembles(account["password"], account["username"]):
            raise ValidationError(RESEMBLES, "password")


class UserSchema(RowSchema):
    id = fields.Integer(required=True, metadata={"examples": [1]})
    username = fields.String(required=True, metadata=_NAME)
    is_admin = fields.Boolean(required=True)
    is_active = fields.Boolean(required=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class UserPageArgs(PageArgs):
    q = Text(maximum=USERNAME_LENGTH, metadata={"description": "Part of the name, ignoring case."})


class UserPageSchema(Schema):
    users = fields.Nested(UserSchema, many=True, required=True)
    next_cursor = NextCursor()


class OwnChangesSchema(Schema):
    """The fields that users may change in their own account."""

    username = ChosenUsername()


class UserChangesSchema(Schema):
    """The fields that administrators may change in an account."""

    is_admin = StrictBoolean()
    is_active = StrictBoolean()
