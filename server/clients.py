"""Handle stalled clients, lingering connections and requests that gunicorn refuses."""

import functools
import inspect
import json
import socket
import struct
import threading
import uuid
from typing import Any

import gunicorn.util

RECEIVE_TIMEOUT = 5  # seconds; a client that stops sending frees its thread after this
SEND_TIMEOUT = 10  # seconds; the same for a client that stops reading its answer
MAX_LINGERING = 64  # connections that one worker closes gracefully at the same time
MALFORMED = "bad_request", "The request is malformed."
REFUSALS = {
    408: ("request_timeout", "The request did not arrive in time."),
    414: ("uri_too_long", "The address is too long."),
    431: ("headers_too_large", "The header fields are too large."),
    500: ("internal_error", "Internal server error."),
}


def bound_waits(server: Any) -> None:
    """Limit reads and writes on client sockets.

    Client sockets inherit the limits of the listeners.  gunicorn's `timeout` does not cover threads.
    """
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", RECEIVE_TIMEOUT, 0))
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux (RFC 5482); SO_SNDTIMEO restarts with every few bytes
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SEND_TIMEOUT * 1000)


def write_error(sock: socket.socket, status: int, _reason: str, _message: str) -> None:
    """Answer a request that gunicorn refuses, in the application's error shape.

    The answer quotes nothing of the request.
    """
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


_close_graceful = inspect.unwrap(gunicorn.util.close_graceful)  # after a reload gunicorn has our previous version
_lingering = threading.BoundedSemaphore(MAX_LINGERING)


@functools.wraps(_close_graceful)
def close_graceful(sock: socket.socket) -> None:
    """Close a connection without blocking the others.

    The client gets two seconds to hang up, so that the answer is not lost (RFC 9112 section 9.6). gunicorn waits in
    the worker's main thread, the only one that accepts connections, so thirty clients that do not hang up block all
    others for a minute. This function waits in a thread; above MAX_LINGERING it closes at once.
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
