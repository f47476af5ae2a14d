from marshmallow import Schema, fields
from marshmallow.validate import Equal, Length

from app.sessions.schemas import SESSION_ENDS
from app.users.schemas import AccountSchema, ChosenUsername, NewPassword, UserSchema
from app.web.fields import QueryFlag, Text

# Characters.  A login does not check the rules for new names, but `username_key` must accept the text.
LOGIN_NAME_LENGTH = 255


_PASSWORD = {"format": "password", "examples": ["correct horse battery"]}
_TOKEN = "eyJhbGciOiJFZERTQSIsImtpZCI6Ij…"  # noqa: S105 -- an example


class RegistrationSchema(AccountSchema):
    username = ChosenUsername(required=True)


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
    session_expires_in = fields.Integer(required=True, metadata=SESSION_ENDS)


class TokensSchema(AccessTokenSchema):
    refresh_token = fields.String(metadata=_ISSUED)


class LoginSchema(TokensSchema):
    user = fields.Nested(UserSchema, required=True)
