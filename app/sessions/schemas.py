from marshmallow import Schema, fields

from app.users.schemas import UserSchema
from app.web.fields import NextCursor, QueryFlag, RowSchema, Timestamp

SESSION_ENDS = {
    "description": "Seconds until the session ends. It ends earlier if it is not refreshed for `SESSION_IDLE` seconds.",
    "examples": [2592000],
}
_SESSION_ID = {"examples": ["0f8fad5b-d9cb-469f-a165-70867728950e"]}


class SessionSchema(RowSchema):
    id = fields.UUID(required=True, metadata=_SESSION_ID)
    created_at = Timestamp(required=True)
    last_used_at = Timestamp(
        required=True,
        metadata={"description": "Time of the last login or refresh. Of the current session: the time of the request."},
    )
    expires_at = Timestamp(required=True)
    user_agent = fields.String(required=True, allow_none=True, metadata={"examples": ["curl/8.5.0"]})
    ip_address = fields.String(required=True, allow_none=True, metadata={"examples": ["192.0.2.7"]})
    current = fields.Boolean(required=True, metadata={"description": "Whether this request belongs to the session."})


class SessionPageSchema(Schema):
    sessions = fields.Nested(SessionSchema, many=True, required=True)
    next_cursor = NextCursor()


class CurrentSessionSchema(Schema):
    id = fields.UUID(required=True, metadata=_SESSION_ID)
    created_at = Timestamp(required=True)
    expires_at = Timestamp(required=True)


class StateSchema(Schema):
    """The state that a page needs after a reload."""

    user = fields.Nested(UserSchema, required=True)
    session = fields.Nested(CurrentSessionSchema, required=True)
    is_fresh = fields.Boolean(
        required=True, metadata={"description": "Whether the access token comes from a password login."}
    )
    expires_in = fields.Integer(
        required=True, metadata={"description": "Seconds until the access token expires.", "examples": [870]}
    )
    session_expires_in = fields.Integer(required=True, metadata=SESSION_ENDS)
    csrf_token = fields.String(
        metadata={"description": "The value for `X-CSRF-TOKEN`. Only if the access token came in a cookie."}
    )


class EndSessionsArgs(Schema):
    keep_current = QueryFlag(load_default=False)
