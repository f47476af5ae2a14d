"""Whether this process is about to stop: what only the server knows, and tells."""

from typing import Any

flag: Any = bytearray(1)  # in a worker, memory that the master writes


def is_stopping() -> bool:
    """Whether whoever sends requests should send them elsewhere."""
    return bool(flag[0])
