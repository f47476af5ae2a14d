from marshmallow import Schema, fields
from marshmallow.validate import Equal, Length

from app.users.schemas import AccountSchema, NewPassword, UserSchema
from app.web.fields import QueryFlag, RowSchema, Text, Timestamp

LOGIN_NAME_LENGTH = 255  # characters; a login does not check the rules for new names


_PASSWORD = {"format": "password", "examples": ["correct horse battery"]}
_TOKEN = "eyJhbGciOiJFZERTQSIsImtpZCI6Ij…"  # noqa: S105 -- an example


class RegistrationSchema(AccountSchema):
    pass


class CredentialsSchema(Schema):
    username = Text(required=True, minimum=1, maximum=LOGIN_NAME_LENGTH, metadata={"examples": ["grace"]})
    password = fields.String(required=True, load_only=True, validate=Length(min=1), metadata=_PASSWORD)


class PasswordChangeSchema(Schema):
    current_password = fields.String(required=True, load_only=True, validate=Length(min=1), metadata=_PASSWORD)
    new_password = NewPassword(required=True)


class CookieArgs(Schema):
    use_cookies = QueryFlag(
        load_default=False, metadata={"description": "Set the tokens as cookies instead of returning them in the body."}
    )


class RefreshTokenSchema(Schema):
    """The guard reads the token itself."""

    BODY_IS_OPTIONAL = True

    refresh_token = fields.String(
        load_only=True, metadata={"description": "Only if no header or cookie carries it.", "examples": [_TOKEN]}
    )


_ISSUED = {"description": "Missing if the token is set as a cookie.", "examples": [_TOKEN]}


class AccessTokenSchema(Schema):
    access_token = fields.String(metadata=_ISSUED)
    token_type = fields.String(required=True, validate=Equal("Bearer"), metadata={"examples": ["Bearer"]})
    expires_in = fields.Integer(
        required=True, metadata={"description": "Lifetime of the access token in seconds.", "examples": [900]}
    )


class TokensSchema(AccessTokenSchema):
    refresh_token = fields.String(metadata=_ISSUED)


class LoginSchema(TokensSchema):
    user = fields.Nested(UserSchema, required=True)


class SessionSchema(RowSchema):
    id = fields.UUID(required=True, metadata={"examples": ["0f8fad5b-d9cb-469f-a165-70867728950e"]})
    created_at = Timestamp(required=True)
    last_used_at = Timestamp(required=True, metadata={"description": "Time of the last login or refresh."})
    expires_at = Timestamp(required=True)
    user_agent = fields.String(required=True, allow_none=True, metadata={"examples": ["curl/8.5.0"]})
    ip_address = fields.String(required=True, allow_none=True, metadata={"examples": ["192.0.2.7"]})
    current = fields.Boolean(required=True, metadata={"description": "Whether this request belongs to the session."})


class SessionsSchema(Schema):
    sessions = fields.Nested(SessionSchema, many=True, required=True)


class EndSessionsArgs(Schema):
    keep_current = QueryFlag(load_default=False)
