"""A flood of logins from one network, against a real server with hashes of the usual cost."""

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from statistics import median

import pytest

from support.api import API, PASSWORD
from support.serving import post, serving

USUAL = {"ARGON2_MEMORY_COST": None, "ARGON2_TIME_COST": None}
CONNECTIONS, SECONDS = 140, 6  # more than all workers have threads
# Sends logins of unknown names from 127.0.0.2, and prints the number of each status.
FLOOD = """
import asyncio, json, sys, time
from collections import Counter

port, connections, end, seen = int(sys.argv[1]), int(sys.argv[2]), time.monotonic() + float(sys.argv[3]), Counter()

async def flood(number):
    for attempt in range(10_000_000):
        if time.monotonic() > end:
            return
        body = json.dumps({"username": f"name{number}-{attempt}", "password": "wrong password"})
        head = "POST /api/v1/auth/login HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\nContent-Type:application/json"
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            writer.write(f"{head}\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}".encode())
            seen[(await reader.read())[9:12].decode()] += 1
            writer.close()
        except OSError:
            seen["lost"] += 1

async def main():
    await asyncio.gather(*map(flood, range(connections)))

asyncio.run(main())
print(json.dumps(seen))
"""


@contextmanager
def flooding(port):
    """Flood the server, and yield a Counter that has the statuses afterwards."""
    seen = Counter()
    command = [sys.executable, "-c", FLOOD, str(port), str(CONNECTIONS), str(SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flood:
        yield seen
        seen.update(json.loads(flood.communicate(timeout=60)[0]))


def timed(call):
    began = time.monotonic()
    status = call()
    return status, time.monotonic() - began


def live(port):
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/health/live")
        return connection.getresponse().status


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the address 127.0.0.2 at once")
@pytest.mark.parametrize("limit", ["0", "100"])
def test_a_flood_from_one_network_leaves_room(database, figure, limit):
    """During a flood from one network, each login from another one gets a hash within the second that it may wait."""
    account = {"username": "grace", "password": PASSWORD}
    settings = {"DATABASE_URL": database, "APP_ENV": "testing", "WEB_CONCURRENCY": "2", **USUAL}
    settings["LOG_LEVEL"] = "ERROR"  # nobody reads the log while the server runs
    with serving(LOGIN_ATTEMPTS_PER_NETWORK=limit, **settings) as (port, _process):
        post(port, f"{API}/auth/register", account)
        with flooding(port) as seen:
            time.sleep(2)
            logins = [timed(lambda: post(port, f"{API}/auth/login", account)[0]) for _ in range(8)]
            lives = [timed(lambda: live(port)) for _ in range(20)]

    figure(
        f"a login during a flood, LOGIN_ATTEMPTS_PER_NETWORK={limit}",
        median=median(seconds for _status, seconds in logins),
        slowest=max(seconds for _status, seconds in logins),
        slowest_health_check=max(seconds for _status, seconds in lives),
        flood=dict(seen),
    )
    assert {status for status, _seconds in logins} == {200}
    assert limit == "0" or seen["401"] <= 100
    assert seen["lost"] == 0
