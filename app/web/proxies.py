"""What stands between the world and the program: proxies, host names, pages of other origins, TLS."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from app.web.request import CSRF_HEADER

if TYPE_CHECKING:  # not there when the program runs
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ADDRESS_AND_PORT = re.compile(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|([0-9.]+):\d+")
HSTS = "max-age=31536000"  # a year: what browsers and the OWASP REST Security Cheat Sheet ask for
ALLOWED_HEADERS = [
    "Authorization",
    "Content-Type",
    CSRF_HEADER,
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-Request-ID",
]
EXPOSED_HEADERS = [
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
]
PREFLIGHT_AGE = 600  # seconds that a browser remembers what was allowed


def init_app(app: Flask) -> None:
    """Believe whom the settings say is to be believed: nobody, where they say nothing."""
    hops = app.config["TRUSTED_PROXIES"]
    if hops:
        # The address, the scheme and the host that the outermost proxy of ours saw; what came before is hearsay.
        inner = _without_port(app.wsgi_app)
        app.wsgi_app = ProxyFix(inner, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    app.config["TRUSTED_HOSTS"] = list(app.config["TRUSTED_HOSTS"]) or None  # Flask's own check, 400
    app.after_request(_promise_tls)
    if app.config["CORS_ORIGINS"]:
        CORS(
            app,
            origins=list(app.config["CORS_ORIGINS"]),
            supports_credentials=True,
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=PREFLIGHT_AGE,
        )
        app.after_request(_vary_by_origin)


def _without_port(inner: "WSGIApplication") -> "WSGIApplication":
    """Some proxies name a client by address and port: another port is not another client."""

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        with_port = ADDRESS_AND_PORT.fullmatch(environ.get("REMOTE_ADDR", ""))
        if with_port:
            environ["REMOTE_ADDR"] = with_port[1] or with_port[2]
        return inner(environ, start_response)

    return application


def _promise_tls(response: Response) -> Response:
    """A browser that came by TLS comes back by nothing else (RFC 6797)."""
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = HSTS
    return response


def _vary_by_origin(response: Response) -> Response:
    """Flask-CORS leaves this out where one origin alone is allowed: a cache would serve it to all."""
    response.vary.add("Origin")
    return response
