"""The costs of hashes with different parameters.

A refused login must cost the same whatever hash is stored, or its time tells which names exist.
"""

import threading
from typing import NamedTuple

from app.users.gate import cores

MIN_MEMORY = 8  # KiB for each lane: the minimum of Argon2 (RFC 9106 section 3.1)
USUAL_MEMORY = 16 * 1024  # KiB


class Cost(NamedTuple):
    """The parameters of a hash that decide about its time."""

    memory: int  # KiB
    passes: int
    lanes: int

    @property
    def work(self) -> int:
        """KiB that one core processes, because lanes run at the same time."""
        return self.memory * self.passes // min(self.lanes, cores())


def cost_of_work(work: int) -> Cost:
    """The cost of that much work in little memory.

    Args:
        work: KiB that one core processes.
    """
    memory = max(MIN_MEMORY, min(work, USUAL_MEMORY))
    return Cost(memory, -(-work // memory), 1)


class Dearest:
    """The dearest hash among the configured one and those met so far."""

    def __init__(self, configured: Cost) -> None:
        self.cost = configured
        self._lock = threading.Lock()
        self._is_searched = False

    def is_search_due(self) -> bool:
        """Whether the stored hashes were not searched yet.  True once."""
        with self._lock:
            was_searched, self._is_searched = self._is_searched, True
        return not was_searched

    def meet(self, cost: Cost) -> None:
        with self._lock:
            self.cost = max(self.cost, cost, key=lambda known: known.work)

    def beyond(self, spent: Cost | None) -> Cost | None:
        """The cost that a refusal must still spend after a hash.

        None if the hash cost enough.

        Args:
            spent: None where nothing was hashed.
        """
        whole = self.cost
        if spent is None:
            return whole
        left = whole.work - spent.work
        if left < MIN_MEMORY:
            return None
        passes = -(-left // whole.memory)
        return Cost(left // passes, passes, 1)
