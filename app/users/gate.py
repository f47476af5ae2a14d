"""Limits concurrent password hashing, its queue and the waiting time."""

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
# The priority of the hashing threads: other requests go first.  Niceness only matters within one cgroup, so other
# containers are not affected.
NICENESS = 19

# Sent when jobs start or stop waiting or running, with the changes `waiting` and `running`.  The metrics listen to it.
load_changed = Namespace().signal("load-changed")


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class Gate:
    """Runs costly jobs on a few threads of its own.

    A flood of jobs therefore blocks nothing else.

    Args:
        slots: jobs that run at once.
        queue: jobs that may wait.
    """

    def __init__(self, slots: int, queue: int) -> None:
        self.room = slots + queue
        self._room = threading.BoundedSemaphore(slots + queue)
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="hash", initializer=_lower_priority)
        self._mine = threading.local()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Reserve a slot for all jobs of the block.

        Call it before any other work on the request.

        Raises:
            ApiError: 503 `overloaded` if the queue is full.
        """
        if getattr(self._mine, "has_slot", False):
            yield
            return
        if not self._room.acquire(blocking=False):
            raise ApiError(Code.overloaded)
        self._mine.has_slot = True
        try:
            yield
        finally:
            self._mine.has_slot = False
            self._room.release()

    def run(self, job: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
        """Run the job and return its result.

        Raises:
            ApiError: 503 `overloaded` if the queue is full or the job does not start within `WAIT`.
        """
        with self.slot():
            load_changed.send(self, waiting=1, running=0)
            future = self._pool.submit(self._run, partial(job, *args, **kwargs))
            try:
                return future.result(WAIT)
            except WaitTimeoutError:
                if future.cancel():
                    load_changed.send(self, waiting=-1, running=0)
                    raise ApiError(Code.overloaded) from None
                return future.result()  # it has started, so it ends soon

    def _run(self, job: Callable[[], Result]) -> Result:
        load_changed.send(self, waiting=-1, running=1)
        try:
            return job()
        finally:
            load_changed.send(self, waiting=0, running=-1)


def _lower_priority() -> None:
    if sys.platform == "linux":  # where each thread has its own priority
        own = os.getpriority(os.PRIO_PROCESS, 0)
        with suppress(OSError):  # not permitted: hash at the usual priority
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(own, NICENESS))
