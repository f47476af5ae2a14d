import base64
import hashlib
from http import HTTPStatus
from typing import Any

from flask import Response, current_app, jsonify, make_response, render_template, request

from app.auth.keys import public_keys
from app.blueprint import Blueprint
from app.errors import ApiError, Code
from app.system.migrations import current_migrations, newest_migrations
from app.system.schemas import HealthSchema, IndexSchema, KeysSchema

KEYS_MAX_AGE = 300  # seconds: how long a new key should verify before it signs

blp = Blueprint("system", __name__, template_folder="templates", description="About the service itself.")


@blp.get("/")
@blp.response(200, IndexSchema)
def show_index() -> Any:
    """Name, version, and where the API document is.  A page for browsers, JSON for programs."""
    config = current_app.config
    about = {"name": config["API_TITLE"], "version": config["API_VERSION"], "openapi": "/openapi.json"}
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        return _page("index.html", **about)
    return about


def _page(template: str, **values: str) -> Response:
    """A page whose one style sheet stands in it, allowed by its hash: nothing is asked of any other host."""
    response = make_response(render_template(template, **values))
    style = response.get_data(as_text=True).partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response.headers["Vary"] = "Accept"
    return response


@blp.get("/.well-known/jwks.json")
@blp.response(200, KeysSchema)
@blp.alt_response(412, response="PRECONDITION_FAILED")
def show_keys() -> Any:
    """The public keys that tokens are verified with (RFC 7517).  An empty list where a secret signs."""
    response = jsonify(keys=public_keys())
    response.headers["Cache-Control"] = f"public, max-age={KEYS_MAX_AGE}"
    response.add_etag()
    response.make_conditional(request)
    if response.status_code == HTTPStatus.PRECONDITION_FAILED:
        raise ApiError(Code.precondition_failed)
    return response


@blp.get("/health/live")
@blp.response(200, HealthSchema)
def show_live() -> dict[str, str]:
    """Is the process alive?  Touches nothing."""
    return {"status": "ok"}


@blp.get("/health/ready")
@blp.response(200, HealthSchema)
@blp.alt_response(503, response="SERVICE_UNAVAILABLE")
def show_ready() -> dict[str, str]:
    """Can it serve?  The database answers, and its schema is at the newest migration."""
    if current_migrations() != newest_migrations():
        current_app.logger.error("The database schema is not at the newest migration: run `flask db upgrade`")
        raise ApiError(Code.database_unavailable)
    return {"status": "ok"}
