"""Run a long mixed load, and report failures, latency and growth.

    export PYTHONPATH=.:tests
    python bench/soak.py [--minutes 30] [--share 0.5] [--users 1000] [--database postgresql://…]

Four of five requests read: the own account, a page of items, one item. The others create an item or refresh. Each user
has their own tokens. The load first measures for a few seconds how many requests per second the server can handle, and
then sends the given share of that for the given time. It reads memory, open files and threads every ten seconds, and
reports their growth since the end of the first tenth of the time.
"""

import argparse
import json
import os
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from serving import ROOT, Server, serving

from bench import accounts, fill

CONNECTIONS = 32
TRIAL = 10  # seconds
OF_THE_TRIAL = 100  # users
EVERY = 10  # seconds between two readings


class Reading(NamedTuple):
    """The resources of the server's processes."""

    memory_mb: float
    files: int
    threads: int


def read(server: Server) -> Reading:
    every = [server.process, *server.process.children(recursive=True)]
    return Reading(server.use().memory_mb, sum(one.num_fds() for one in every), sum(one.num_threads() for one in every))


def load(server: Server, users: list[dict[str, str]], seconds: float, rate: float | None) -> dict[str, Any]:
    """Send requests at the given rate, or at full speed without one.  Returns the statuses and times."""
    task = {"url": server.url, "connections": CONNECTIONS, "seconds": seconds, "rate": rate, "tokens": users,
            "run": f"{time.time():.0f}"}  # fmt: skip
    program = ["node", ROOT / "bench" / "load" / "soak.mjs"]
    done = subprocess.run(program, input=json.dumps(task), capture_output=True, text=True, check=True)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def soak(server: Server, arguments: argparse.Namespace) -> None:
    with ThreadPoolExecutor(8) as pool:
        users = [user for [user] in pool.map(lambda _: accounts(server, 1), range(OF_THE_TRIAL + arguments.users))]
    for user in users:
        user["fresh"] = user["access"]
    fill(server, users[0]["access"])
    most = load(server, users[:OF_THE_TRIAL], TRIAL, None)  # not used again, because a refresh may have been cut off
    rate = most["answers"] / most["seconds"] * arguments.share
    print(f"Full speed: {most['answers'] / most['seconds']:.0f} requests a second; now {rate:.0f}.", flush=True)

    readings = [read(server)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(EVERY):
            with suppress(psutil.Error):  # a worker was just replaced
                readings.append(read(server))

    watching = threading.Thread(target=watch)
    watching.start()
    before = server.use()
    try:
        seen = load(server, users[OF_THE_TRIAL:], arguments.minutes * 60, rate)
    finally:
        over.set()
        watching.join()
    after = server.use()

    cpu = (after.cpu_s - before.cpu_s) / seen["answers"] * 1000
    answers = ", ".join(f"{status}: {number}" for status, number in seen["statuses"].items())
    print(f"{seen['answers']} answers in {seen['seconds'] / 60:.1f} min: {answers}; unanswered: {seen['unanswered']}")
    print(f"{cpu:.2f} ms CPU, p50 {seen['p50_ms']} ms, p99 {seen['p99_ms']} ms, longest {seen['max_ms']} ms")
    warm, end = readings[len(readings) // 10], readings[-1]
    for name in Reading._fields:
        first, last = getattr(warm, name), getattr(end, name)
        most_of_all = max(getattr(one, name) for one in readings)
        print(f"{name}: {first:.0f}, at the end {last:.0f} ({last / first - 1:+.1%}), at most {most_of_all:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--share", type=float, default=0.5, help="of the requests per second at full speed")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--database", help="a PostgreSQL server on which databases can be created; default: SQLite")
    arguments = parser.parse_args()
    from support.databases import database_on  # noqa: PLC0415 -- part of the tests

    os.environ["JWT_ACCESS_TOKEN_EXPIRES"] = "86400"  # noqa: S105 -- so that no user has to log in again
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(database_on(arguments.database)) if arguments.database else f"sqlite:///{folder}/s.db"
        soak(stack.enter_context(serving("ours", "wsgi:app", url)), arguments)


if __name__ == "__main__":
    main()
