"""Where the metrics are asked for, and the files in which the workers add them up."""

import errno
import importlib
import shutil
import socket
import tempfile
from typing import Any

import gunicorn.sock


def listen_at(server: Any, wanted: tuple[str, int] | None) -> None:
    """Open the metrics' own address, beside those of the service that the command line may have chosen.

    The workers answer there too: a thread of the master would be in the way of its
    forks, and a process of its own would have to be watched over.

    Raises:
        OSError: where it cannot be opened.
    """
    before = server.metrics_listener
    if before in server.LISTENERS and before.getsockname()[:2] != wanted:
        server.LISTENERS.remove(before)
        before.close()
    server.metrics_listener = None
    if wanted is None:
        return
    there = [one for one in server.LISTENERS if one.FAMILY != socket.AF_UNIX and one.getsockname()[1] == wanted[1]]
    # Ours, of before a reload or of a master of before (SIGUSR2); else the command line gave the service that port.
    if there and before not in there and not server.master_pid:
        raise OSError(errno.EADDRINUSE, "the service listens at that port")
    if not there:
        kind = gunicorn.sock.TCP6Socket if ":" in wanted[0] else gunicorn.sock.TCPSocket
        there = [kind(wanted, server.cfg, server.log)]
        server.LISTENERS += there
        server.log.info("Metrics at: %s", there[0])
    folder = server.metrics_folder or tempfile.mkdtemp(prefix="latchkey-metrics-", dir=server.cfg.worker_tmp_dir)
    server.metrics_folder = folder
    server.metrics_listener = there[0]


def forget(server: Any, worker: Any) -> None:
    """How busy a worker was that is no more; what it counted stays."""
    if server.metrics_folder:
        importlib.import_module("prometheus_client.multiprocess").mark_process_dead(worker.place, server.metrics_folder)


def remove_files(server: Any) -> None:
    if server.metrics_folder:
        shutil.rmtree(server.metrics_folder, ignore_errors=True)
