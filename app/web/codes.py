"""The error codes: status, message, cause and remedy of each.

Error responses, openapi.json and docs/errors.md are generated from this table.
"""

from enum import Enum


class Code(Enum):
    """Every error that a client can receive.

    A response uses `message` unless the code raises a more exact one.
    """

    bad_request = (
        400,
        "The request is malformed.",
        (
            "The body is empty, incomplete or not strict JSON (UTF-8, no duplicate name, no `NaN`, at most 32 levels); "
            "the query is not UTF-8; the request line, a header or the host name is malformed; a cookie of "
            "this service comes twice; or the host is not in `TRUSTED_HOSTS`."
        ),
        "Fix the client. The same request always fails.",
    )
    authorization_required = (
        401,
        "Send a token: Authorization: Bearer <token>.",
        "The request has no token, or uses a scheme other than `Bearer`.",
        "Send the access token, or ask the user to log in.",
    )
    invalid_token = (
        401,
        "The token is not valid.",
        (
            "The token is malformed, has the wrong type (access instead of refresh or the reverse), is not signed by "
            "an active or verifying key, or has a wrong issuer, audience or claim."
        ),
        "Delete the token and ask the user to log in.",
    )
    token_expired = (
        401,
        "The token has expired.",
        "The token is valid, but its expiry time has passed.",
        "For an access token, refresh once (`POST /auth/refresh`) and repeat the request. For a refresh token, log in.",
    )
    token_revoked = (
        401,
        "The token has been revoked.",
        (
            "The token was revoked, its session has ended (logout, password change, `SESSION_IDLE` without a refresh, "
            "or another login with `SINGLE_SESSION` or `MAX_SESSIONS`), or its user is deleted or inactive."
        ),
        "Delete both tokens and ask the user to log in.",
    )
    token_reused = (
        401,
        "The refresh token was already used. The session has ended.",
        "A refresh token was used again after `REFRESH_GRACE`; somebody else may have a copy of it.",
        "Delete both tokens, warn the user, and ask them to log in.",
    )
    fresh_token_required = (
        401,
        "This needs a fresh token. Log in again, or use /auth/fresh-login.",
        "The access token came from a refresh, but the endpoint needs one from a password login.",
        "Ask for the password, call `POST /auth/fresh-login`, and repeat the request with the new token.",
    )
    invalid_credentials = (
        401,
        "The user name or the password is wrong.",
        "The user is unknown or inactive, or the password is wrong. The response does not say which.",
        "Ask the user to try again. After several failures the error is `too_many_attempts`.",
    )
    csrf_failed = (
        403,
        "Send the value of the CSRF cookie in the header X-CSRF-TOKEN.",
        "The token is in a cookie, but `X-CSRF-TOKEN` does not contain the value of its CSRF cookie.",
        (
            "Read `csrf_access_token` (for a refresh `csrf_refresh_token`), with `COOKIE_PREFIX` in front, from "
            "`document.cookie` and send it."
        ),
    )
    admin_required = (
        403,
        "Administrators only.",
        "The user is not an administrator, or was not one when the token was issued.",
        "Hide this action from the user. After a promotion, refresh the token.",
    )
    forbidden = (
        403,
        "You may not do this.",
        "The object belongs to another user, or the feature is switched off (the message names the setting).",
        "Hide this action from the user.",
    )
    not_found = (
        404,
        "Not found.",
        "The path, the object, or something that the body refers to does not exist.",
        "Check the path, and drop the object from caches and lists.",
    )
    method_not_allowed = (
        405,
        "This path does not support the method.",
        "The path exists, but not with this method.",
        "Use a method from the `Allow` header.",
    )
    request_timeout = (
        408,
        "The request did not arrive in time.",
        "The server received no data for five seconds.",
        "Send the request again.",
    )
    username_taken = (
        409,
        "This user name is taken.",
        "Another user has this name. Case is ignored.",
        "Ask the user to choose another name.",
    )
    item_exists = (
        409,
        "An item with this name already exists.",
        "Another item has exactly this name.",
        "Ask the user to choose another name.",
    )
    last_admin = (
        409,
        "You cannot remove the last active administrator.",
        "The request would demote, deactivate or delete the last active administrator.",
        "Promote another user first.",
    )
    precondition_failed = (
        412,
        "The condition in If-Match or If-None-Match is false.",
        "`If-Match` does not contain the current `ETag` of the object, or `If-None-Match` contains it.",
        (
            "Read the object again, show the user the changes, and retry with the new `ETag`. A weak tag (`W/…`) in "
            "`If-Match` never matches: if the `ETag` that you got is weak, switch off compression in the proxy."
        ),
    )
    payload_too_large = (
        413,
        "The request body is too large.",
        "The body has more than `MAX_CONTENT_LENGTH` bytes, whatever its `Content-Length` says.",
        "Send a smaller body.",
    )
    uri_too_long = (
        414,
        "The address is too long.",
        "The request line has more than 4,094 bytes.",
        "Shorten the query.",
    )
    unsupported_media_type = (
        415,
        "The body must be application/json.",
        "The headers declare a type other than `application/json`, a charset other than UTF-8, or compression.",
        "Send `Content-Type: application/json` and no `Content-Encoding`.",
    )
    validation_failed = (
        422,
        "The request is not valid.",
        (
            "The JSON is not an object, a field is missing, unknown or invalid, a query parameter is unknown, invalid "
            "or repeated, or a header is invalid. `errors` lists at most twenty problems by location and field."
        ),
        "Show the texts of `errors` next to the fields.",
    )
    idempotency_key_reused = (
        422,
        "This Idempotency-Key was used for another request.",
        "The `Idempotency-Key` was sent before with another body.",
        "Create a new key for each new request, and reuse it only to repeat that request.",
    )
    headers_too_large = (
        431,
        "The header fields are too large.",
        "A header has more than 8,190 bytes, all headers together more than 32,768, or there are more than fifty.",
        "Send fewer or shorter headers. Delete unneeded cookies.",
    )
    too_many_attempts = (
        429,
        "Too many attempts. Try again later.",
        "Too many failed logins of this account or network, registrations of this network, or changes of the name.",
        "Wait for the number of seconds in `Retry-After`.",
    )
    internal_error = (
        500,
        "Internal server error.",
        "The server has a bug. The log has the cause under the `request_id`.",
        "Report the `request_id` to the operator.",
    )
    overloaded = (
        503,
        "Too many logins at once. Try again in a moment.",
        "The queue for password hashing is full, or a login waited there for over a second.",
        "Wait for the seconds in `Retry-After`, and longer after each attempt.",
    )
    database_unavailable = (
        503,
        "The database is unavailable. Try again in a moment.",
        "The database is unreachable, full, locked, read-only or not migrated.",
        "Wait for the seconds in `Retry-After`, and longer after each attempt. The tokens stay valid.",
    )
    unavailable = (
        503,
        "No server is available. Try again in a moment.",
        "The server is stopping (`/health/ready`), or the proxy could not reach a server or lost the connection.",
        (
            "Wait for the seconds in `Retry-After`. The change may have been saved: check before you repeat it, or "
            "repeat it with the same `Idempotency-Key`."
        ),
    )

    def __init__(self, status: int, message: str, when: str, remedy: str) -> None:
        self.status = status
        self.message = message
        self.when = when
        self.remedy = remedy
