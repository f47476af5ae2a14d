"""F3: SIGTERM under load."""

import os
import signal
import time
from collections import Counter

from harness import SLACK, Crowd, ask_once, names_in, new_token, repeat, running

GRACEFUL_TIMEOUT = 30  # seconds
DRAIN_SECONDS = 5


def test_a_stop_breaks_no_answer(tmp_path, figure):
    """Requests sent before the stop are answered; later ones are never cut."""
    url, stops = f"sqlite:///{tmp_path / 'x.db'}", repeat(20, 1)
    seconds, counts, broken, lost = [], Counter(), [], set()
    with running(tmp_path, DATABASE_URL=url, WEB_CONCURRENCY="2") as server:
        for number in range(stops):
            if number:
                server.start()
            with Crowd(server.port, new_token(server.port), writers=4, readers=8) as crowd:
                time.sleep(1)
                told = time.monotonic()
                seconds.append(server.stop())
                assert server.process.returncode == 0
            counts += Counter(crowd.counts())
            lost |= crowd.acknowledged.keys() - names_in(url)
            broken += [a for a in crowd.answers if not a.is_good and (a.began < told or a.failure == "cut" or a.status)]

    figure(
        "F3 stopped under load", stops=stops, answers=dict(counts), broken=len(broken), lost=len(lost),
        slowest_stop=max(seconds),
    )  # fmt: skip
    assert not broken
    assert not lost
    assert max(seconds) < GRACEFUL_TIMEOUT / 2


def test_a_drained_stop_loses_nothing(tmp_path, figure):
    """Clients that leave when /health/ready is 503 get every answer."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with running(tmp_path, DATABASE_URL=url, WEB_CONCURRENCY="2", DRAIN_SECONDS=str(DRAIN_SECONDS)) as server:
        with Crowd(server.port, new_token(server.port), writers=4, readers=8) as crowd:
            time.sleep(1)
            server.process.send_signal(signal.SIGTERM)
            told = time.monotonic()
            while ask_once(server.port, "GET", "/health/ready").status == 200:
                time.sleep(0.01)
            unready_after = time.monotonic() - told
        left_after = time.monotonic() - told
        server.process.wait(timeout=60)
        stopped_after = time.monotonic() - told

    figure("F3 drained under load", answers=crowd.counts(), unready=unready_after, stop=stopped_after)
    assert server.process.returncode == 0
    assert left_after < DRAIN_SECONDS < stopped_after + 0.5
    assert crowd.counts().keys() == {200, 201}
    assert crowd.acknowledged.keys() <= names_in(url)


def test_a_stop_does_not_wait_for_a_starting_worker(tmp_path, figure):
    """A worker that is still importing the application does not delay the stop."""
    with running(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path / 'x.db'}", WEB_CONCURRENCY="2") as server:
        before = server.workers
        os.kill(before[0], signal.SIGKILL)
        while not set(server.workers) - set(before):
            time.sleep(0.01)
        time.sleep(0.1)
        seconds = server.stop()

    figure("F3 stopped while a worker starts", stop=seconds)
    assert server.process.returncode == 0
    assert seconds < 5 * SLACK
