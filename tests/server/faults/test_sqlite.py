"""F6, F7, F8: an SQLite file is full, locked or read-only."""

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
WRITERS = 24  # more than the 16 connections of other databases, because SQLite has one per thread
MANY_PAGES = str(2**30)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("sqlite") / "x.db"


@pytest.fixture(scope="module")
def pages(path):
    """The file that sets the maximum number of pages of the database."""
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


def test_locked(server, path, figure):
    """F7: during a lock, reads succeed and writes get 503."""
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
    """F8: on a read-only database, reads succeed; writes and readiness get 503."""
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
    """F6: at the page limit of SQLite, reads succeed and writes get 503."""

    def fill():
        with closing(sqlite3.connect(path)) as database:
            pages.write_text(str(database.execute("PRAGMA page_count").fetchone()[0]))

    assert_full_and_well(
        "F6 SQLite full, no page left", server, path, fill, lambda: pages.write_text(MANY_PAGES), figure
    )


@pytest.fixture
def disk(tmp_path):
    """A small file system."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs", disk]
    if not mount or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk that is small enough to fill")
    yield disk
    subprocess.run([umount, disk], check=True)


def test_no_byte_is_left(disk, tmp_path, figure):
    """F6: on a full disk, reads succeed and writes get 503."""
    filler = disk / "filler"

    def fill():
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    path = disk / "x.db"
    with running(tmp_path, DATABASE_URL=f"sqlite:///{path}") as server:
        assert_full_and_well("F6 SQLite full, no byte left", server, path, fill, filler.unlink, figure)


def assert_full_and_well(fault, server, path, fill, make_room, figure):
    """Assert that reads succeed, writes get 503, and no acknowledged write is lost."""
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
