"""The limits of networks, accounts, registrations and new names, and how an operator lifts them."""

from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import update

from app.auth.models import Session
from app.data.base import db
from app.data.types import utcnow
from app.web.errors import ApiError, Code
from support.api import API, PASSWORD, error, log_in

STOPPED = (429, "too_many_attempts")
WRONG = (401, "invalid_credentials")
HERE, ELSEWHERE = "127.0.0.1", "198.51.100.7"


def attempt(client, username="grace", password="wrong", address=HERE):
    body = {"username": username, "password": password}
    return client.post(f"{API}/auth/login", json=body, environ_overrides={"REMOTE_ADDR": address})


def networks(number):
    return [f"10.0.{place // 250}.{place % 250}" for place in range(number)]


def later(**interval):
    return time_machine.travel(utcnow() + timedelta(**interval))


class TestNetwork:
    def test_a_network_may_fail_a_hundred_times(self, client, user):
        """Of 150 guesses at 150 accounts from one network, 100 are checked."""
        answers = [error(attempt(client, f"name{number}")) for number in range(150)]

        assert answers == [WRONG] * 100 + [STOPPED] * 50
        refused = attempt(client, password=PASSWORD)
        assert error(refused) == STOPPED
        assert 1 <= int(refused.headers["Retry-After"]) <= 300
        assert attempt(client, password=PASSWORD, address=ELSEWHERE).status_code == 200

    def test_an_ipv6_network_has_one_count(self, app, client):
        """The addresses of an IPv6 /64 share one count, and other networks have their own."""
        app.config["LOGIN_ATTEMPTS_PER_NETWORK"] = 2

        answers = [error(attempt(client, f"name{n}", address=f"2001:db8::{n}")) for n in range(3)]

        assert answers == [WRONG, WRONG, STOPPED]
        assert error(attempt(client, "name", address="2001:db8:0:1::1")) == WRONG

    def test_the_window_has_300_seconds(self, app, client):
        """After 300 seconds the network may fail again, whatever LOGIN_WINDOW says."""
        app.config |= {"LOGIN_ATTEMPTS_PER_NETWORK": 2, "LOGIN_WINDOW": 7}
        for passed in (0, 301, 602):
            with later(seconds=passed):
                answers = [attempt(client, f"name{number}") for number in range(3)]
            assert [error(answer) for answer in answers] == [WRONG, WRONG, STOPPED]
            assert 295 <= int(answers[2].headers["Retry-After"]) <= 300

    def test_a_success_does_not_count(self, app, client, user):
        """Any number of people may log in from one network, and a success does not excuse failures."""
        app.config["LOGIN_ATTEMPTS_PER_NETWORK"] = 2
        assert error(attempt(client, "nobody")) == WRONG
        for _ in range(5):
            assert attempt(client, password=PASSWORD).status_code == 200
        assert error(attempt(client, "nobody")) == WRONG

        assert error(attempt(client, password=PASSWORD)) == STOPPED

    def test_0_is_no_limit(self, app, client, user):
        """With 0 the network and the account have no limit, but the pair of both has."""
        app.config |= {"LOGIN_ATTEMPTS_PER_NETWORK": 0, "LOGIN_ATTEMPTS_PER_ACCOUNT": 0}

        assert {error(attempt(client, f"name{number}")) for number in range(105)} == {WRONG}
        assert {error(attempt(client, address=address)) for address in networks(105)} == {WRONG}
        assert [error(attempt(client)) for _ in range(6)] == [WRONG] * 5 + [STOPPED]


