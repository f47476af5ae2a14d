"""The address of the metrics, and the workers' metric files."""

import errno
import importlib
import shutil
import socket
import tempfile
from typing import Any

import gunicorn.sock


def listen_at(server: Any, wanted: tuple[str, int] | None) -> None:
    """Open the address of the metrics, besides those of the service.

    The command line may set the service's addresses. The workers serve this one too,
    because a thread in the master would disturb its forks, and a separate process
    would need supervision.

    Raises:
        OSError: the address cannot be opened.
    """
    current = server.metrics_listener
    if current in server.LISTENERS and current.getsockname()[:2] != wanted:
        server.LISTENERS.remove(current)
        current.close()
    server.metrics_listener = None
    if wanted is None:
        return
    listeners = [
        listener
        for listener in server.LISTENERS
        if listener.FAMILY != socket.AF_UNIX and listener.getsockname()[1] == wanted[1]
    ]
    # A listener at this port is ours from before a reload, or from the previous master (SIGUSR2). Otherwise the command
    # line gave this port to the service.
    if listeners and current not in listeners and not server.master_pid:
        raise OSError(errno.EADDRINUSE, "the service already uses this port")
    if not listeners:
        kind = gunicorn.sock.TCP6Socket if ":" in wanted[0] else gunicorn.sock.TCPSocket
        listeners = [kind(wanted, server.cfg, server.log)]
        server.LISTENERS += listeners
        server.log.info("Metrics at: %s", listeners[0])
    folder = server.metrics_folder or tempfile.mkdtemp(prefix="gunicorn-metrics-", dir=server.cfg.worker_tmp_dir)
    server.metrics_folder = folder
    server.metrics_listener = listeners[0]


def forget(server: Any, worker: Any) -> None:
    """Remove a dead worker's gauges.  Its counters stay."""
    if server.metrics_folder:
        importlib.import_module("prometheus_client.multiprocess").mark_process_dead(
            worker.worker_index, server.metrics_folder
        )


def remove_files(server: Any) -> None:
    if server.metrics_folder:
        shutil.rmtree(server.metrics_folder, ignore_errors=True)
