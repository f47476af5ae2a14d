"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request that is sent twice is done once."""

import json
import re
from functools import wraps
from typing import Any

from flask import Response, current_app, g, request

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
    """Do the same request once, however often it comes with the same key.

    Stands below `arguments`, so that only a good request takes a key, and
    above `response`. The view gives its answer to `keep_answer` before it commits.
    """

    @wraps(view)
    def once(*args: Any, **view_args: Any) -> Any:
        g.idempotency_key = None
        if HEADER not in request.headers:
            return view(*args, **view_args)
        sent = _KEY.fullmatch(request.headers[HEADER])
        if sent is None:
            raise invalid("headers", HEADER, "1 to 128 letters, digits and . _ : ~ -")
        g.idempotency_key = stored_key(caller.id, str(request.endpoint), sent[2])
        answer = first_answer(
            g.idempotency_key, caller.id, fingerprint([request.view_args, sorted(query().items()), read_json()])
        )
        if answer is not None:
            return _replay(json.loads(answer))
        made = view(*args, **view_args)
        if g.idempotency_key is not None:
            raise RuntimeError("An idempotent view gives its answer to keep_answer before it commits.")
        prune_some()  # not only logins do: some services have clients that never log in again
        return made

    return Blueprint.declare(  # type: ignore[return-value]
        once,
        codes=(Code.idempotency_key_reused,),
        parameters=(
            {
                "name": HEADER,
                "in": "header",
                "description": (
                    "A key of your own for this request, such as a UUID. The same key and body again: the first "
                    "answer again, and nothing is done, for as long as `IDEMPOTENCY_KEY_EXPIRES` says."
                ),
                "schema": {"type": "string", "pattern": '^("?)[A-Za-z0-9._:~-]{1,128}\\1$'},
            },
        ),
        headers={
            REPLAYED: {"description": "`true` where this was answered before.", "schema": {"const": "true"}},
        },
    )


def keep_answer(response: Response) -> Response:
    """Keep the answer for whoever asks again, if a key came.  To be called before the commit."""
    if g.get("idempotency_key") is not None:
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        kept = {"status": response.status_code, "headers": headers, "body": response.get_data(as_text=True)}
        keep(g.idempotency_key, json.dumps(kept))
        g.idempotency_key = None
    return response


def _replay(kept: dict[str, Any]) -> Response:
    response = current_app.response_class(kept["body"], kept["status"], mimetype="application/json")
    response.headers.update({**kept["headers"], REPLAYED: "true"})
    return response
