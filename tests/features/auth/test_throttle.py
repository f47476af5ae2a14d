"""Failed logins: how they are counted, for whom, and when they are forgotten."""

import re
from datetime import timedelta
from itertools import repeat

import pytest
import time_machine
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from app.auth.models import FailedLogin
from app.auth.service import Account
from app.auth.throttle import attempt_key
from app.data.base import db
from app.data.expiry import expired_batches
from app.data.types import utcnow
from app.users import passwords
from app.users.models import User
from app.web.errors import ApiError, Code
from support.api import API, PASSWORD, count, error, log_in, refresh, sign_up

STOPPED = (429, "too_many_attempts")
WRONG = (401, "invalid_credentials")


def attempt(client, username="grace", password="wrong", address="192.0.2.1"):
    return client.post(
        f"{API}/auth/login",
        json={"username": username, "password": password},
        environ_overrides={"REMOTE_ADDR": address},
    )


def exhaust(client, **who):
    for _ in range(5):
        assert error(attempt(client, **who)) == WRONG


class TestLimit:
    @pytest.mark.parametrize("username", ["grace", "nobody"])
    def test_after_five_failures_the_right_password_does_not_help(self, client, user, username):
        """429 with the seconds to wait, and the same for a name that nobody has."""
        exhaust(client, username=username)

        response = attempt(client, username=username, password=PASSWORD)

        assert error(response) == STOPPED
        assert 290 <= int(response.headers["Retry-After"]) <= 300

    def test_another_spelling_is_the_same_name(self, client, user):
        """Else every case would have five tries of its own."""
        for username in ("grace", "Grace", "GRACE", "gRace", "ＧＲＡＣＥ"):
            assert error(attempt(client, username=username)) == WRONG

        assert error(attempt(client)) == STOPPED

    @pytest.mark.parametrize("spelling", ["grace ", " grace", "grace   "])
    def test_a_name_with_blanks_is_another_name(self, app, client, user, spelling):
        """Nobody's: on MariaDB too, which finds a row by it, and which would begin a new count for each."""
        assert error(attempt(client, username=spelling, password=PASSWORD)) == WRONG
        assert attempt(client, password=PASSWORD).status_code == 200

    def test_a_rename_begins_no_new_count(self, client, user):
        """Whoever holds a stolen token guesses the password no faster for it."""
        change = {"current_password": "wrong", "new_password": "another long one"}
        for number in range(5):
            renamed = client.patch(f"{API}/users/me", json={"username": f"grace{number}"}, headers=user.headers)
            assert renamed.status_code == 200
            assert error(client.put(f"{API}/auth/password", json=change, headers=user.headers)) == WRONG

        assert error(client.put(f"{API}/auth/password", json=change, headers=user.headers)) == STOPPED

    def test_the_owner_gets_in_from_elsewhere(self, client, user):
        """Whoever guesses locks out nobody but himself."""
        exhaust(client)

        assert attempt(client, password=PASSWORD, address="198.51.100.7").status_code == 200
        assert error(attempt(client, password=PASSWORD)) == STOPPED

    def test_one_account_does_not_count_for_another(self, client, user, other):
        """Behind one address there may be a whole office."""
        exhaust(client)

        assert attempt(client, username=other.username, password=PASSWORD).status_code == 200

    @pytest.mark.parametrize(
        ("one", "two", "same"),
        [
            ("2001:db8::1", "2001:db8::2", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("192.0.2.1", "::ffff:192.0.2.1", True),
            ("192.0.2.1", "64:ff9b::192.0.2.1", True),
            ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", False),
            ("192.0.2.1", "192.0.2.2", False),
            (None, "nonsense", True),
            ("192.0.2.1", "nonsense", False),
        ],
    )
    def test_an_address_is_what_one_subscriber_has(self, one, two, same):
        """Of IPv6 that is a network; and all that is no address is one."""
        assert (attempt_key("grace", one) == attempt_key("grace", two)) is same

    def test_a_success_forgets_the_failures(self, app, client, user):
        """As often as it happens."""
        for _ in range(3):
            for _ in range(4):
                assert error(attempt(client)) == WRONG
            assert attempt(client, password=PASSWORD).status_code == 200
        assert count(app, FailedLogin) == 0

    def test_the_count_begins_anew_when_its_time_is_over(self, client, user):
        """Retry-After says when, and refused tries do not put it off."""
        exhaust(client)
        with time_machine.travel(utcnow() + timedelta(seconds=250)):
            seconds = int(attempt(client).headers["Retry-After"])
            assert 45 <= seconds <= 50
        with time_machine.travel(utcnow() + timedelta(seconds=301)):
            exhaust(client)
            assert error(attempt(client)) == STOPPED

    def test_settings_say_how_many_and_how_long(self, another, user):
        """LOGIN_ATTEMPTS and LOGIN_WINDOW."""
        client = another(LOGIN_ATTEMPTS=1, LOGIN_WINDOW=7).test_client()
        assert error(attempt(client)) == WRONG

        response = attempt(client)

        assert error(response) == STOPPED
        assert int(response.headers["Retry-After"]) <= 7

    def test_every_way_to_give_a_password_shares_the_count(self, client, user):
        """Login, fresh login, and the current password of a change."""
        change = {"current_password": "wrong", "new_password": "another long one"}
        wrong = {"username": "grace", "password": "wrong"}
        ways = [
            lambda: client.post(f"{API}/auth/login", json=wrong),
            lambda: client.post(f"{API}/auth/fresh-login", json=wrong),
            lambda: client.put(f"{API}/auth/password", json=change, headers=user.headers),
        ]
        for way in (*ways, *ways[:2]):
            assert error(way()) == WRONG

        for way in ways:
            assert error(way()) == STOPPED

    def test_sessions_go_on_meanwhile(self, client, user):
        """Only passwords are not taken."""
        exhaust(client, address="127.0.0.1")

        assert client.get(f"{API}/users/me", headers=user.headers).status_code == 200
        assert refresh(client, user.refresh_token).status_code == 200

    def test_a_try_that_we_could_not_make_does_not_count(self, app, client, user, monkeypatch):
        """503, as often as it happens."""

        def overloaded(*_args):
            raise ApiError(Code.overloaded)

        with monkeypatch.context() as patch:
            patch.setattr("app.auth.service.verify_password", overloaded)
            for _ in range(7):
                assert error(attempt(client)) == (503, "overloaded")
            assert count(app, FailedLogin) == 0  # whoever floods us fills no table
            assert error(attempt(client)) == (503, "overloaded")
        for _ in range(3):
            assert error(attempt(client)) == WRONG
        with monkeypatch.context() as patch:
            patch.setattr("app.auth.service.verify_password", overloaded)
            assert error(attempt(client)) == (503, "overloaded")
        for _ in range(2):
            assert error(attempt(client)) == WRONG
        assert error(attempt(client)) == STOPPED

    def test_is_counted_where_the_database_gives_no_row_back(self, app, client, user, monkeypatch):
        """SQLite does from 3.35, MySQL never."""
        with app.app_context():
            monkeypatch.setattr(db.engine.dialect, "insert_returning", False)
        exhaust(client)

        assert error(attempt(client)) == STOPPED

    @pytest.mark.parametrize("fault", [ApiError(Code.overloaded), OperationalError("INSERT", {}, Exception("locked"))])
    def test_neither_does_one_that_was_right(self, client, user, monkeypatch, fault):
        """Whatever fails behind the password is not the owner's fault."""

        def fail(*_args, **_options):
            raise fault

        change = {"current_password": PASSWORD, "new_password": "another long one"}
        with monkeypatch.context() as patch:
            patch.setattr("app.auth.routes.start_login", fail)
            patch.setattr("app.auth.service.hash_password", fail)
            for _ in range(7):
                assert attempt(client, password=PASSWORD).status_code == 503
                assert client.put(f"{API}/auth/password", json=change, headers=user.headers).status_code == 503
        assert attempt(client, password=PASSWORD).status_code == 200

    def test_no_transaction_is_open_while_a_password_is_hashed(self, client, user, monkeypatch):
        """On SQLite it would stop every writer, elsewhere it would hold a connection that others need."""
        seen = []

        def watch(function):
            def watched(*args):
                seen.append(db.session().in_transaction())
                return function(*args)

            return watched

        for name in ("verify_password", "hash_password"):
            monkeypatch.setattr(f"app.auth.service.{name}", watch(getattr(passwords, name)))
        change = {"current_password": PASSWORD, "new_password": "another long one"}

        assert client.put(f"{API}/auth/password", json=change, headers=user.headers).status_code == 200
        assert seen == [False, False]

    def test_the_table_tells_nobody_who_was_tried(self, app, client):
        """Neither the name, which may be a password typed into the wrong field, nor the address."""
        attempt(client, username="hunter2hunter2")

        with app.app_context():
            [key] = db.session.scalars(select(FailedLogin.key))
        assert key == attempt_key("name hunter2hunter2", "192.0.2.1")
        assert re.fullmatch("[0-9a-f]{64}", key)

    def test_counting_is_one_statement(self, app, client, user):
        """Neither read first and written then, nor written twice."""
        statements = []

        def note(_connection, _cursor, statement, *_rest):
            statements.append(statement)

        with app.app_context():
            engine = db.engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            attempt(client)
            attempt(client)
        finally:
            event.remove(engine, "before_cursor_execute", note)

        writes = [text for text in statements if "failed_logins" in text and not text.startswith("SELECT")]
        assert [text.split()[0] for text in writes] == ["INSERT", "INSERT"]


def test_an_account_shows_no_hash():
    """Wherever one is written down: in a log, in a trace."""
    account = Account(id=0, password_hash="secret")

    assert repr(account) == "<Account 0>"


class TestPrune:
    def test_counters_clear_themselves(self, app, client, user):
        """New ones take expired ones away, so that guessing names fills no table."""
        for number in range(8):
            attempt(client, username=f"nobody{number}")
        assert count(app, FailedLogin) == 8

        with time_machine.travel(utcnow() + timedelta(seconds=301)):
            for number in range(8):
                attempt(client, username=f"somebody{number}")
            assert count(app, FailedLogin) == 8

    def test_a_login_takes_some_away(self, app, client, user):
        """A login deletes the expired counters of others; `expired_batches` leaves the living ones."""
        for number in range(3):
            attempt(client, username=f"nobody{number}")

        with time_machine.travel(utcnow() + timedelta(seconds=301)):
            log_in(client, user.username)
            assert count(app, FailedLogin) == 0
            attempt(client)
            with app.app_context():
                assert list(expired_batches(repeat(1000))) == []


class TestRenewal:
    """A hash that was made with other parameters is made anew at a login, if that can be done."""

    def stored(self, app):
        with app.app_context():
            return db.session.scalar(select(User.password_hash))

    def test_renews_a_hash(self, app, another, user):
        """And leaves sessions and the login alone."""
        harder = another(ARGON2_TIME_COST=2)

        log_in(harder.test_client(), user.username)

        assert "t=2" in self.stored(app)
        assert app.test_client().get(f"{API}/users/me", headers=user.headers).status_code == 200

    @pytest.mark.parametrize(
        "fault", [ApiError(Code.overloaded), OperationalError("UPDATE", {}, Exception("locked"))], ids=["503", "locked"]
    )
    def test_what_keeps_it_from_that_fails_no_login(self, app, another, user, monkeypatch, fault):
        """It is for the next login, then."""
        harder = another(ARGON2_TIME_COST=2)

        def refuse(*_args):
            raise (
                ApiError(Code.overloaded)
                if fault == "overloaded"
                else OperationalError("UPDATE", {}, Exception("locked"))
            )

        monkeypatch.setattr("app.auth.service.hash_password", refuse)

        log_in(harder.test_client(), user.username)

        assert "t=1" in self.stored(app)

    def test_a_login_that_began_before_goes_on(self, app, another, client, user, monkeypatch):
        """Between the check of its password and its session another one may renew the hash."""
        harder = another(ARGON2_TIME_COST=2)
        verify = passwords.verify_password

        def verify_slowly(password_hash, password):
            known = verify(password_hash, password)
            monkeypatch.setattr("app.auth.service.verify_password", verify)
            log_in(harder.test_client(), user.username)
            return known

        monkeypatch.setattr("app.auth.service.verify_password", verify_slowly)

        assert log_in(client, user.username).id == user.id
        assert "t=2" in self.stored(app)


def test_sign_up_is_not_counted(app, client):
    """It guesses nothing."""
    for number in range(7):
        sign_up(client, f"user{number}")
    assert count(app, FailedLogin) == 0
