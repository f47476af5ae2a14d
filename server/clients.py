"""Clients that stall, that do not hang up, or that are refused before the application hears them."""

import functools
import inspect
import json
import socket
import struct
import threading
import uuid
from typing import Any

import gunicorn.util

RECEIVE_TIMEOUT = 5  # seconds: a client that stops sending loses its thread
SEND_TIMEOUT = 10  # seconds: so does one that stops taking what it asked for
MAX_LINGERING = 64  # connections that a worker closes at a time with patience
MALFORMED = "bad_request", "The request is malformed."
REFUSALS = {
    408: ("request_timeout", "The request did not arrive in time."),
    414: ("uri_too_long", "The address is too long."),
    431: ("headers_too_large", "The header fields are too large."),
    500: ("internal_error", "Internal server error."),
}


def bound_waits(server: Any) -> None:
    """Bound every read and write of a client's socket.  Accepted ones inherit it; `timeout` is not for threads."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", RECEIVE_TIMEOUT, 0))
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux (RFC 5482); SO_SNDTIMEO begins anew with every few bytes
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SEND_TIMEOUT * 1000)


def write_error(sock: socket.socket, status: int, _reason: str, _message: str) -> None:
    """What is refused before the application sees it has the application's error shape too, and quotes nothing."""
    status = status if status in REFUSALS else 400
    code, message = REFUSALS.get(status, MALFORMED)
    request_id = str(uuid.uuid4())
    body = json.dumps({"error": code, "message": message, "status": status, "request_id": request_id}).encode()
    head = (
        f"HTTP/1.1 {status} {code.replace('_', ' ').title()}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\n"
        "Cache-Control: no-store\r\n"
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
        "Cross-Origin-Resource-Policy: same-origin\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        f"X-Request-ID: {request_id}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    gunicorn.util.write_nonblock(sock, head.encode("latin-1") + body)


_close_graceful = inspect.unwrap(gunicorn.util.close_graceful)  # after a reload the one there is ours of before
_lingering = threading.BoundedSemaphore(MAX_LINGERING)


@functools.wraps(_close_graceful)
def close_graceful(sock: socket.socket) -> None:
    """Close a connection without keeping anybody else.

    Whoever is told that this is the end gets two seconds to hang up, so that the answer is not lost (RFC 9112
    section 9.6). gunicorn spends them in the worker's main thread, which alone accepts connections: thirty clients
    that do not hang up keep everybody else out for a minute. So they are spent beside it, as far as there is room.
    """
    if threading.current_thread() is not threading.main_thread():
        _close_graceful(sock)
    elif _lingering.acquire(blocking=False):
        threading.Thread(target=_linger, args=(sock,), daemon=True).start()
    else:
        gunicorn.util.close(sock)


def _linger(sock: socket.socket) -> None:
    try:
        _close_graceful(sock)
    finally:
        _lingering.release()
