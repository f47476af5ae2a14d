"""The page at /docs: what it is made of, and the policy that holds it to that."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

from flask import Response

MAX_AGE = 300  # seconds: how long after an update a page may still meet a file of before

# React sets styles through the CSSOM, which a policy allows: nothing here is inline, and no other host is asked.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _Asset(NamedTuple):
    package: str
    folder: str
    mimetype: str


_OURS = "app.system", "static"
_SWAGGER_UI = "flask_swagger_ui", "dist"  # a folder of files: the page and the routes are ours

# Nothing else is given out, whatever else stands in those folders.
_ASSETS = {
    "docs.css": _Asset(*_OURS, "text/css"),
    "init.js": _Asset(*_OURS, "text/javascript"),
    "swagger-ui.css": _Asset(*_SWAGGER_UI, "text/css"),
    "swagger-ui-bundle.js": _Asset(*_SWAGGER_UI, "text/javascript"),
    "favicon-32x32.png": _Asset(*_SWAGGER_UI, "image/png"),
}


@cache
def _content(name: str) -> bytes:
    asset = _ASSETS[name]
    return files(asset.package).joinpath(asset.folder, name).read_bytes()


def read_asset(name: str) -> Response | None:
    """A file of the page; nothing, where the page has no such file."""
    if name not in _ASSETS:
        return None
    response = Response(_content(name), mimetype=_ASSETS[name].mimetype)
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE}"
    return response
