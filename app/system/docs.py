"""The page at /docs: files, content security policy, switch."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

PATHS = ("/docs", "/openapi.json")
MAX_AGE = 300  # seconds that a browser may keep a file after an update

# No inline code and no other host.  React sets styles through the CSSOM, which the policy allows.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _Asset(NamedTuple):
    package: str
    folder: str
    mimetype: str


_OURS = "app.system", "static"
_SWAGGER_UI = "flask_swagger_ui", "dist"  # we use its files only, not its page or routes

# Only these files of the two folders are served.
_ASSETS = {
    "docs.css": _Asset(*_OURS, "text/css"),
    "init.js": _Asset(*_OURS, "text/javascript"),
    "swagger-ui.css": _Asset(*_SWAGGER_UI, "text/css"),
    "swagger-ui-bundle.js": _Asset(*_SWAGGER_UI, "text/javascript"),
    "favicon-32x32.png": _Asset(*_SWAGGER_UI, "image/png"),
}


def init_app(app: Flask) -> None:
    """Hide the page and the API document if DOCS is off."""
    if not app.config["DOCS"]:
        app.url_value_preprocessor(_hide)


def _hide(*_endpoint_and_values: object) -> None:
    """Make the path of the page or the document unknown.

    So every method gets 404, and the log and the metrics show no route.
    """
    if request.path in PATHS or request.path.startswith("/docs/"):
        request.routing_exception, request.url_rule = NotFound(), None


@cache
def _content(name: str) -> bytes:
    asset = _ASSETS[name]
    return files(asset.package).joinpath(asset.folder, name).read_bytes()


def read_asset(name: str) -> Response | None:
    """A file of the page, or None for an unknown name."""
    if name not in _ASSETS:
        return None
    response = Response(_content(name), mimetype=_ASSETS[name].mimetype)
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE}"
    return response
