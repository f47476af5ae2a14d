"""Try to start the application, and read the master's settings."""

import gc
import importlib
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# The settings that the master needs.
KNOWN = ("PORT", "WEB_CONCURRENCY", "THREADS", "DRAIN_SECONDS", "JWT_KEYSET", "METRICS_PORT", "METRICS_HOST")
# Nearly all libraries of the application; these import the others.
LIBRARIES = ("argon2", "environs", "flask_cors", "flask_jwt_extended", "flask_migrate", "flask_smorest",
             "flask_sqlalchemy", "precis_i18n", "pythonjsonlogger", "regex")  # fmt: skip


def load_libraries() -> None:
    """Import the libraries once, before any fork.

    A reload imports our own modules again, so they are not imported here.
    """
    for name in LIBRARIES:
        with suppress(ImportError):  # the trial reports it
            importlib.import_module(name)
    gc.freeze()  # they stay, so garbage collection skips them and the workers share their memory


def installed() -> set[str]:
    """The libraries that are installed, with their versions."""
    return {path.name for folder in sys.path for path in Path(folder).glob("*.dist-info")}


class CannotStartError(Exception):
    """The application cannot start; the text says why."""


def try_to_start() -> SimpleNamespace:
    """Start the application in a forked process, and return its settings.

    This comes before the first worker, because gunicorn restarts a worker that cannot start
    for ever. It is not in the master, which would keep our modules after a reload (SIGHUP).

    Raises:
        CannotStartError: the application does not start.
    """
    reader, writer = os.pipe()
    trial = os.fork()
    if not trial:
        try:
            os.write(writer, json.dumps(start_and_report()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = json.loads(pipe.read() or '{"problem": "the process died without a message"}')
    os.waitpid(trial, 0)
    if "problem" in answer:
        raise CannotStartError(answer["problem"])
    return SimpleNamespace(**answer)


def start_and_report() -> dict[str, Any]:
    """The settings that the master needs, or why the start failed."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        settings = importlib.import_module("wsgi").app.config
        return {name: settings[name] for name in KNOWN}
    except SystemExit as reason:
        return {"problem": str(reason)}
    except Exception:  # noqa: BLE001 -- the master reports every kind
        return {"problem": traceback.format_exc().strip()}


def try_before_reload(server: Any) -> None:
    """Skip a reload (SIGHUP) if the application cannot start.

    The old workers then continue.
    """
    reload = server.reload

    def reload_if_it_can_start() -> None:
        try:
            try_to_start()
        except CannotStartError as problem:
            server.log.error("Not reloaded; the old workers continue: %s", problem)  # noqa: TRY400 -- one line is enough
        else:
            reload()

    server.reload = reload_if_it_can_start
