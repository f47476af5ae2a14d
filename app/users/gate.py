"""Bounds what hashing may take: so many at once, so many waiting, none for long."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as WaitTimeoutError
from contextlib import contextmanager, suppress
from functools import partial
from typing import ParamSpec, TypeVar

from blinker import Namespace

from app.web.errors import ApiError, Code

Result = TypeVar("Result")
Params = ParamSpec("Params")

WAIT = 1.0  # seconds for a turn
# Of the hashing threads: whatever else the service does goes first.  What runs in other control groups, as other
# services and containers do, has its own share of the cores, and neither gains nor loses by it.
NICENESS = 19

# Sent by a gate when the number of its jobs that wait or run changes, by `waiting` and `running`: for whoever counts.
load_changed = Namespace().signal("load-changed")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class Gate:
    """Runs costly jobs on a few threads of its own, so that a flood of them starves nobody.

    Args:
        slots: jobs at once.
        queue: jobs that may wait for their turn.
    """

    def __init__(self, slots: int, queue: int) -> None:
        self.room = slots + queue
        self._room = threading.BoundedSemaphore(slots + queue)
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="hash", initializer=_step_back)
        self._mine = threading.local()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue for all jobs of the block: taken first, so that who finds none costs nothing more.

        Raises:
            ApiError: 503 `overloaded`, where the queue is full.
        """
        if getattr(self._mine, "place", False):
            yield
            return
        if not self._room.acquire(blocking=False):
            raise ApiError(Code.overloaded)
        self._mine.place = True
        try:
            yield
        finally:
            self._mine.place = False
            self._room.release()

    def run(self, job: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
        """What the job returns or raises.

        Raises:
            ApiError: 503 `overloaded`, where the queue is full or the turn does not come in time.
        """
        with self.place():
            load_changed.send(self, waiting=1, running=0)
            future = self._pool.submit(self._run, partial(job, *args, **kwargs))
            try:
                return future.result(WAIT)
            except WaitTimeoutError:
                if future.cancel():
                    load_changed.send(self, waiting=-1, running=0)
                    raise ApiError(Code.overloaded) from None
                return future.result()  # its turn has come: it will not take long

    def _run(self, job: Callable[[], Result]) -> Result:
        load_changed.send(self, waiting=-1, running=1)
        try:
            return job()
        finally:
            load_changed.send(self, waiting=0, running=-1)


def _step_back() -> None:
    if sys.platform == "linux":  # where every thread has a priority of its own
        own = os.getpriority(os.PRIO_PROCESS, 0)
        with suppress(OSError):  # a process that may not change it hashes all the same
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(own, NICENESS))
