"""One line a request on standard output, and the request's id on every line that it caused."""

import logging
import re
import sys
import time
from typing import Any

import click
from flask import Flask, Response, g, has_request_context, request
from pythonjsonlogger.json import JsonFormatter

QUERY = re.compile(r"\?\S+")

_access = logging.getLogger("app.access")
_security = logging.getLogger("app.security")


class _RequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = g.get("request_id") if has_request_context() else None
        return True


class _ConsoleFormatter(logging.Formatter):
    """For a person at a terminal.  A line break that a client sent does not begin a line of ours."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the standard library's name
        record.message = "".join(c if c.isprintable() else repr(c)[1:-1] for c in record.message)
        return super().formatMessage(record)


def _formatter(kind: str) -> logging.Formatter:
    if kind == "console":
        return _ConsoleFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s %(request_id)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",  # RFC 3339, in UTC
        json_ensure_ascii=False,
    )


def _mask_query(record: logging.LogRecord) -> bool:
    """The development server writes down the whole request line; a token may stand in its query."""
    record.msg, record.args = QUERY.sub("?…", record.getMessage()), ()
    return True


def init_app(app: Flask) -> None:
    """Write in the form that `LOG_FORMAT` names, from `LOG_LEVEL` up."""
    command = click.get_current_context(silent=True)
    # What a command prints is its result, for a script to read: its log goes beside it.
    handler = logging.StreamHandler(sys.stderr if command and command.info_name != "run" else sys.stdout)
    handler.setFormatter(_formatter(app.config["LOG_FORMAT"]))
    handler.addFilter(_RequestId())
    app.logger.handlers = [handler]  # of this application alone: the loggers of others are theirs
    app.logger.setLevel(app.config["LOG_LEVEL"])
    logging.getLogger("werkzeug").addFilter(_mask_query)
    app.before_request(_start_clock)
    app.after_request(_log_request)


def _start_clock() -> None:
    g.started = time.perf_counter()


def _log_request(response: Response) -> Response:
    """Never a query, a header or a body: tokens and passwords travel there."""
    duration_ms = round((time.perf_counter() - g.started) * 1000, 1)
    caller = g.get("caller")
    _access.info(
        "%s %s %s %s ms",
        request.method,
        request.path,
        response.status_code,
        duration_ms,
        extra={
            "method": request.method,
            "path": request.path,
            "route": request.url_rule.rule if request.url_rule else None,
            "status": response.status_code,
            "duration_ms": duration_ms,
            "user_id": caller.id if caller else None,
            "session_id": str(caller.session_id) if caller else None,
            "ip_address": request.remote_addr,
        },
    )
    return response


def log_event(
    event: str, *, level: int = logging.INFO, user_id: int | None = None, session_id: object = None, **details: Any
) -> None:
    """One line about something that a security officer asks for.  Never a secret, nor what somebody typed.

    Args:
        event: as the OWASP Logging Vocabulary calls it, where it has a word.
        level: WARNING where somebody should look.
        user_id: whom it is about; the caller, where none is given.
        session_id: which session of theirs; the caller's own, where it is about the caller.
        details: whatever else tells what happened.
    """
    caller = g.get("caller") if has_request_context() else None
    if caller and user_id in (None, caller.id):
        user_id, session_id = caller.id, session_id or caller.session_id
    fields = {
        "event": event,
        "user_id": user_id,
        "session_id": session_id and str(session_id),
        "ip_address": request.remote_addr if has_request_context() else None,
        **details,
    }
    told = ", ".join(f"{name} {value}" for name, value in fields.items() if value is not None and name != "event")
    _security.log(level, "%s: %s", event, told, extra=fields)
