"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): run a repeated request once."""

import json
import re
from functools import wraps
from typing import Any

from flask import Response, current_app, g, has_app_context, request
from sqlalchemy import event

from app.data.base import Session, db
from app.data.expiry import prune_some
from app.idempotency.service import HEADER, fingerprint, first_answer, keep, stored_key
from app.tokens.caller import caller
from app.web.blueprint import Blueprint
from app.web.errors import Code, invalid
from app.web.request import query, read_json
from app.web.typing import View

REPLAYED = "Idempotency-Replayed"
KEPT_HEADERS = ("Location", "ETag")
# With or without the quotes of a structured field (RFC 8941 section 3.3.3).
_KEY = re.compile(r'("?)([A-Za-z0-9._:~-]{1,128})\1')


def idempotent(view: View) -> View:
    """Run a request once, even if repeated with the same key.

    Stands below `arguments`, so that only a valid request uses a key, and above
    `response`.  The view does not commit: this decorator does, after the view,
    so that what the view wrote and the stored answer are one transaction.

    Raises:
        RuntimeError: the view commits a request that has a key.
    """

    @wraps(view)
    def once(*args: Any, **view_args: Any) -> Any:
        if HEADER not in request.headers:
            answer = view(*args, **view_args)
            if db.session.registry.has():  # `insert` alone uses no session
                db.session.commit()
            return answer
        key = _sent_key()
        answer = first_answer(key, caller.id, fingerprint([request.view_args, sorted(query().items()), read_json()]))
        if answer is not None:
            return _replay(json.loads(answer))
        g.is_answer_missing = True
        answer = view(*args, **view_args)
        keep(key, _stored_form(answer))
        g.is_answer_missing = False
        db.session.commit()
        prune_some()  # not only after logins: some services have clients that never log in again
        return answer

    return Blueprint.declare(  # type: ignore[return-value]
        once,
        codes=(Code.idempotency_key_reused,),
        parameters=(
            {
                "name": HEADER,
                "in": "header",
                "description": (
                    "A unique key for this request, such as a UUID. If you repeat the request with the same key and "
                    "body, you get the first answer again. Keys expire after `IDEMPOTENCY_KEY_EXPIRES` seconds."
                ),
                "schema": {"type": "string", "pattern": '^("?)[A-Za-z0-9._:~-]{1,128}\\1$'},
            },
        ),
        headers={
            REPLAYED: {"description": "`true` where this was answered before.", "schema": {"const": "true"}},
        },
    )


def _sent_key() -> str:
    """The caller's key for this operation, as it is stored."""
    sent = _KEY.fullmatch(request.headers[HEADER])
    if sent is None:
        raise invalid("headers", HEADER, "1 to 128 letters, digits and . _ : ~ -")
    return stored_key(caller.id, str(request.endpoint), sent[2])


@event.listens_for(Session, "before_commit")
def _refuse_early_commit(_session: Session) -> None:
    """Stop a view that commits before its answer is stored."""
    if has_app_context() and g.get("is_answer_missing"):
        raise RuntimeError("A view below @idempotent must not commit: the decorator commits after it.")


def _stored_form(response: Response) -> str:
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return json.dumps({"status": response.status_code, "headers": headers, "body": response.get_data(as_text=True)})


def _replay(kept: dict[str, Any]) -> Response:
    response = current_app.response_class(kept["body"], kept["status"], mimetype="application/json")
    response.headers.update({**kept["headers"], REPLAYED: "true"})
    return response
