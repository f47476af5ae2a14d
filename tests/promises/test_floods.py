"""Security events in a flood: a few lines a minute, and a count of the others."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from logging import WARNING
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.web import events, logs
from app.web.events import CHANGES, MINUTE, USERS, Flood
from app.web.logs import event_logged
from support.api import API, bearer, error, me, taken_lines

ROOT = Path(__file__).parents[2]
START = 1000 * MINUTE


@pytest.fixture
def clock(monkeypatch):
    """The clock of the logs, which stands still until a test moves it by `clock.pass_by(seconds)`."""
    now = [START]
    monkeypatch.setattr(logs, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def pass_by(seconds):
        now[0] += seconds

    return SimpleNamespace(pass_by=pass_by)


@pytest.fixture
def lines(caplog, clock):
    """Returns the security events since the last call."""
    return lambda: taken_lines(caplog, "app.security")


def forge(client, times=1, address="192.0.2.1", **headers):
    for _ in range(times):
        sent = bearer("forged.to.ken") | headers
        client.get(f"{API}/users/me", headers=sent, environ_overrides={"REMOTE_ADDR": address})


def guess(client, name, address="192.0.2.1"):
    body = {"username": name, "password": "wrong password"}
    return client.post(f"{API}/auth/login", json=body, environ_overrides={"REMOTE_ADDR": address})


def number(lines):
    """How many events the lines stand for."""
    return sum(line.get("count", 1) for line in lines)


class TestRefusals:
    def test_are_one_line_and_a_count(self, client, lines, clock):
        """Of a flood the first event is written, and one line with the number of the others."""
        forge(client, 50)
        [first] = lines()
        clock.pass_by(MINUTE)
        client.get("/health/live")
        [rest] = lines()

        assert first["event"] == rest["event"] == "authn_token_invalid"
        assert "count" not in first
        assert rest["count"] == 49
        assert rest["ip_address"] == "192.0.2.1"
        assert rest["level"] == "WARNING"
        assert rest["message"].endswith("count 49")

    def test_are_one_line_a_minute(self, client, lines, clock):
        """A flood that goes on writes one line a minute."""
        forge(client, 5)
        lines()
        for _ in range(3):
            clock.pass_by(MINUTE)
            forge(client, 5)

        assert [line["count"] for line in lines()] == [4, 5, 5]

    def test_are_written_at_once_after_a_quiet_minute(self, client, lines, clock):
        """The first event after a minute without one is written at once."""
        forge(client, 5)
        for _ in range(2):
            clock.pass_by(MINUTE)
            client.get("/health/live")
        lines()
        forge(client)

        [line] = lines()
        assert "count" not in line

    def test_are_counted_for_each_network_and_event(self, client, lines):
        """Each event of each IPv4 address and each /64 of IPv6 addresses has a line."""
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
            forge(client, 2, address)
        guess(client, "nobody")

        assert [(line["event"], line["ip_address"]) for line in lines()] == [
            ("authn_token_invalid", "192.0.2.1"),
            ("authn_token_invalid", "192.0.2.2"),
            ("authn_token_invalid", "2001:db8::1"),
            ("authn_token_invalid", "2001:db8:0:1::1"),
            ("authn_login_fail", "192.0.2.1"),
        ]

    def test_are_counted_for_each_user(self, client, user, other, lines):
        """The refusals of two users of one network have a line each."""
        lines()
        for account in (user, other, user, other):
            client.get(f"{API}/users", headers=account.headers)

        assert [(line["event"], line["user_id"]) for line in lines()] == [
            ("authz_fail", user.id),
            ("authz_fail", other.id),
        ]

    def test_a_count_has_the_request_id_of_its_event(self, client, lines, clock):
        """The request id of a count is that of the latest event, not of the request that writes it."""
        forge(client, 2, **{"X-Request-ID": "latest"})
        clock.pass_by(MINUTE)
        client.get("/health/live", headers={"X-Request-ID": "another"})

        assert lines()[-1]["request_id"] == "latest"

    def test_spraying_shows(self, client, lines, clock):
        """Guesses at many names are a line each, up to a limit; one count has the others."""
        flood = USERS + 20
        for which in range(flood):
            assert error(guess(client, f"nobody{which}")) == (401, "invalid_credentials")
        found = lines()
        assert len({line["name_hash"] for line in found}) == len(found) == USERS
        clock.pass_by(MINUTE)
        client.get("/health/live")

        [rest] = lines()
        assert (rest["event"], rest["count"], rest["user_id"]) == ("authn_login_fail", 20, None)
        assert "name_hash" not in rest

    def test_hide_no_other_network(self, client, lines):
        """A network that has used its lines up takes none from another one."""
        for which in range(USERS + 5):
            guess(client, f"nobody{which}")
        lines()
        forge(client, address="192.0.2.2")

        assert len(lines()) == 1


class TestChanges:
    def test_a_few_are_written_in_full(self, client, user, admin, lines, clock):
        """The first changes of a minute are written in full, because each says something else."""
        lines()
        for which in range(CHANGES + 5):
            client.patch(f"{API}/users/{user.id}", json={"is_admin": which % 2 == 0}, headers=admin.headers)
        found = lines()
        assert [line["is_admin"] for line in found] == [which % 2 == 0 for which in range(CHANGES)]
        clock.pass_by(MINUTE)
        me(client, user.access_token)

        [rest] = lines()
        assert (rest["event"], rest["count"], rest["user_id"]) == ("authz_change", 5, user.id)

    def test_commands_are_always_written(self, runner, user, lines):
        """Every event of a command is a line."""
        lines()
        for _ in range(CHANGES + 5):
            runner.invoke(args=["users", "promote", "grace"])

        assert len(lines()) == CHANGES + 5


class TestBounds:
    """The events that a process counts in a minute."""

    def event(self, address, user=None):
        return {"event": "authz_fail", "user_id": user, "session_id": None, "ip_address": address}

    @pytest.mark.parametrize("limit", ["GROUPS", "REFUSALS_OF_ALL"])
    def test_networks(self, monkeypatch, limit):
        """A flood from any number of networks has a limited number of groups, and each event counts."""
        monkeypatch.setattr(events, limit, 100)
        flood, sent = Flood(), 5000
        flood.ended(START)
        written = sum(flood.admits(WARNING, self.event(f"192.0.{n % 250}.{n % 7}", n)) for n in range(sent))

        assert written <= 100
        counted = sum(fields["count"] for _level, fields in flood.ended(START + MINUTE))
        assert written + counted == sent
        assert len(flood.groups) <= 101
        for minute in (2, 3):
            assert flood.ended(START + minute * MINUTE) == []
        assert not flood.groups

    def test_threads(self):
        """Threads lose no event and write no line twice."""
        flood, sent = Flood(), 20_000
        flood.ended(0)
        begun = time.perf_counter()

        def refuse(which):
            now = int((time.perf_counter() - begun) * 1000) * MINUTE  # a minute lasts a millisecond
            due = sum(fields["count"] for _level, fields in flood.ended(now))
            return due + flood.admits(WARNING, self.event("192.0.2.1", which % 10))

        with ThreadPoolExecutor(8) as pool:
            found = sum(pool.map(refuse, range(sent)))

        assert found + sum(fields["count"] for _level, fields in flood.ended(sys.maxsize)) == sent


def test_the_signal_has_every_event(app, client, lines):
    """The metrics see the events that are not written."""
    seen = []

    def keep(_app, **members):
        seen.append(members["event"])

    with event_logged.connected_to(keep, sender=app):
        forge(client, 10)

    assert seen == ["authn_token_invalid"] * 10
    assert len(lines()) == 1


def test_below_the_level_nothing_is_kept(app, client, lines, clock):
    """Events below LOG_LEVEL are neither written nor counted."""
    app.logger.setLevel("ERROR")
    try:
        forge(client, 5)
    finally:
        app.logger.setLevel("INFO")
    clock.pass_by(MINUTE)
    client.get("/health/live")

    assert lines() == []


@pytest.mark.programs
def test_a_process_that_ends_writes_its_counts():
    """A worker that stops within the minute writes the counts first."""
    program = """
from wsgi import app

for _ in range(5):
    app.test_client().get("/api/v1/users/me", headers={"Authorization": "Bearer forged"})
"""
    settings = {"APP_ENV": "testing", "LOG_FORMAT": "json", "FLASK_SKIP_DOTENV": "1"}
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=settings, capture_output=True, check=True)

    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line.get("count") for line in found if line["logger"] == "app.security"] == [None, 4]
