"""Whether the server is about to stop.  gunicorn.conf.py sets the flag."""

from typing import Any

flag: Any = bytearray(1)  # in a worker: shared memory that the master writes


def is_stopping() -> bool:
    """Whether a load balancer should use another server."""
    return bool(flag[0])
