"""Parallel requests from real threads, each with its own client."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from threading import Barrier

import pytest
from sqlalchemy import func, select

from app.auth.models import RevokedToken, Session
from app.data.base import db
from app.users.models import User
from support.api import API, PASSWORD, bearer, claims, count, log_in, make_admin, refresh, sign_up
from support.things import Thing


def at_once(app, *calls):
    """Run all calls at the same time, each with a client.  Returns their responses."""
    barrier = Barrier(len(calls))

    def run(call):
        client = app.test_client()
        barrier.wait()
        return call(client)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def statuses(responses):
    return Counter(response.status_code for response in responses)


def test_one_name_is_registered_once(app):
    """Of 50 parallel registrations of one name, one succeeds."""
    app.config["REGISTRATIONS_PER_NETWORK"] = 0  # so that none gets 429
    body = {"username": "grace", "password": PASSWORD}

    responses = at_once(app, *[lambda client: client.post(f"{API}/auth/register", json=body)] * 50)

    assert statuses(responses) == {201: 1, 409: 49}
    assert {response.json["error"] for response in responses if response.status_code == 409} == {"username_taken"}
    assert count(app, User) == 1
    assert count(app, Session) == 1


@pytest.mark.parametrize("username", ["grace", "nobody"])
def test_parallel_logins_do_not_exceed_the_limit(app, user, username):
    """Of 40 parallel wrong logins five are checked, for unknown names too."""
    body = {"username": username, "password": "wrong"}

    responses = at_once(app, *[lambda client: client.post(f"{API}/auth/login", json=body)] * 40)

    assert statuses(responses) == {401: 5, 429: 35}
    assert all(int(response.headers["Retry-After"]) > 0 for response in responses if response.status_code == 429)


ROUNDS = 16


def log_in_wrongly(username, address):
    body, environ = {"username": username, "password": "wrong"}, {"REMOTE_ADDR": address}
    return lambda client: client.post(f"{API}/auth/login", json=body, environ_overrides=environ)


def test_parallel_logins_do_not_exceed_the_limit_of_the_network(app):
    """Of 16 parallel guesses at 16 accounts from one network five are checked."""
    app.config["LOGIN_ATTEMPTS_PER_NETWORK"] = 5

    responses = at_once(app, *[log_in_wrongly(f"name{number}", "192.0.2.1") for number in range(ROUNDS)])

    assert statuses(responses) == {401: 5, 429: 11}


@pytest.mark.parametrize("username", ["grace", "nobody"])
def test_parallel_logins_do_not_exceed_the_limit_of_the_account(app, user, username):
    """Of 16 parallel guesses at one account from 16 networks five are checked."""
    app.config["LOGIN_ATTEMPTS_PER_ACCOUNT"] = 5

    responses = at_once(app, *[log_in_wrongly(username, f"192.0.2.{number}") for number in range(ROUNDS)])

    assert statuses(responses) == {401: 5, 429: 11}


def test_parallel_logins_of_few_accounts_from_few_networks(app, client):
    """Parallel right and wrong logins, which share counters, fail with no 5xx."""
    for number in range(4):
        sign_up(client, f"name{number}")
    app.config["LOGIN_ATTEMPTS"] = 100

    def call(number):
        body = {"username": f"name{number % 4}", "password": PASSWORD if number % 3 else "wrong"}
        environ = {"REMOTE_ADDR": f"192.0.2.{number % 5}"}

        def calls(client):
            return [client.post(f"{API}/auth/login", json=body, environ_overrides=environ) for _ in range(5)]

        return calls

    responses = at_once(app, *map(call, range(ROUNDS)))

    assert statuses(chain.from_iterable(responses)) == {200: 50, 401: 30}


def test_parallel_registrations_do_not_exceed_the_limit(app):
    """Of 16 parallel registrations from one network five succeed."""
    app.config["REGISTRATIONS_PER_NETWORK"] = 5

    responses = at_once(app, *[lambda client, n=n: register(client, f"name{n}") for n in range(ROUNDS)])

    assert statuses(responses) == {201: 5, 429: 11}
    assert count(app, User) == 5


def test_parallel_registrations_of_a_taken_name_do_not_exceed_the_limit(app, user):
    """Of 16 parallel registrations of a taken name five are tried."""
    app.config["REGISTRATIONS_PER_NETWORK"] = 5

    responses = at_once(app, *[lambda client: register(client, "grace")] * ROUNDS)

    assert statuses(responses).keys() == {409, 429}
    assert statuses(responses)[409] <= 5


def register(client, username):
    return client.post(f"{API}/auth/register", json={"username": username, "password": PASSWORD})


def test_parallel_renames_do_not_exceed_the_limit(app, client, user):
    """Of 16 parallel changes of a name five succeed."""

    def rename(number):
        body = {"username": f"name{number}"}
        return lambda client: client.patch(f"{API}/users/me", json=body, headers=user.headers)

    responses = at_once(app, *map(rename, range(ROUNDS)))

    assert statuses(responses) == {200: 5, 429: 11}


def test_parallel_logins_renew_one_hash(app, another, user):
    """Parallel logins all succeed while they renew the same hash."""
    harder = another(ARGON2_TIME_COST=2)
    body = {"username": user.username, "password": user.password}

    responses = at_once(harder, *[lambda client: client.post(f"{API}/auth/login", json=body)] * 4)

    assert statuses(responses) == {200: 4}
    with app.app_context():
        assert "t=2" in db.session.scalar(select(User.password_hash))


def test_one_item_name_is_taken_once(app, as_user):
    """Of 20 parallel requests that create an item of one name, one succeeds."""
    body = {"name": "Lamp", "price": "1"}

    responses = at_once(app, *[lambda client: client.post(f"{API}/things", headers=as_user, json=body)] * 20)

    assert statuses(responses) == {201: 1, 409: 19}
    assert count(app, Thing) == 1


def test_one_refresh_token_has_one_successor(app, client, user):
    """All parallel refreshes with one token get the same valid successor."""
    responses = at_once(app, *[lambda client: refresh(client, user.refresh_token)] * 20)

    assert statuses(responses) == {200: 20}
    successors = {response.json["refresh_token"] for response in responses}
    assert len(successors) == 1
    assert len({response.json["access_token"] for response in responses}) == 20
    assert count(app, Session) == 1
    assert refresh(client, successors.pop()).status_code == 200


def test_a_logout_wins_over_refreshes(app, client, user):
    """A refresh during a logout returns no token that stays valid."""
    calls = [lambda client: refresh(client, user.refresh_token)] * 10
    calls.insert(5, lambda client: client.post(f"{API}/auth/logout", headers=user.headers))

    responses = at_once(app, *calls)

    assert statuses(responses).keys() <= {200, 401}
    assert responses[5].status_code == 200
    assert count(app, Session) == 0
    for response in responses[:5] + responses[6:]:
        if response.status_code == 200:
            headers = bearer(response.json["access_token"])
            assert client.get(f"{API}/users/me", headers=headers).json["error"] == "token_revoked"


def test_a_logged_out_refresh_token_is_not_renewed(app, client, user):
    """A refresh during logout/refresh returns no token that can be renewed."""
    calls = [lambda client: refresh(client, user.refresh_token)] * 10
    calls.insert(5, lambda client: client.post(f"{API}/auth/logout/refresh", headers=bearer(user.refresh_token)))

    responses = at_once(app, *calls)

    assert responses[5].status_code == 200
    for response in responses[:5] + responses[6:]:
        if response.status_code == 200:
            assert refresh(client, response.json["refresh_token"]).json["error"] == "token_revoked"


def test_one_access_token_is_revoked_once(app, user):
    """Of ten parallel logouts of one token, one succeeds and none is a 5xx."""
    responses = at_once(app, *[lambda client: client.post(f"{API}/auth/logout/access", headers=user.headers)] * 10)

    assert statuses(responses).keys() <= {200, 401}
    assert statuses(responses)[200] == 1
    assert count(app, RevokedToken) == 1


def test_no_login_outlives_a_password_change(app, client, user):
    """A login with the old password during a password change leaves no session."""
    app.config["LOGIN_ATTEMPTS"] = 100  # so that no login gets 429
    old = {"username": "grace", "password": PASSWORD}
    change = {"current_password": PASSWORD, "new_password": "another long one"}
    calls = [lambda client: client.post(f"{API}/auth/login", json=old)] * 8
    calls.insert(4, lambda client: client.put(f"{API}/auth/password", headers=user.headers, json=change))

    responses = at_once(app, *calls)

    changed = responses.pop(4)
    assert changed.status_code == 200
    assert statuses(responses).keys() <= {200, 401}
    assert count(app, Session) == 1
    sid = claims(changed.json["access_token"])["sid"]
    with app.app_context():
        assert str(db.session.scalar(select(Session.id))) == sid


def test_a_single_session_stays_single(app, client, user):
    """With SINGLE_SESSION, ten parallel logins leave one session."""
    app.config |= {"SINGLE_SESSION": True, "LOGIN_ATTEMPTS": 100}

    at_once(app, *[lambda client: log_in(client, "grace")] * 10)

    assert count(app, Session) == 1


@pytest.mark.parametrize("most", [1, 3])
def test_parallel_logins_do_not_exceed_the_sessions(app, client, user, most):
    """With MAX_SESSIONS, ten parallel logins leave exactly that many sessions."""
    app.config |= {"MAX_SESSIONS": most, "LOGIN_ATTEMPTS": 100}

    accounts = at_once(app, *[lambda client: log_in(client, "grace")] * 10)

    assert count(app, Session) == most
    alive = [
        account for account in accounts if client.get(f"{API}/users/me", headers=account.headers).status_code == 200
    ]
    assert len(alive) == most


def test_logins_and_joined_fresh_logins_leave_one_session(app, client, user):
    """With SINGLE_SESSION, parallel logins and fresh logins leave one session, and none fails."""
    app.config |= {"SINGLE_SESSION": True, "LOGIN_ATTEMPTS": 100}
    body = {"username": "grace", "password": PASSWORD}
    paths = ["login", "fresh-login"] * 5
    calls = [lambda c, path=path: c.post(f"{API}/auth/{path}", json=body, headers=user.headers) for path in paths]

    assert statuses(at_once(app, *calls)) == {200: 10}
    assert count(app, Session) == 1


def test_a_login_ends_the_session_while_it_is_refreshed(app, client, user):
    """A session that a login replaces stays ended, however many refreshes run."""
    body = {"username": "grace", "password": PASSWORD}
    calls = [lambda c: refresh(c, user.refresh_token)] * 8
    calls.insert(4, lambda c: c.post(f"{API}/auth/login", json=body, headers=user.headers))

    responses = at_once(app, *calls)

    login = responses.pop(4)
    assert login.status_code == 200
    assert statuses(responses).keys() <= {200, 401}
    for response in responses:
        if response.status_code == 200:
            headers = bearer(response.json["access_token"])
            assert client.get(f"{API}/users/me", headers=headers).json["error"] == "token_revoked"
    assert count(app, Session) == 1


def two_admins(app, client):
    accounts = []
    for name in ("ada", "barbara"):
        sign_up(client, name)
        make_admin(app, name)
        accounts.append(log_in(client, name))
    return accounts


@pytest.mark.parametrize("method", ["delete_me", "demote_each_other", "delete_each_other", "delete_everybody_else"])
def test_the_last_admin_stays(app, client, method):
    """If two administrators are removed at the same time, one stays."""
    ada, barbara = two_admins(app, client)

    def act(who, whom):
        return {
            "delete_me": lambda c: c.delete(f"{API}/users/me", headers=who.headers),
            "demote_each_other": lambda c: c.patch(
                f"{API}/users/{whom.id}", headers=who.headers, json={"is_admin": False}
            ),
            "delete_each_other": lambda c: c.delete(f"{API}/users/{whom.id}", headers=who.headers),
            "delete_everybody_else": lambda c: c.delete(f"{API}/users", headers=who.headers),
        }[method]

    responses = at_once(app, act(ada, barbara), act(barbara, ada))

    assert statuses(responses)[200] == 1
    assert statuses(responses).keys() <= {200, 401, 403, 409}
    with app.app_context():
        assert db.session.scalar(select(func.count()).where(User.is_admin, User.is_active)) == 1


def test_changes_meet_a_deletion(app, client, user, lamp, as_admin):
    """Whoever changes an item while it is deleted is told that it is gone, never that we failed."""
    path = f"{API}/things/{lamp['id']}"
    changes = [lambda c, n=n: c.patch(path, headers=user.headers, json={"price": str(n)}) for n in range(8)]

    responses = at_once(app, *changes, lambda c: c.delete(path, headers=as_admin))

    assert responses[-1].status_code == 200
    assert statuses(responses[:-1]).keys() <= {200, 404}
    assert count(app, Thing) == 0


def test_items_meet_the_deletion_of_their_owner(app, client, user):
    """Items created during the deletion of their owner have no owner."""
    creations = [
        lambda c, n=n: c.post(f"{API}/things", headers=user.headers, json={"name": f"Thing {n}", "price": "1"})
        for n in range(8)
    ]

    responses = at_once(app, *creations, lambda c: c.delete(f"{API}/users/me", headers=user.headers))

    assert responses[-1].status_code == 200
    created = statuses(responses[:-1])
    assert created.keys() <= {201, 401, 404}
    assert count(app, Thing) == created[201]
    with app.app_context():
        assert db.session.scalar(select(func.count()).where(Thing.owner_id.is_not(None))) == 0
