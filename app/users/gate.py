"""Limits concurrent password hashing, and the share of each network."""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as WaitTimeoutError
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from blinker import Namespace

from app.web.errors import ApiError, Code

Result = TypeVar("Result")
Params = ParamSpec("Params")
Job = TypeVar("Job")

WAIT = 1.0  # seconds for a turn
SHARES = 4  # a network may take a quarter of the room, at least one place
# The priority of the hashing threads: other requests go first.  Niceness only matters within one cgroup, so other
# containers are not affected.
NICENESS = 19

# Sent when jobs start or stop waiting or running, with the changes `waiting` and `running`.  The metrics listen to it.
load_changed = Namespace().signal("load-changed")


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class FairQueue(Generic[Job]):
    """The jobs that wait and run.

    Each network has a share of the room.  Safe to use from several threads.

    Args:
        room: jobs that wait or run.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._share = max(1, room // SHARES)
        self._lock = threading.Lock()
        self._inside: Counter[str] = Counter()
        self._waiting: list[tuple[str, Job]] = []
        self._served_at: dict[str, int] = {}  # the turn at which each network was last served
        self._turn = 0

    def enter(self, network: str) -> bool:
        """Reserve room for a job of this network.

        False if the queue, or the network's share of it, is full.
        """
        with self._lock:
            if self._inside.total() >= self._room or self._inside[network] >= self._share:
                return False
            self._inside[network] += 1
            return True

    def leave(self, network: str) -> None:
        """Free the room.  A network without jobs is forgotten."""
        with self._lock:
            self._inside[network] -= 1
            if not self._inside[network]:
                del self._inside[network]
                self._served_at.pop(network, None)

    def put(self, network: str, job: Job) -> None:
        with self._lock:
            self._waiting.append((network, job))

    def take_back(self, network: str, job: Job) -> bool:
        """Remove a job that waits no longer.

        False if it does not wait any more.
        """
        with self._lock:
            if (network, job) not in self._waiting:
                return False
            self._waiting.remove((network, job))
            return True

    def get(self) -> Job | None:
        """The oldest job of the network that was served longest ago.

        A new network goes first.  None if the job was taken back.
        """
        with self._lock:
            if not self._waiting:
                return None
            first = min(self._waiting, key=lambda waiting: self._served_at.get(waiting[0], 0))
            self._waiting.remove(first)
            network, job = first
            self._turn += 1
            self._served_at[network] = self._turn
            return job


class Gate:
    """Runs costly jobs on a few threads of its own.

    So a flood of them blocks nothing else.

    Args:
        slots: jobs that run at once.
        queue: jobs that may wait.
    """

    def __init__(self, slots: int, queue: int) -> None:
        self.room = slots + queue
        self._queue: FairQueue[tuple[Future[Any], Callable[[], Any]]] = FairQueue(self.room)
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="hash", initializer=_lower_priority)
        self._mine = threading.local()

    @contextmanager
    def slot(self, network: str) -> Iterator[None]:
        """Reserve a slot for all jobs of the block.

        Call it before any other work on the request.

        Args:
            network: of the client.

        Raises:
            ApiError: 503 `overloaded` if the queue, or the network's share of it, is full.
        """
        if getattr(self._mine, "has_slot", False):
            yield
            return
        if not self._queue.enter(network):
            raise ApiError(Code.overloaded)
        self._mine.has_slot = True
        try:
            yield
        finally:
            self._mine.has_slot = False
            self._queue.leave(network)

    def run(self, network: str, job: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
        """Run the job and return its result.

        Raises:
            ApiError: 503 `overloaded` if there is no slot, or the job does not start within `WAIT`.
        """
        with self.slot(network):
            load_changed.send(self, waiting=1, running=0)
            future: Future[Result] = Future()
            waiting = (future, partial(job, *args, **kwargs))
            self._queue.put(network, waiting)
            self._pool.submit(self._run_next)
            try:
                return future.result(WAIT)
            except WaitTimeoutError:
                if self._queue.take_back(network, waiting):
                    load_changed.send(self, waiting=-1, running=0)
                    raise ApiError(Code.overloaded) from None
                return future.result()  # it has started, so it ends soon

    def _run_next(self) -> None:
        """Run the job whose turn it is.

        The pool calls this once for each job in the queue.
        """
        if (waiting := self._queue.get()) is None:
            return
        future, job = waiting
        load_changed.send(self, waiting=-1, running=1)
        try:
            finish = partial(future.set_result, job())
        except Exception as error:  # noqa: BLE001 -- the thread that waits raises it
            finish = partial(future.set_exception, error)
        load_changed.send(self, waiting=0, running=-1)
        finish()


def _lower_priority() -> None:
    if sys.platform == "linux":  # where each thread has its own priority
        own = os.getpriority(os.PRIO_PROCESS, 0)
        with suppress(OSError):  # not permitted: hash at the usual priority
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(own, NICENESS))
