"""A stop cuts off nobody who has connected."""

import ctypes
import mmap
import select
import signal
import socket
import struct
import time
from contextlib import suppress
from typing import Any

import gunicorn.workers.gthread

LAST_CALL = 0.2  # seconds before the end in which those are accepted who have connected
SO_ATTACH_FILTER = 26  # of Linux
# As of the socket filters of Linux: a segment that asks for a connection (SYN) is lost, every other one comes in.
NO_NEWCOMERS = struct.pack("HBBI" * 4, *(0x30, 0, 0, 13), *(0x45, 0, 1, 0x02), *(0x06, 0, 0, 0), *(0x06, 0, 0, 0xFFFF))


def turn_newcomers_away(listeners: Any) -> None:
    """Let nobody connect any more, but everybody in who has: the workers have time to accept them.

    Closing alone would cut off whoever connects a moment before, perhaps with a
    request that must not be sent twice.  A lost SYN costs its sender a second,
    and then it is refused, and may ask another server.
    """
    program = ctypes.create_string_buffer(NO_NEWCOMERS, len(NO_NEWCOMERS))
    for listener in listeners:
        with suppress(OSError):  # of a system that has no such thing
            filtering = struct.pack("HP", 4, ctypes.addressof(program))
            listener.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filtering)
    time.sleep(LAST_CALL)


def drain_first(server: Any) -> None:
    """SIGTERM makes /health/ready 503 at once; the stop comes DRAIN_SECONDS later, or with the next SIGTERM."""
    server.stopping = mmap.mmap(-1, 1)  # of the master and all workers
    stop = server.handle_term

    def drain_and_stop() -> None:
        again, server.stopping[0] = server.stopping[0], 1
        if again or not server.drain_seconds:
            turn_newcomers_away(server.LISTENERS)
            stop()
        server.log.info("Serving on for %s s, unready", server.drain_seconds)
        signal.signal(signal.SIGALRM, lambda *_: server.signal(signal.SIGTERM, None))
        signal.alarm(server.drain_seconds)

    server.handle_term = drain_and_stop


class Worker(gunicorn.workers.gthread.ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's own, which, when it stops, goes on listening until it has served what it had accepted.

    Whoever connects meanwhile would be cut off unheard.  Accept them, and close.
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
