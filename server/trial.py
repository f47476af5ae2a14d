"""Whether the application can start, and the settings that the master needs of it."""

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

# What the master has to know of the settings.
KNOWN = ("PORT", "WEB_CONCURRENCY", "THREADS", "DRAIN_SECONDS", "JWT_KEYSET", "METRICS_PORT", "METRICS_HOST")
# Nearly all of what it takes to import the application; these bring along the others.
LIBRARIES = ("argon2", "environs", "flask_cors", "flask_jwt_extended", "flask_migrate", "flask_smorest",
             "flask_sqlalchemy", "pythonjsonlogger")  # fmt: skip


def load_libraries() -> None:
    """Import once, before any fork, what otherwise every process would.  Not ours: a reload reads that anew."""
    for name in LIBRARIES:
        with suppress(ImportError):  # the trial tells of it
            importlib.import_module(name)
    gc.freeze()  # they stay: no collection has to look at them, and the workers share their memory


def installed() -> set[str]:
    """The libraries that are installed, with their versions."""
    return {path.name for place in sys.path for path in Path(place).glob("*.dist-info")}


class CannotStartError(Exception):
    """The application cannot start; the text says why."""


def try_to_start() -> SimpleNamespace:
    """The settings, told by a process that starts the application as a worker would.

    Before any worker does: one that cannot start is started again for ever.  And not in
    the master, which would keep modules of ours that a reload (SIGHUP) should read anew.

    Raises:
        CannotStartError: where it does not start.
    """
    reader, writer = os.pipe()
    trial = os.fork()
    if not trial:
        try:
            os.write(writer, json.dumps(start_and_tell()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = json.loads(pipe.read() or '{"problem": "it dies"}')
    os.waitpid(trial, 0)
    if "problem" in told:
        raise CannotStartError(told["problem"])
    return SimpleNamespace(**told)


def start_and_tell() -> dict[str, Any]:
    """What the master has to know; or the problem, where the application does not start."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        settings = importlib.import_module("wsgi").app.config
        return {name: settings[name] for name in KNOWN}
    except SystemExit as reason:
        return {"problem": str(reason)}
    except Exception:  # noqa: BLE001 -- whatever it is, the master tells it
        return {"problem": traceback.format_exc().strip()}


def try_before_reload(server: Any) -> None:
    """Let a reload (SIGHUP) that would end in workers that cannot start leave those that run alone."""
    reload = server.reload

    def reload_if_it_can_start() -> None:
        try:
            try_to_start()
        except CannotStartError as problem:
            server.log.error("Not reloaded, the workers of before go on: %s", problem)  # noqa: TRY400 -- a line says it
        else:
            reload()

    server.reload = reload_if_it_can_start
