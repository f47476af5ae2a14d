"""The limit of failed logins, and the renewal of password hashes."""

import re
from datetime import timedelta
from itertools import repeat

import pytest
import time_machine
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError

from app.auth.limits import REGISTRATIONS, login_counters
from app.auth.models import FailedLogin
from app.auth.service import Account
from app.data.base import db
from app.data.expiry import expired_batches
from app.data.types import utcnow
from app.users import passwords
from app.users.models import User
from app.web.errors import ApiError, Code
from app.web.networks import network_of
from support.api import API, PASSWORD, count, error, log_in, refresh

STOPPED = (429, "too_many_attempts")
WRONG = (401, "invalid_credentials")


def attempt(client, username="grace", password="wrong", address="192.0.2.1"):
    return client.post(
        f"{API}/auth/login",
        json={"username": username, "password": password},
        environ_overrides={"REMOTE_ADDR": address},
    )


def failures(app):
    """The sum of all counters of failed logins."""
    with app.app_context():
        logins = FailedLogin.key != REGISTRATIONS.of("127.0.0.1").key, FailedLogin.expires_at > utcnow()
        return db.session.scalar(select(func.sum(FailedLogin.attempts)).where(*logins)) or 0


def exhaust(client, **who):
    for _ in range(5):
        assert error(attempt(client, **who)) == WRONG


class TestLimit:
    @pytest.mark.parametrize("username", ["grace", "nobody"])
    def test_after_five_failures_the_right_password_does_not_help(self, client, user, username):
        """After five failures the right password gets 429, for unknown names too."""
        exhaust(client, username=username)

        response = attempt(client, username=username, password=PASSWORD)

        assert error(response) == STOPPED
        assert 290 <= int(response.headers["Retry-After"]) <= 300

    def test_another_spelling_is_the_same_name(self, client, user):
        """All spellings of a name share one count."""
        for username in ("grace", "Grace", "GRACE", "gRace", "ＧＲＡＣＥ"):
            assert error(attempt(client, username=username)) == WRONG

        assert error(attempt(client)) == STOPPED

    @pytest.mark.parametrize("spelling", ["grace ", " grace", "grace   "])
    def test_a_name_with_blanks_is_another_name(self, app, client, user, spelling):
        """A name with added blanks is an unknown name, on MariaDB too."""
        assert error(attempt(client, username=spelling, password=PASSWORD)) == WRONG
        assert attempt(client, password=PASSWORD).status_code == 200

    def test_a_rename_does_not_reset_the_count(self, client, user):
        """A rename does not reset the count."""
        change = {"current_password": "wrong", "new_password": "another long one"}
        for number in range(5):
            renamed = client.patch(f"{API}/users/me", json={"username": f"grace{number}"}, headers=user.headers)
            assert renamed.status_code == 200
            assert error(client.put(f"{API}/auth/password", json=change, headers=user.headers)) == WRONG

        assert error(client.put(f"{API}/auth/password", json=change, headers=user.headers)) == STOPPED

    def test_another_address_can_log_in(self, client, user):
        """Failures from one address do not lock out another address."""
        exhaust(client)

        assert attempt(client, password=PASSWORD, address="198.51.100.7").status_code == 200
        assert error(attempt(client, password=PASSWORD)) == STOPPED

    def test_one_account_does_not_count_for_another(self, client, user, other):
        """Failures for one account do not count for another one."""
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
    def test_addresses_that_share_a_count(self, one, two, same):
        """An IPv6 network /64 counts as one address, and so do all invalid addresses."""
        assert (network_of(one) == network_of(two)) is same

    def test_a_success_resets_the_count(self, app, client, user):
        """Each success resets the count."""
        for _ in range(3):
            for _ in range(4):
                assert error(attempt(client)) == WRONG
            assert attempt(client, password=PASSWORD).status_code == 200
        assert failures(app) == 12  # those of the network

    def test_the_count_expires(self, client, user):
        """The count expires after LOGIN_WINDOW, and refused attempts do not extend it."""
        exhaust(client)
        with time_machine.travel(utcnow() + timedelta(seconds=250)):
            seconds = int(attempt(client).headers["Retry-After"])
            assert 45 <= seconds <= 50
        with time_machine.travel(utcnow() + timedelta(seconds=301)):
            exhaust(client)
            assert error(attempt(client)) == STOPPED

    def test_settings(self, another, user):
        """LOGIN_ATTEMPTS is the number of failures, and LOGIN_WINDOW the seconds."""
        client = another(LOGIN_ATTEMPTS=1, LOGIN_WINDOW=7).test_client()
        assert error(attempt(client)) == WRONG

        response = attempt(client)

        assert error(response) == STOPPED
        assert int(response.headers["Retry-After"]) <= 7

    def test_every_check_of_a_password_shares_the_count(self, client, user):
        """Login, fresh login and password change share one count."""
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

    def test_sessions_continue(self, client, user):
        """While logins are refused, the existing tokens work."""
        exhaust(client, address="127.0.0.1")

        assert client.get(f"{API}/users/me", headers=user.headers).status_code == 200
        assert refresh(client, user.refresh_token).status_code == 200

    def test_an_overload_does_not_count(self, app, client, user, monkeypatch):
        """An attempt that ends in 503 does not count."""

        def overloaded(*_args, **_options):
            raise ApiError(Code.overloaded)

        with monkeypatch.context() as patch:
            patch.setattr("app.auth.service.verify_password", overloaded)
            for _ in range(7):
                assert error(attempt(client)) == (503, "overloaded")
            assert failures(app) == 0
            assert error(attempt(client)) == (503, "overloaded")
        for _ in range(3):
            assert error(attempt(client)) == WRONG
        with monkeypatch.context() as patch:
            patch.setattr("app.auth.service.verify_password", overloaded)
            assert error(attempt(client)) == (503, "overloaded")
        for _ in range(2):
            assert error(attempt(client)) == WRONG
        assert error(attempt(client)) == STOPPED

    def test_without_returning(self, app, client, user, monkeypatch):
        """The count works on a database without RETURNING, such as MySQL."""
        with app.app_context():
            monkeypatch.setattr(db.engine.dialect, "insert_returning", False)
        exhaust(client)

        assert error(attempt(client)) == STOPPED

    @pytest.mark.parametrize("fault", [ApiError(Code.overloaded), OperationalError("INSERT", {}, Exception("locked"))])
    def test_a_failure_after_the_password_does_not_count(self, client, user, monkeypatch, fault):
        """A right password never counts, even if the request ends in 503."""

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
        """Hashing holds no transaction, which would block writers or a connection."""
        seen = []

        def watch(function):
            def watched(*args, **options):
                seen.append(db.session().in_transaction())
                return function(*args, **options)

            return watched

        for name in ("verify_password", "hash_password"):
            monkeypatch.setattr(f"app.auth.service.{name}", watch(getattr(passwords, name)))
        change = {"current_password": PASSWORD, "new_password": "another long one"}

        assert client.put(f"{API}/auth/password", json=change, headers=user.headers).status_code == 200
        assert seen == [False, False]

    def test_the_table_has_no_names(self, app, client):
        """The table stores only hashes of names and addresses."""
        attempt(client, username="hunter2hunter2")

        with app.app_context():
            keys = set(db.session.scalars(select(FailedLogin.key)))
            counters = login_counters(None, "hunter2hunter2", "192.0.2.1")
        assert keys == {counters.pair.key, counters.network.key, counters.account.key}
        assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)

    def test_counting_is_one_statement(self, app, client, user):
        """Each failed attempt changes its three counters with one INSERT."""
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
    """The `repr()` of an account has no password hash."""
    account = Account(id=0, password_hash="secret")

    assert repr(account) == "<Account 0>"


