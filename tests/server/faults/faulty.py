"""The application of the tests, with faults that the environment names by files.

The files are read at each request.

Two environment variables name files, which are read again for each request or transaction:

FAULT_CLOCK: the seconds by which the clock of this process is ahead.
FAULT_PAGES: the maximum number of pages of the SQLite database.
"""

import os
import time
from pathlib import Path

import time_machine
from sqlalchemy import event
from sqlalchemy.engine import Engine

from support import wsgi

CLOCK, PAGES = os.environ.get("FAULT_CLOCK"), os.environ.get("FAULT_PAGES")
if CLOCK:
    clock = time_machine.travel(time.time(), tick=True).start()


def app(environ, start_response):
    """Handle a request with the shifted clock."""
    if CLOCK:
        clock.move_to(time_machine.escape_hatch.time.time() + float(Path(CLOCK).read_text()))
    return wsgi.app(environ, start_response)


if PAGES:

    @event.listens_for(Engine, "begin")
    def _limit_pages(connection):
        connection.exec_driver_sql(f"PRAGMA max_page_count = {Path(PAGES).read_text()}")
