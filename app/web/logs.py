"""Log requests and security events, with the request id on every line."""

import atexit
import logging
import re
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from threading import Lock
from typing import Any

import click
from blinker import Namespace
from flask import Flask, Request, Response, current_app, g, has_app_context, has_request_context, request
from pythonjsonlogger.json import JsonFormatter

from app.web import events
from app.web.events import REFUSED, Flood

QUERY = re.compile(r"\?\S+")
TRACE_ID = "latchkey.trace_id"  # the key in the WSGI environment, if there is a trace
# A worker writes this many lines a second about refused requests (4xx), and one in ONE_OF of the rest, so that a flood
# does not fill the disk.  Of 10,000 refusals a second, four workers write 180 lines.
FULL_LINES = 20
ONE_OF = 100
UNTOLD = ("event", "request_id")  # members that a security event's message does not repeat

# Sent for every security event with `event` and its details.  The metrics listen to it.
event_logged = Namespace().signal("event-logged")

_access = logging.getLogger("app.access")
_security = logging.getLogger("app.security")


class _RequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        in_request = has_request_context()
        if hasattr(record, "request_id"):
            return True  # a count, which another request's event has caused
        record.request_id = g.get("request_id") if in_request else None
        if in_request and TRACE_ID in request.environ:
            record.trace_id = request.environ[TRACE_ID]
        return True


class Sampler:
    """Limits the lines about refused requests and counts the lines left out."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._second = 0
        self._in_second = 0
        self._left_out = 0

    def leaves_out(self, now: float) -> bool:
        """Whether to leave out the line of this refusal.

        Args:
            now: seconds of a monotonic clock.
        """
        with self._lock:
            if int(now) != self._second:
                self._second, self._in_second = int(now), 0
            self._in_second += 1
            beyond = self._in_second - FULL_LINES
            if beyond <= 0 or beyond % ONE_OF == 0:
                return False
            self._left_out += 1
            return True

    def take_left_out(self) -> int:
        """Return and reset the number of lines left out.

        The next written line reports it.
        """
        if not self._left_out:
            return 0
        with self._lock:
            left_out, self._left_out = self._left_out, 0
            return left_out


class _ConsoleFormatter(logging.Formatter):
    """Formats lines for a terminal.

    Escapes control and direction characters, so that a client cannot forge a line.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the standard library's name
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 -- the standard library's name
        return "\n".join(escaped(line) for line in super().formatException(ei).split("\n"))


def escaped(text: str) -> str:
    """The text with control and direction characters as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class _JsonFormatter(JsonFormatter):
    """Formats one line of printable ASCII.

    U+2028 and others end a line in some programs, and DEL controls a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\x7f", "\\u007f")


def _formatter(kind: str) -> logging.Formatter:
    if kind == "console":
        return _ConsoleFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    return _JsonFormatter(
        "%(levelname)s %(name)s %(message)s %(request_id)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",  # RFC 3339, in UTC
        json_ensure_ascii=True,
    )


def _mask_query(record: logging.LogRecord) -> bool:
    """Hide queries, which may contain tokens, from the development server's log."""
    record.msg, record.args = QUERY.sub("?…", record.getMessage()), ()
    return True


def init_app(app: Flask, secrets: Callable[[], tuple[bytes, ...]]) -> None:
    """Log in the format of `LOG_FORMAT`, from `LOG_LEVEL` upward.

    Args:
        app: the application.
        secrets: of `events.init_app`.
    """
    command = click.get_current_context(silent=True)
    # A command prints its result on standard output, so its log goes to standard error.
    handler = logging.StreamHandler(sys.stderr if command and command.info_name != "run" else sys.stdout)
    handler.setFormatter(_formatter(app.config["LOG_FORMAT"]))
    handler.addFilter(_RequestId())
    app.logger.handlers = [handler]  # other loggers keep their handlers
    app.logger.setLevel(app.config["LOG_LEVEL"])
    logging.getLogger("werkzeug").addFilter(_mask_query)
    app.extensions["log_sampler"] = Sampler()
    events.init_app(app, secrets)
    atexit.register(write_counts, app.extensions["event_flood"], sys.maxsize)
    app.before_request(_start_clock)
    app.after_request(_log_request)


def _start_clock() -> None:
    g.started = time.perf_counter()


def _log_request(response: Response) -> Response:
    """Log one line, without the query, headers or body.

    They may contain secrets.
    """
    now = time.perf_counter()
    write_counts(current_app.extensions["event_flood"], now)
    sampler: Sampler = current_app.extensions["log_sampler"]
    is_refusal = HTTPStatus.BAD_REQUEST <= response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
    if (is_refusal and sampler.leaves_out(now)) or not _access.isEnabledFor(logging.INFO):
        return response
    duration_ms = round((now - g.started) * 1000, 1)
    caller = g.get("caller")
    this: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 -- one lookup instead of six
    method, path, rule = this.method, this.path, this.url_rule
    left_out = sampler.take_left_out()
    _access.info(
        "%s %s %s %s ms%s",
        method,
        path,
        response.status_code,
        duration_ms,
        f", {left_out} refusals left out" if left_out else "",
        extra={
            "method": method,
            "path": path,
            "route": rule.rule if rule else None,
            "status": response.status_code,
            "duration_ms": duration_ms,
            "user_id": caller.id if caller else None,
            "session_id": str(caller.session_id) if caller else None,
            "ip_address": this.remote_addr,
            **({"left_out": left_out} if left_out else {}),
        },
    )
    return response


def log_event(
    event: str, *, level: int = logging.INFO, user_id: int | None = None, session_id: object = None, **details: Any
) -> None:
    """Log a security event and send `event_logged`.

    Pass no secret and no text that a client typed.

    In a flood the line is left out and counted.  The event of a command is always written.

    Args:
        event: the name in the OWASP Logging Vocabulary, if it has one.
        level: WARNING for events that an operator should look at.
        user_id: the user concerned; default: the caller.
        session_id: the session concerned; default: the caller's, for events about the caller.
        details: further fields of the log line.
    """
    in_request = has_request_context()
    caller = g.get("caller") if in_request else None
    if caller and user_id in (None, caller.id):
        user_id, session_id = caller.id, session_id or caller.session_id
    fields = {
        "event": event,
        "user_id": user_id,
        "session_id": session_id and str(session_id),
        "ip_address": request.remote_addr if in_request else None,
        **details,
    }
    if has_app_context():
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 -- documented in Flask's manual
        event_logged.send(app, **fields)
    if in_request:
        g.refusal_logged = g.get("refusal_logged", False) or event in REFUSED
    if not _security.isEnabledFor(level):
        return
    if in_request:
        flood: Flood = current_app.extensions["event_flood"]
        write_counts(flood, time.perf_counter())
        if not flood.admits(level, {**fields, "request_id": g.get("request_id")}):
            return
    _write_event(level, fields)


def write_counts(flood: Flood, now: float) -> None:
    """Write the counts of the last minute, when it has ended."""
    for level, fields in flood.ended(now):
        _write_event(level, fields)


def _write_event(level: int, fields: dict[str, Any]) -> None:
    told = ", ".join(f"{name} {value}" for name, value in fields.items() if value is not None and name not in UNTOLD)
    _security.log(level, "%s: %s", fields["event"], told, extra=fields)
