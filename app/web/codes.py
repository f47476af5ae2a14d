"""The one table of errors: each code, its status, what is said, when it comes, and what a client should do.

The answers, the API document and docs/errors.md are made of it.
"""

from enum import Enum


class Code(Enum):
    """Each error that a client can meet.

    The message is what is said where nothing more exact is known.
    """

    bad_request = (
        400,
        "The request could not be understood.",
        (
            "The body is empty, not strict JSON (UTF-8, no name twice, no `NaN`, no deeper than 32) or breaks off; "
            "the query is not UTF-8; the request line, a header or the host name is malformed, or the host is not "
            "served."
        ),
        "Mend the program that sends it. The same request fails again.",
    )
    authorization_required = (
        401,
        "A token is needed: Authorization: Bearer <token>.",
        "No token came where one is needed. Another scheme than `Bearer` counts as none.",
        "Send the access token, or let the user log in.",
    )
    invalid_token = (
        401,
        "The token is not valid.",
        (
            "The token is malformed, of the wrong kind (access for refresh or the other way round), not signed by a "
            "key in force, or its issuer, its audience or a claim is wrong."
        ),
        "Throw the token away and let the user log in.",
    )
    token_expired = (
        401,
        "The token has expired.",
        "The token was good, and its time is over.",
        "An access token: refresh once (`POST /auth/refresh`) and repeat the request. A refresh token: log in.",
    )
    token_revoked = (
        401,
        "The token has been revoked.",
        (
            "The token was logged out, its session has ended (logout, password change, another login where one alone "
            "is allowed), or its user is gone or inactive."
        ),
        "Throw both tokens away and let the user log in.",
    )
    token_reused = (
        401,
        "The refresh token was used before: the session has been ended.",
        "A refresh token came again after it had been exchanged and the grace was over: it is in two hands.",
        "Throw both tokens away, tell the user, and let them log in.",
    )
    fresh_token_required = (
        401,
        "A fresh token is needed: log in again, or use /auth/fresh-login.",
        "The access token came from a refresh, where one from a password is needed.",
        "Ask for the password (`POST /auth/fresh-login`) and repeat the request with the token of the answer.",
    )
    invalid_credentials = (
        401,
        "The user name or the password is wrong.",
        "The user is unknown or inactive, or the password is wrong: the answer does not tell which.",
        "Let the user try again. After a few failures the answer is `too_many_attempts`.",
    )
    csrf_failed = (
        403,
        "A cookie alone is not enough: repeat its CSRF value in the header X-CSRF-TOKEN.",
        "The token came by cookie, and the header `X-CSRF-TOKEN` did not repeat the value of its CSRF cookie.",
        "Read `csrf_access_token` (for a refresh `csrf_refresh_token`) from `document.cookie`, and send it along.",
    )
    admin_required = (
        403,
        "Administrators only.",
        "The caller is no administrator, by the token or by now. Who was just promoted needs a new token.",
        "Do not offer this to the user; after a promotion, refresh.",
    )
    forbidden = (
        403,
        "This is not yours to do.",
        "The object is another user's; or the feature is switched off, and the message names the setting.",
        "Do not offer this to the user.",
    )
    not_found = (
        404,
        "There is nothing here.",
        "No such path, or no such object (any more); something that the body refers to is gone.",
        "Forget the object.",
    )
    method_not_allowed = (
        405,
        "This path does not take that method.",
        "The path is there, the method is not.",
        "Use one of the methods in the header `Allow`.",
    )
    request_timeout = (
        408,
        "The request did not arrive in time.",
        "The body stopped coming for five seconds.",
        "Send it again.",
    )
    username_taken = (
        409,
        "This user name is taken.",
        "Somebody has this user name, in whatever case.",
        "Let the user choose another.",
    )
    item_exists = (
        409,
        "There is an item of that name already.",
        "An item has exactly this name.",
        "Let the user choose another.",
    )
    last_admin = (
        409,
        "The last active administrator must stay.",
        "The last active administrator would be demoted, deactivated or deleted.",
        "Make somebody else an administrator first.",
    )
    precondition_failed = (
        412,
        "The condition in If-Match or If-None-Match does not hold.",
        "`If-Match` names no `ETag` that the object has now, or `If-None-Match` names the one it has.",
        (
            "Read the object again, show the user the changes, and retry with its new `ETag`. A weak tag (`W/`) in "
            "`If-Match` never matches: if your `ETag` is weak, a proxy compresses our answers. Turn that off."
        ),
    )
    payload_too_large = (
        413,
        "The request body is too large.",
        "The body has more than `MAX_CONTENT_LENGTH` bytes, declared or not.",
        "Send less.",
    )
    uri_too_long = (
        414,
        "The address is too long.",
        "The request line has more than 4,094 bytes.",
        "Send less in the query.",
    )
    unsupported_media_type = (
        415,
        "The body must be application/json.",
        "The body is said to be something else than `application/json` in UTF-8, or to be compressed.",
        "Send `Content-Type: application/json`, and no `Content-Encoding`.",
    )
    validation_failed = (
        422,
        "The request is not valid.",
        (
            "JSON that is not an object, a field that is missing, unknown or bad, a query parameter that is unknown, "
            "bad or given twice, a bad header. `errors` says which, by location and field; at most twenty are named."
        ),
        "Show what `errors` says beside the fields.",
    )
    idempotency_key_reused = (
        422,
        "This Idempotency-Key was used for another request.",
        "The `Idempotency-Key` came before, with another body.",
        "Make a new key for each new request, and keep it for its repetitions alone.",
    )
    headers_too_large = (
        431,
        "The header fields are too large.",
        "A header has more than 8,190 bytes, or there are more than fifty.",
        "Send less; delete cookies that are not needed.",
    )
    too_many_attempts = (
        429,
        "Too many failed logins. Try again later.",
        "Too many logins to this account have failed from this address.",
        "Wait for the seconds of `Retry-After`.",
    )
    internal_error = (
        500,
        "Something went wrong on our side.",
        "A bug. The cause is in the log under the `request_id`.",
        "Tell the operator the `request_id`.",
    )
    overloaded = (
        503,
        "Too many logins at once. Try again in a moment.",
        "More passwords came than can be hashed at a time.",
        "Wait for the seconds of `Retry-After`, a little longer each time.",
    )
    database_unavailable = (
        503,
        "The database does not answer. Try again in a moment.",
        "The database is away, full, locked, read-only or not migrated.",
        "Wait for the seconds of `Retry-After`, a little longer each time. The tokens are still good.",
    )
    unavailable = (
        503,
        "No server is available for this. Try again in a moment.",
        "The server is about to stop (`/health/ready`); or the proxy in front reached none, or lost it half-way.",
        (
            "Wait for the seconds of `Retry-After`. A change may have been made: look, before you make it again, or "
            "send it with the same `Idempotency-Key`."
        ),
    )

    def __init__(self, status: int, message: str, when: str, remedy: str) -> None:
        self.status = status
        self.message = message
        self.when = when
        self.remedy = remedy
