"""F3: the program is told to stop (SIGTERM) while it is at work."""

import os
import signal
import time
from collections import Counter

from harness import SLACK, Crowd, items_in, new_token, repeat, running

GRACEFUL_TIMEOUT = 30  # seconds


def test_a_stop_breaks_no_answer(tmp_path, figure):
    """Whatever was asked before is answered; who comes later may be turned away, and is told so by no half answer."""
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
            lost |= crowd.acknowledged.keys() - items_in(url)
            broken += [a for a in crowd.answers if not a.is_good and (a.began < told or a.failure == "cut" or a.status)]

    figure(
        "F3 stopped under load", stops=stops, answers=dict(counts), broken=len(broken), lost=len(lost),
        slowest_stop=max(seconds),
    )  # fmt: skip
    assert not broken
    assert not lost
    assert max(seconds) < GRACEFUL_TIMEOUT / 2


def test_a_stop_waits_for_no_worker_that_starts(tmp_path, figure):
    """One that imports the application has nothing to finish."""
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
