import base64
import hashlib
from typing import Any

import flask
from flask import Response, current_app, jsonify, make_response, render_template, request

from app.data.base import db
from app.data.connections import takes_writes
from app.system.docs import POLICY, read_asset
from app.system.migrations import Schema, schema
from app.system.schemas import HealthSchema, IndexSchema, KeysSchema
from app.system.stopping import is_stopping
from app.tokens.keys import public_keys
from app.web.blueprint import Blueprint
from app.web.errors import ApiError, Code
from app.web.etags import conditional
from app.web.openapi import document

_HTML = {"type": "string"}
ACCEPT_LENGTH = 512  # characters
KEYS_MAX_AGE = 300  # seconds: how long a new key should verify before it signs

blp = Blueprint("system", __name__, template_folder="templates", description="About the service itself.")


@blp.get("/")
@blp.response(200, IndexSchema)
@blp.alt_response(200, schema=_HTML, content_type="text/html")
def show_index() -> Any:
    """Name, version, and where the API document and its page are.

    A browser gets a page, a program gets JSON.  With `DOCS=false` there is no document, and no path to it.
    """
    config = current_app.config
    about = {"name": config["API_TITLE"], "version": config["API_VERSION"]}
    if config["DOCS"]:
        about |= {"openapi": "/openapi.json", "docs": "/docs"}
    if _is_browser(request.headers.get("Accept", "")):
        return _page("index.html", **about)
    return about


def _is_browser(accept: str) -> bool:
    """Whether HTML is asked for, and not JSON before it.

    Looks only at the first characters, because Werkzeug parses the header in the square of its length.
    """
    before, html, _after = accept[:ACCEPT_LENGTH].lower().partition("text/html")
    return bool(html) and "application/json" not in before


def _page(template: str, **values: str) -> Response:
    """Render a page that loads nothing.

    Its one style sheet is inline, and the Content-Security-Policy allows it by its hash.
    """
    response = make_response(render_template(template, **values))
    style = response.get_data(as_text=True).partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response.headers["Vary"] = "Accept"
    return response


@blp.get("/docs")
@blp.response(200, _HTML, content_type="text/html")
def show_docs() -> Any:
    """A page to read this document and to try what it describes."""
    config = current_app.config
    response = make_response(
        render_template(
            "docs.html", name=config["API_TITLE"], version=config["API_VERSION"], prefix=config["COOKIE_PREFIX"]
        )
    )
    response.headers["Content-Security-Policy"] = POLICY
    return response


@conditional
@blp.response(200)
def show_docs_file(name: str) -> Response:
    """A file that the page is made of."""
    response = read_asset(name)
    if response is None:
        raise ApiError(Code.not_found)
    return response


# Not by flask-smorest's own method, which would put it into the API document: it is nobody's to call.
flask.Blueprint.add_url_rule(blp, "/docs/<name>", view_func=show_docs_file)


@blp.get("/.well-known/jwks.json")
@conditional
@blp.response(200, KeysSchema)
def show_keys() -> Any:
    """The public keys that tokens are verified with (RFC 7517).

    Symmetric keys are left out, so the list may be empty.
    """
    return {"keys": public_keys()}, {"Cache-Control": f"public, max-age={KEYS_MAX_AGE}"}


@blp.get("/openapi.json")
@conditional
@blp.response(200, {"type": "object"})
def show_document() -> Response:
    """This document (OpenAPI 3.1)."""
    return jsonify(document())


@blp.get("/health/live")
@blp.response(200, HealthSchema)
def show_live() -> dict[str, str]:
    """Is the process alive?  Touches nothing."""
    return {"status": "ok"}


@blp.get("/health/ready")
@blp.response(200, HealthSchema)
@blp.fails(Code.database_unavailable, Code.unavailable)
def show_ready() -> dict[str, str]:
    """Is the service ready?

    A ready service has a migrated database that takes writes, and is not stopping.
    """
    if is_stopping():
        raise ApiError(Code.unavailable)
    migrated = schema()
    if migrated is Schema.behind:
        current_app.logger.error("The database schema is not at the newest migration: run `flask db upgrade`")
        raise ApiError(Code.database_unavailable)
    if migrated is Schema.ahead:
        _note_newer_schema()
    if not takes_writes(db.session.connection()):
        current_app.logger.error("The database takes no writes: it is read-only")
        raise ApiError(Code.database_unavailable)
    return {"status": "ok"}


def _note_newer_schema() -> None:
    """Log that the schema is newer, once per process.

    The check runs every few seconds, and an upgrade takes longer.
    """
    if current_app.extensions.setdefault("newer_schema_noted", noted := object()) is noted:
        current_app.logger.warning("The database schema is of a newer release: going on, for it only adds to ours")
