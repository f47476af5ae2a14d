"""F1, F2: processes are killed during writes."""

import os
import random
import signal
import time

import pytest
from harness import SLACK, Crowd, assert_sound, names_in, new_token, repeat, running

from support.databases import fresh_beside

WRITERS = 8
CHANCE = random.SystemRandom()


@pytest.fixture(scope="module")
def url(database, tmp_path_factory):
    with fresh_beside(database, tmp_path_factory.mktemp("killed")) as url:
        yield url


@pytest.fixture(scope="module")
def server(url, tmp_path_factory):
    with running(tmp_path_factory.mktemp("server"), DATABASE_URL=url, WEB_CONCURRENCY="2") as server:
        yield server


def kind(url):
    return url.partition(":")[0]


def test_no_write_is_lost_with_a_worker(server, url, figure):
    """F1: after random kills of workers, every acknowledged item exists."""
    kills, outages = repeat(60, 3), []
    with Crowd(server.port, new_token(server.port), writers=WRITERS) as crowd:
        for _ in range(kills):
            time.sleep(CHANCE.uniform(0.3, 1.0))
            os.kill(CHANCE.choice(server.workers), signal.SIGKILL)
            outages.append(server.first_good_answer(time.monotonic()))
    lost = crowd.acknowledged.keys() - names_in(url)
    assert_sound(url)

    figure(
        f"F1 workers killed, {kind(url)}", kills=kills, acknowledged=len(crowd.acknowledged), lost=len(lost),
        slowest_recovery=max(outages), answers=crowd.counts(),
    )  # fmt: skip
    assert not lost
    assert crowd.acknowledged
    assert crowd.counts().keys() <= {201, "reset", "refused", "cut"}
    assert max(outages) < 3 * SLACK


def test_no_write_is_lost_with_everything(server, url, figure):
    """F2: after a kill of all processes, every acknowledged item exists."""
    kills, outages, acknowledged, lost = repeat(20, 1), [], 0, set()
    for _ in range(kills):
        with Crowd(server.port, new_token(server.port), writers=WRITERS) as crowd:
            time.sleep(CHANCE.uniform(0.5, 1.5))
            server.kill_everything()
        outages.append(server.start())
        assert_sound(url)
        acknowledged += len(crowd.acknowledged)
        lost |= crowd.acknowledged.keys() - names_in(url)

    figure(
        f"F2 everything killed, {kind(url)}", kills=kills, acknowledged=acknowledged, lost=len(lost),
        slowest_start=max(outages),
    )  # fmt: skip
    assert not lost
    assert acknowledged
    assert max(outages) < 3 * SLACK
