"""The access log: one line per request, except in a flood of refusals."""

import logging
from types import SimpleNamespace

import pytest

from app.web import logs
from app.web.logs import FULL_LINES, ONE_OF, Sampler
from support.api import API, taken_lines


def stop_clock(monkeypatch, now):
    monkeypatch.setattr(logs, "time", SimpleNamespace(perf_counter=lambda: now))


@pytest.fixture
def lines(caplog, monkeypatch):
    """Returns the access lines since the last call.  The clock of the sampler is stopped."""
    stop_clock(monkeypatch, 1000.0)
    return lambda: taken_lines(caplog, "app.access")


@pytest.fixture(autouse=True)
def _new_sampler(app):
    app.extensions["log_sampler"] = Sampler()


class TestFlood:
    def test_writes_a_few_lines_and_a_count(self, client, lines):
        """Lines and left-out counts add up to the number of requests."""
        flood = FULL_LINES + 3 * ONE_OF + 7
        for number in range(flood):
            client.get(f"/nowhere/{number}")
        client.get("/health/live")

        found = lines()
        assert len(found) == FULL_LINES + 3 + 1
        assert [line["left_out"] for line in found if "left_out" in line] == [ONE_OF - 1] * 3 + [7]
        assert len(found) + sum(line.get("left_out", 0) for line in found) == flood + 1
        assert found[-1]["message"].endswith("ms, 7 refusals left out")

    def test_the_next_second_starts_a_new_count(self, client, lines, monkeypatch):
        """A refusal in the next second is logged, with the count of those left out."""
        for _ in range(FULL_LINES + 5):
            client.get("/nowhere")
        stop_clock(monkeypatch, 1001.0)
        client.get("/nowhere")

        assert lines()[-1]["left_out"] == 5

    def test_other_statuses_are_never_left_out(self, app, client, lines, monkeypatch):
        """During a flood of refusals, every 200 and every 500 is logged."""
        monkeypatch.setitem(app.view_functions, "system.show_index", lambda: 1 / 0)
        for _ in range(FULL_LINES + ONE_OF):
            client.get("/nowhere")
        lines()
        for _ in range(FULL_LINES + 5):
            client.get("/nowhere")
            client.get("/health/live")
            client.get("/")

        statuses = [line["status"] for line in lines()]
        assert statuses.count(200) == statuses.count(500) == FULL_LINES + 5

    def test_level_error_writes_no_line(self, app, client, lines):
        """At the level ERROR a refusal writes no line."""
        app.logger.setLevel(logging.ERROR)
        try:
            client.get("/nowhere")
        finally:
            app.logger.setLevel(logging.INFO)

        assert lines() == []


def test_a_line_names_the_user_and_the_route(client, user, lines):
    """A line has the ids of user and session and the rule of the route."""
    client.get(f"{API}/users/{user.id}", headers=user.headers)

    line = lines()[-1]
    assert (line["method"], line["status"]) == ("GET", 200)
    assert line["route"] == f"{API}/users/<int:user_id>"
    assert line["user_id"] == user.id
    assert len(line["session_id"]) == 36
    assert line["duration_ms"] >= 0
    assert "left_out" not in line
    assert "trace_id" not in line
