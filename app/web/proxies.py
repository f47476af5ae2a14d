"""Trusted proxies, host names, CORS and HSTS."""

import re
from collections.abc import Iterable

from flask import Flask, Response, current_app, request
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from app.web.request import CSRF_HEADER
from app.web.typing import StartResponse, WSGIApplication, WSGIEnvironment

ADDRESS_AND_PORT = re.compile(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|([0-9.]+):\d+")
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
PREFLIGHT_AGE = 600  # seconds that a browser caches a preflight answer


def init_app(app: Flask) -> None:
    """Trust the proxies, hosts and origins of the settings, and nobody else."""
    hops = app.config["TRUSTED_PROXIES"]
    if hops:
        # Use the address, scheme and host that our outermost proxy saw.  A client can forge anything before it.
        inner = _without_port(app.wsgi_app)
        app.wsgi_app = ProxyFix(inner, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    app.config["TRUSTED_HOSTS"] = list(app.config["TRUSTED_HOSTS"]) or None  # Flask's own check, 400
    if app.config["HSTS_SECONDS"]:
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


def _without_port(inner: WSGIApplication) -> WSGIApplication:
    """Remove the port that some proxies append to the client's address."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with_port = ADDRESS_AND_PORT.fullmatch(environ.get("REMOTE_ADDR", ""))
        if with_port:
            environ["REMOTE_ADDR"] = with_port[1] or with_port[2]
        return inner(environ, start_response)

    return application


def _promise_tls(response: Response) -> Response:
    """Tell browsers that came by TLS to use TLS only (RFC 6797)."""
    if request.is_secure:
        subdomains = "; includeSubDomains" if current_app.config["HSTS_SUBDOMAINS"] else ""
        response.headers["Strict-Transport-Security"] = f"max-age={current_app.config['HSTS_SECONDS']}{subdomains}"
    return response


def _vary_by_origin(response: Response) -> Response:
    """Add `Vary: Origin`, which Flask-CORS omits for a single origin.

    Without it a cache would serve the answer to other origins.
    """
    response.vary.add("Origin")
    return response