class TestAccount:
    @pytest.mark.parametrize("username", ["grace", "nobody"])
    def test_an_account_may_fail_a_hundred_times(self, client, user, username):
        """Of 150 guesses at one account from 150 networks, 100 are checked, for an unknown name too."""
        answers = [error(attempt(client, username, address=address)) for address in networks(150)]

        assert answers == [WRONG] * 100 + [STOPPED] * 50
        refused = attempt(client, username, PASSWORD, ELSEWHERE)
        assert error(refused) == STOPPED
        assert refused.headers["Retry-After"] == "300"

    @pytest.fixture
    def locked(self, app, client, user):
        """The user, after as many failures from other networks as the account may have."""
        app.config["LOGIN_ATTEMPTS_PER_ACCOUNT"] = 3
        for address in networks(3):
            assert error(attempt(client, address=address)) == WRONG
        return user

    def test_time_does_not_unlock_it(self, client, locked):
        """A day later the account is still locked."""
        with later(days=1, seconds=1):
            assert error(attempt(client, password=PASSWORD, address=ELSEWHERE)) == STOPPED

    def test_a_network_with_a_session_may_try(self, client, locked):
        """A network from which the account has a session may log in, and that unlocks the account."""
        assert error(attempt(client, password=PASSWORD, address=ELSEWHERE)) == STOPPED

        assert attempt(client, password=PASSWORD).status_code == 200

        assert attempt(client, password=PASSWORD, address=ELSEWHERE).status_code == 200

    def test_a_network_with_a_session_may_not_guess(self, client, locked):
        """A network from which the account has a session may fail as often as any other one."""
        assert [error(attempt(client)) for _ in range(6)] == [WRONG] * 5 + [STOPPED]

    def test_an_ipv6_network_with_a_session_may_try(self, app, client, locked):
        """A session admits its whole IPv6 /64."""
        with app.app_context():
            db.session.execute(update(Session).values(ip_address="2001:db8::1"))
            db.session.commit()

        assert error(attempt(client, password=PASSWORD)) == STOPPED
        assert attempt(client, password=PASSWORD, address="2001:db8::2").status_code == 200

    def test_a_dead_session_admits_nobody(self, app, client, locked):
        """A network from which the account only had a session may not try."""
        with app.app_context():
            db.session.execute(update(Session).values(expires_at=utcnow()))
            db.session.commit()

        assert error(attempt(client, password=PASSWORD)) == STOPPED

    def test_a_session_of_another_user_admits_nobody(self, client, locked, other):
        """A session of another user does not help."""
        client.delete(f"{API}/auth/sessions", headers=locked.headers)

        assert error(attempt(client, password=PASSWORD)) == STOPPED
        assert attempt(client, other.username, PASSWORD).status_code == 200

    def test_one_network_cannot_lock_an_account(self, app, client, user):
        """Refused guesses count nowhere, so one network alone does not lock the account."""
        app.config["LOGIN_ATTEMPTS_PER_ACCOUNT"] = 10

        assert [error(attempt(client)) for _ in range(30)] == [WRONG] * 5 + [STOPPED] * 25
        assert attempt(client, password=PASSWORD, address=ELSEWHERE).status_code == 200

    def test_a_success_resets_the_count(self, client, app, user):
        """Only consecutive failures count."""
        app.config["LOGIN_ATTEMPTS_PER_ACCOUNT"] = 3
        for _ in range(3):
            assert [error(attempt(client, address=address)) for address in networks(2)] == [WRONG] * 2
            assert attempt(client, password=PASSWORD, address=ELSEWHERE).status_code == 200


class TestWindows:
    def exhaust(self, client):
        """Fail until the network is refused, and return the seconds of its window."""
        assert [error(attempt(client)) for _ in range(6)] == [WRONG] * 5 + [STOPPED]
        return int(attempt(client).headers["Retry-After"])

    def test_each_further_window_doubles(self, client, user):
        """Each further window within a day is twice as long, and a day at most."""
        passed, lengths = 0, []
        for _ in range(11):
            with later(seconds=passed):
                lengths.append(self.exhaust(client))
            passed += lengths[-1] + 2
        expected = [300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 76800, 86400, 300]

        assert all(0 <= whole - seconds <= 3 for whole, seconds in zip(expected, lengths, strict=True)), lengths

    def test_after_a_day_the_first_window_returns(self, client, user):
        """A window that begins a day after the last one has LOGIN_WINDOW seconds."""
        self.exhaust(client)
        with later(seconds=310):
            assert 590 <= self.exhaust(client) <= 600
        with later(days=1, seconds=320):
            assert 290 <= self.exhaust(client) <= 300

    def test_a_success_resets_the_windows(self, client, user):
        """After a success the next window has LOGIN_WINDOW seconds again."""
        self.exhaust(client)
        with later(seconds=310):
            assert attempt(client, password=PASSWORD).status_code == 200
            assert 290 <= self.exhaust(client) <= 300

    def test_a_503_does_not_shorten_a_window(self, client, user, monkeypatch):
        """An attempt that ends in 503 leaves the window as long as it is."""
        self.exhaust(client)
        with later(seconds=310):
            with monkeypatch.context() as patch:
                patch.setattr("app.auth.service.verify_password", overloaded)
                assert error(attempt(client)) == (503, "overloaded")
            assert 590 <= self.exhaust(client) <= 600


def overloaded(*_args, **_options):
    raise ApiError(Code.overloaded)


def register(client, username, address=HERE, password=PASSWORD):
    body = {"username": username, "password": password}
    return client.post(f"{API}/auth/register", json=body, environ_overrides={"REMOTE_ADDR": address})