class TestPrune:
    def test_new_counters_delete_expired_ones(self, app, client):
        """New counters delete expired ones after a day, so the table does not grow."""
        for number in range(8):
            attempt(client, username=f"nobody{number}")
        assert count(app, FailedLogin) == 17  # two for each account, and one for the network

        with time_machine.travel(utcnow() + timedelta(days=1, seconds=1)):
            for number in range(8):
                attempt(client, username=f"somebody{number}")
            assert count(app, FailedLogin) == 17

    def test_a_login_deletes_expired_counters(self, app, client, user):
        """A login deletes expired counters, and `expired_batches` leaves live ones."""
        for number in range(3):
            attempt(client, username=f"nobody{number}")

        with time_machine.travel(utcnow() + timedelta(days=1, seconds=1)):
            log_in(client, user.username)
            assert count(app, FailedLogin) == 0
            attempt(client)
            with app.app_context():
                assert list(expired_batches(repeat(1000))) == []


class TestRenewal:
    """A login replaces a hash that has other parameters."""

    def stored(self, app):
        with app.app_context():
            return db.session.scalar(select(User.password_hash))

    def test_renews_a_hash(self, app, another, user):
        """A login replaces the hash, and the sessions continue."""
        harder = another(ARGON2_TIME_COST=2)

        log_in(harder.test_client(), user.username)

        assert "t=2" in self.stored(app)
        assert app.test_client().get(f"{API}/users/me", headers=user.headers).status_code == 200

    @pytest.mark.parametrize(
        "fault", [ApiError(Code.overloaded), OperationalError("UPDATE", {}, Exception("locked"))], ids=["503", "locked"]
    )
    def test_a_failure_does_not_fail_the_login(self, app, another, user, monkeypatch, fault):
        """If the new hash fails, the login succeeds and the old hash stays."""
        harder = another(ARGON2_TIME_COST=2)

        def refuse(*_args):
            raise fault

        monkeypatch.setattr("app.auth.service.hash_password", refuse)

        log_in(harder.test_client(), user.username)

        assert "t=1" in self.stored(app)

    def test_another_login_replaces_the_hash(self, app, another, client, user, monkeypatch):
        """A login succeeds although another one replaces the hash after its check."""
        harder = another(ARGON2_TIME_COST=2)
        verify = passwords.verify_password

        def verify_slowly(password_hash, password, **options):
            known = verify(password_hash, password, **options)
            monkeypatch.setattr("app.auth.service.verify_password", verify)
            log_in(harder.test_client(), user.username)
            return known

        monkeypatch.setattr("app.auth.service.verify_password", verify_slowly)

        assert log_in(client, user.username).id == user.id
        assert "t=2" in self.stored(app)
