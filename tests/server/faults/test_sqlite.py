"""F6, F7, F8: an SQLite file that is full, locked by somebody else, or read-only."""

import shutil
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
from harness import SLACK, Client, Crowd, assert_sound, names_in, new_token, repeat, running

from support.api import API

BUSY_TIMEOUT = 5  # seconds
WRITERS = 24  # more than other databases have connections: each waits on one of its own
MANY_PAGES = str(2**30)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("sqlite") / "x.db"


@pytest.fixture(scope="module")
def pages(path):
    """The file with the number of pages that the database may have."""
    pages = path.with_name("pages")
    pages.write_text(MANY_PAGES)
    return pages


@pytest.fixture(scope="module")
def server(path, pages):
    url = f"sqlite:///{path}"
    with running(path.parent, DATABASE_URL=url, app="faulty:app", FAULT_PAGES=str(pages)) as server:
        yield server


def statuses(answers):
    return {answer.status for answer in answers}


def slowest(answers):
    return max(answer.seconds for answer in answers)


def test_a_lock_of_somebody_else(server, path, figure):
    """F7: writes wait for the busy timeout and are told to come back; who only reads does not notice."""
    token = new_token(server.port)

    def write():
        with Client(server.port, token) as client:
            return client.write()[1]

    with closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(WRITERS) as pool:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        writes = [pool.submit(write) for _ in range(WRITERS)]
        time.sleep(1)
        with Client(server.port, token) as client:
            reads = [client.get(f"{API}/users/me") for _ in range(20)]
            ready = client.get("/health/ready")
        writes = [future.result() for future in writes]
        time.sleep(max(0, began + repeat(10, 0) - time.monotonic()))
        locked = time.monotonic() - began
        other.execute("ROLLBACK")
    after = write()

    figure(
        "F7 SQLite locked", locked_for=locked, writes=statuses(writes), slowest_write=slowest(writes),
        reads=statuses(reads), slowest_read=slowest(reads), ready=ready.status,
    )  # fmt: skip
    assert statuses(writes) == {503}
    assert all(answer.is_honest for answer in writes)
    assert slowest(writes) < BUSY_TIMEOUT + 1 * SLACK
    assert statuses(reads) == {200}
    assert slowest([*reads, ready]) < 1 * SLACK
    assert ready.is_good
    assert after.is_good


def test_read_only(server, path, tmp_path, figure):
    """F8: reads go on, writes are told to come back, and readiness says that this one should get no traffic."""
    token = new_token(server.port)
    url = f"sqlite:///file:{path}?mode=ro&uri=true"
    with (
        running(tmp_path, DATABASE_URL=url, until="/health/live") as reader,
        Client(reader.port, token) as client,
    ):
        reads = [client.get(path) for path in (f"{API}/users/me", f"{API}/things")]
        writes = [client.write()[1], client.post(f"{API}/auth/logout")]
        ready = client.get("/health/ready")

    figure(
        "F8 SQLite read-only", reads=statuses(reads), writes=statuses(writes), ready=ready.status,
        slowest=slowest([*reads, *writes, ready]),
    )  # fmt: skip
    assert statuses(reads) == {200}
    assert statuses(writes) == {503}
    assert ready.status == 503
    assert all(answer.is_honest for answer in [*writes, ready])


def test_no_page_is_left(server, path, pages, figure):
    """F6: SQLite's own word for a full disk, which it says too where it may not take another page."""

    def fill():
        with closing(sqlite3.connect(path)) as database:
            pages.write_text(str(database.execute("PRAGMA page_count").fetchone()[0]))

    assert_full_and_well(
        "F6 SQLite full, no page left", server, path, fill, lambda: pages.write_text(MANY_PAGES), figure
    )


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs", disk]
    if not mount or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk that is small enough to fill")
    yield disk
    subprocess.run([umount, disk], check=True)


def test_no_byte_is_left(disk, tmp_path, figure):
    """F6: the same on a real disk."""
    filler = disk / "filler"

    def fill():
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    path = disk / "x.db"
    with running(tmp_path, DATABASE_URL=f"sqlite:///{path}") as server:
        assert_full_and_well("F6 SQLite full, no byte left", server, path, fill, filler.unlink, figure)


def assert_full_and_well(fault, server, path, fill, make_room, figure):
    """Reads go on, writes are told to come back, the file stays sound, and all is well once there is room."""
    with Client(server.port) as client:
        client.sign_up()
        fill()
        with Crowd(server.port, client.token, writers=2) as crowd:
            deadline = time.monotonic() + 60
            while 503 not in crowd.counts() and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(repeat(5, 0.5))
            reads = [client.get(f"{API}/users/me") for _ in range(20)]
            ready = client.get("/health/ready")
        make_room()
        _name, after = client.write()
    lost = crowd.acknowledged.keys() - names_in(f"sqlite:///{path}")
    assert_sound(f"sqlite:///{path}")

    figure(
        fault, writes=crowd.counts(), acknowledged=len(crowd.acknowledged), lost=len(lost), reads=statuses(reads),
        slowest=crowd.slowest(), ready=ready.status,
    )  # fmt: skip
    assert crowd.counts().keys() in ({503}, {201, 503})
    assert all(answer.is_honest for answer in crowd.answers)
    assert statuses(reads) == {200}
    assert after.is_good
    assert not lost
