"""Stop without losing accepted requests."""

import mmap
import select
import signal
from typing import Any

import gunicorn.workers.gthread


def drain_first(server: Any) -> None:
    """Stop DRAIN_SECONDS after SIGTERM.  A second SIGTERM stops at once.

    Meanwhile, /health/ready answers 503.
    """
    server.stopping = mmap.mmap(-1, 1)  # shared by the master and all workers
    stop = server.handle_term

    def drain_and_stop() -> None:
        is_repeated, server.stopping[0] = server.stopping[0], 1
        if is_repeated or not server.drain_seconds:
            stop()
        server.log.info("Draining for %s s: still serving, not ready", server.drain_seconds)
        signal.signal(signal.SIGALRM, lambda *_: server.signal(signal.SIGTERM, None))
        signal.alarm(server.drain_seconds)

    server.handle_term = drain_and_stop


class Worker(gunicorn.workers.gthread.ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """Accept the connections in the backlog before a stop closes the port.

    gunicorn's worker stops accepting but keeps the port open until its last answer,
    up to `graceful_timeout`. Clients that connect in that time are reset.
    """

    sockets: list[Any]

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 -- gunicorn's signature
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                while select.select([listener.fileno()], [], [], 0)[0]:
                    self.accept(listener)
                listener.close()
            self.sockets = []
