"""Measure the server beside a bare Flask and the usual tutorial code.

    make bench                        # SQLite, and the PostgreSQL of the tests
    export PYTHONPATH=.:tests
    python bench/bench.py --quick     # one round, concurrency 8
    python bench/bench.py --database postgresql://… --out bench/results

There are three servers: `bare` is a Flask that answers {"ok": true}, `ours` is this application, and `plain` does the
same work in the style of the tutorials (bench/plain.py). All run under gunicorn with the same workers and threads.

The first figure is the CPU time per request of the server's processes, as the kernel counts it. Other work on the
machine hardly changes it. It does not include the database server. Logins are also compared with the number of
passwords that the cores verify without a server.

Each round measures every server in turn. The output shows the median, the lowest and the highest round.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from argon2id import hashes_per_second
from picture import draw
from serving import ROOT, Server, serving

OPERATIONS = ("login", "me", "list", "create", "refresh")
CONCURRENCY = (1, 8, 32)
PASSWORD = "correct horse battery"  # noqa: S105 -- the server runs for a minute only
GOALS = {"me": 3.0, "list": 4.5, "create": 4.5, "refresh": 5.0}  # times the CPU of `bare`, at concurrency 8, on SQLite
MORE_ON_POSTGRESQL = 0.5
FIGURES = ("cpu_ms", "per_second", "p50_ms", "p99_ms", "memory_mb")


def post(server: Server, path: str, body: dict[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{server.url}/api/v1/auth/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        answered: dict[str, Any] = json.load(answer)
        return answered


def accounts(server: Server, number: int) -> list[dict[str, str]]:
    """Register new users, each with their own tokens."""
    made = []
    for _ in range(number):
        account = {"username": f"user{uuid.uuid4().hex[:12]}", "password": PASSWORD}
        tokens = post(server, "register", account)
        made.append({**account, "access": tokens["access_token"], "refresh": tokens["refresh_token"]})
    return made


def log_in_anew(server: Server, users: list[dict[str, str]]) -> None:
    for user in users:
        tokens = post(server, "login", {"username": user["username"], "password": PASSWORD})
        user |= {"access": tokens["access_token"], "refresh": tokens["refresh_token"]}


def measure(
    server: Server, operation: str, connections: int, seconds: float, tokens: list[dict[str, str]]
) -> dict[str, Any]:
    """Run one round of one operation."""
    if operation in ("refresh", "create"):
        log_in_anew(server, tokens[:connections] if operation == "refresh" else tokens[:1])
    task = {
        "url": server.url,
        "operation": operation,
        "connections": connections,
        "seconds": seconds,
        "tokens": tokens,
        "run": uuid.uuid4().hex[:8],
    }
    before = server.use()
    program = ["node", ROOT / "bench" / "load" / "load.mjs"]
    done = subprocess.run(program, input=json.dumps(task), capture_output=True, text=True, check=True)
    after = server.use()
    load = json.loads(done.stdout)
    return {
        "cpu_ms": (after.cpu_s - before.cpu_s) / max(load["good"], 1) * 1000,
        "per_second": load["good"] / load["seconds"],
        "p50_ms": load["p50_ms"],
        "p99_ms": load["p99_ms"],
        "memory_mb": after.memory_mb,
        "bad": load["bad"],
    }


@contextmanager
def databases(given: str | None) -> Iterator[dict[str, tuple[str, str]]]:
    """The URLs for `plain` and `ours`, by kind of database."""
    from support.databases import database_on, fresh_database  # noqa: PLC0415 -- part of the tests

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = {"sqlite": (f"sqlite:///{folder}/plain.db", f"sqlite:///{folder}/ours.db")}
        plain, ours = (
            stack.enter_context(database_on(given) if given else fresh_database("postgresql", folder)) for _ in range(2)
        )
        urls["postgresql"] = (plain.replace("postgresql://", "postgresql+psycopg://", 1), ours)
        yield urls


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    rounds, levels = (1, (8,)) if arguments.quick else (arguments.rounds, CONCURRENCY)
    results = []
    with ExitStack() as stack:
        bare = stack.enter_context(serving("bare", "bench.bare:app"))
        for kind, (plain_url, our_url) in stack.enter_context(databases(arguments.database)).items():
            with ExitStack() as pair:
                servers = [
                    pair.enter_context(serving("plain", "bench.plain:app", plain_url)),
                    pair.enter_context(serving("ours", "wsgi:app", our_url)),
                ]
                users = {server.name: accounts(server, max(levels)) for server in servers}
                fill(servers[1], users["ours"][0]["access"])
                for operation, level in product(arguments.operations, levels):
                    found: dict[str, list[dict[str, Any]]] = {}
                    for _ in range(rounds):
                        for server in servers:
                            one = measure(server, operation, level, arguments.seconds, users[server.name])
                            found.setdefault(server.name, []).append(one)
                        found.setdefault("bare", []).append(measure(bare, "bare", level, arguments.seconds, []))
                        if operation == "login":
                            found.setdefault("argon2", []).append({"per_second": hashes_per_second(arguments.seconds)})
                    results += [row(kind, operation, level, name, found) for name in ("bare", "plain", "ours")]
                    for result in results[-3:]:
                        print(line(result), flush=True)
    return results


def fill(server: Server, token: str) -> None:
    """Create as many items as `plain` has."""
    for number in range(30):
        request = urllib.request.Request(
            f"{server.url}/api/v1/items",
            json.dumps({"name": f"Item {number} {uuid.uuid4()}", "price": "1.00"}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        urllib.request.urlopen(request, timeout=10).close()


def row(kind: str, operation: str, level: int, name: str, found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    ours = found[name]
    spread = {figure: sorted(one[figure] for one in ours) for figure in FIGURES}
    limit = statistics.median(one["cpu_ms"] for one in found["bare"])
    return {
        "database": kind,
        "operation": operation,
        "concurrency": level,
        "server": name,
        **{figure: round(statistics.median(values), 3) for figure, values in spread.items()},
        "cpu_ms_spread": [round(spread["cpu_ms"][0], 3), round(spread["cpu_ms"][-1], 3)],
        "times_bare": round(statistics.median(spread["cpu_ms"]) / limit, 2),
        "bad": sum(one["bad"] for one in ours),
        **({"of_argon2": share_of_argon2(found, name)} if operation == "login" else {}),
    }


def share_of_argon2(found: dict[str, list[dict[str, Any]]], name: str) -> float:
    """Logins per second, divided by the rate of Argon2 alone."""
    logins, hashes = (statistics.median(one["per_second"] for one in found[server]) for server in (name, "argon2"))
    return round(logins / hashes, 3)


def line(result: dict[str, Any]) -> str:
    lowest, highest = result["cpu_ms_spread"]
    text = (
        f"{result['database']:10} {result['operation']:8} {result['concurrency']:3} {result['server']:8} "
        f"{result['cpu_ms']:8.2f} ms CPU ({lowest:.2f}-{highest:.2f}) {result['times_bare']:6.2f} x "
        f"{result['per_second']:8.0f}/s  p50 {result['p50_ms']:6.0f}  p99 {result['p99_ms']:6.0f} ms  "
        f"{result['memory_mb']:5.0f} MB"
    )
    goal = GOALS.get(result["operation"])
    if goal and result["server"] == "ours" and result["concurrency"] == 8:  # noqa: PLR2004
        goal += MORE_ON_POSTGRESQL if result["database"] == "postgresql" else 0
        text += f"  {'reaches' if result['times_bare'] <= goal else 'MISSES'} {goal} x"
    if "of_argon2" in result and result["server"] != "bare":
        text += f"  {result['of_argon2']:.0%} of Argon2 alone"
    return text + (f"  {result['bad']} FAILED" if result["bad"] else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, concurrency 8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--operations", nargs="+", choices=OPERATIONS, default=OPERATIONS)
    parser.add_argument("--database", help="a PostgreSQL server on which databases can be created")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    arguments = parser.parse_args()
    results = run(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results, arguments.out / "bench.png")
    print(f"Wrote {arguments.out}/bench.json and bench.png.")


if __name__ == "__main__":
    main()