class TestRegistrations:
    def test_twenty_an_hour(self, client):
        """A network may register 20 accounts in an hour, and another one its own."""
        assert [register(client, f"name{number}").status_code for number in range(20)] == [201] * 20

        refused = register(client, "name20")

        assert error(refused) == STOPPED
        assert 3590 <= int(refused.headers["Retry-After"]) <= 3600
        assert register(client, "name21", ELSEWHERE).status_code == 201
        with later(hours=1, seconds=1):
            assert register(client, "name20").status_code == 201

    def test_twenty_taken_names(self, client, user):
        """After 20 taken names a free one gets 429, so that nobody can collect the names."""
        taken = [error(register(client, "grace")) for _ in range(20)]

        assert taken == [(409, "username_taken")] * 20
        assert error(register(client, "free")) == STOPPED

    def test_twenty_bad_names(self, client):
        """After 20 bad names a good one gets 429, and a bad one still 422."""
        bad = (422, "validation_failed")
        assert [error(register(client, "not a name")) for _ in range(21)] == [bad] * 21

        assert error(register(client, "free")) == STOPPED

    def test_a_bad_password_does_not_count(self, client):
        """A bad password is no refused name."""
        for _ in range(21):
            assert error(register(client, "grace", password="short")) == (422, "validation_failed")

        assert register(client, "grace").status_code == 201

    def test_both_are_counted_apart(self, app, client):
        """Registrations do not count as refused ones, nor the other way round."""
        app.config["REGISTRATIONS_PER_NETWORK"] = 2

        answers = [register(client, name).status_code for name in ("grace", "grace", "linus", "linus")]

        assert answers == [201, 409, 201, 429]

    def test_a_503_does_not_count(self, client, app, monkeypatch):
        """A registration that ends in 503 does not count."""
        app.config["REGISTRATIONS_PER_NETWORK"] = 1
        with monkeypatch.context() as patch:
            patch.setattr("app.auth.routes.hash_password", overloaded)
            for _ in range(3):
                assert error(register(client, "grace")) == (503, "overloaded")

        assert register(client, "grace").status_code == 201

    def test_0_is_no_limit(self, app, client):
        """With 0 there is no limit."""
        app.config["REGISTRATIONS_PER_NETWORK"] = 0

        assert {register(client, f"name{number}").status_code for number in range(25)} == {201}
        assert {register(client, "name1").status_code for number in range(25)} == {409}


class TestRenames:
    def rename(self, client, account, name, **headers):
        return client.patch(f"{API}/users/me", json={"username": name}, headers=account.headers | headers)

    def test_five_a_day(self, client, user, other):
        """A user may change the name five times in a day, from any network."""
        assert [self.rename(client, user, f"name{number}").status_code for number in range(5)] == [200] * 5

        refused = self.rename(client, user, "name5")

        assert error(refused) == STOPPED
        assert 86_300 <= int(refused.headers["Retry-After"]) <= 86_400
        assert self.rename(client, other, "name6").status_code == 200

    def test_again_a_day_later(self, client, user):
        """A day later the user may change the name again."""
        for number in range(5):
            assert self.rename(client, user, f"name{number}").status_code == 200
        with later(days=1, seconds=1):
            fresh = log_in(client, "name4")
            assert self.rename(client, fresh, "name5").status_code == 200

    def test_twenty_taken_names(self, client, user, other):
        """After 20 taken names a free one gets 429, so that nobody can collect the names."""
        taken = [error(self.rename(client, user, "linus")) for _ in range(20)]

        assert taken == [(409, "username_taken")] * 20
        assert error(self.rename(client, user, "free")) == STOPPED

    def test_twenty_bad_names(self, client, user):
        """After 20 bad names a good one gets 429, and a bad one still 422."""
        bad = [error(self.rename(client, user, "not a name")) for _ in range(21)]

        assert bad == [(422, "validation_failed")] * 21
        assert error(self.rename(client, user, "free")) == STOPPED

    def test_the_same_name_is_no_change(self, client, user):
        """A request that changes nothing does not count."""
        assert {self.rename(client, user, "grace").status_code for _ in range(6)} == {200}
        assert self.rename(client, user, "hopper").status_code == 200

    def test_a_mismatch_does_not_count(self, client, user):
        """A change that ends in 412 does not count."""
        for _ in range(6):
            refused = self.rename(client, user, "hopper", **{"If-Match": '"another"'})
            assert error(refused) == (412, "precondition_failed")

        assert self.rename(client, user, "hopper").status_code == 200

    def test_the_limit_comes_before_a_mismatch(self, client, user):
        """At the limit the answer is 429, also with a wrong If-Match."""
        for number in range(5):
            assert self.rename(client, user, f"name{number}").status_code == 200

        assert error(self.rename(client, user, "hopper", **{"If-Match": '"another"'})) == STOPPED


class TestUnlock:
    def test_clears_the_counters_of_the_account(self, app, client, runner, user, other):
        """`flask users unlock` clears the failures of the account from all networks, and no others."""
        app.config["LOGIN_ATTEMPTS_PER_ACCOUNT"] = 6
        for username in ("grace", "linus"):
            assert {error(attempt(client, username, address=ELSEWHERE)) for _ in range(5)} == {WRONG}
            assert error(attempt(client, username, address="192.0.2.1")) == WRONG
            assert error(attempt(client, username, PASSWORD, "192.0.2.2")) == STOPPED

        result = runner.invoke(args=["users", "unlock", "Grace"])

        assert (result.exit_code, result.stdout) == (0, "Grace may try to log in again.\n")
        assert attempt(client, "grace", PASSWORD, "192.0.2.2").status_code == 200
        assert attempt(client, "grace", PASSWORD, ELSEWHERE).status_code == 200
        assert error(attempt(client, "linus", PASSWORD, "192.0.2.2")) == STOPPED

    def test_an_unknown_name(self, runner, user):
        """An unknown name fails with one line."""
        result = runner.invoke(args=["users", "unlock", "nobody"])

        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "There is no user nobody." in result.stderr
