"""Idempotency-Key: a repeated request is performed once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
import time_machine

from app.data.base import db
from app.data.types import utcnow
from app.idempotency.models import IdempotencyKey
from support import things
from support.api import API, bearer, count, error, log_in, refresh
from support.things import Thing

ITEMS = f"{API}/things"
LAMP = {"name": "Lamp", "price": "19.90"}


def create(client, headers, body=LAMP, key="k1", **options):
    return client.post(ITEMS, headers={**headers, "Idempotency-Key": key}, **(options or {"json": body}))


class TestSameRequest:
    def test_gets_the_first_response(self, app, client, as_user):
        """The second response is the first one with Idempotency-Replayed."""
        first = create(client, as_user)
        again = create(client, as_user)

        assert (first.status_code, again.status_code) == (201, 201)
        assert again.data == first.data
        assert [again.headers[name] for name in ("Location", "ETag", "Content-Type")] == [
            first.headers[name] for name in ("Location", "ETag", "Content-Type")
        ]
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        assert count(app, Thing) == 1

    def test_after_a_change(self, app, client, as_user, as_admin):
        """The first response comes again after the thing was changed or deleted."""
        first = create(client, as_user)
        client.patch(first.headers["Location"], headers=as_user, json={"name": "Chair"})
        assert create(client, as_user).data == first.data
        client.delete(first.headers["Location"], headers=as_admin)
        assert create(client, as_user).data == first.data
        assert count(app, Thing) == 0

    @pytest.mark.parametrize("body", ['{"price":"19.90","name":"Lamp"}', ' {"name": "\\u004camp", "price":"19.90"}\n'])
    def test_in_another_spelling(self, client, as_user, body):
        """The same JSON in another spelling is the same request."""
        first = create(client, as_user)

        assert create(client, as_user, data=body, content_type="application/json").data == first.data

    def test_by_another_session(self, client, user):
        """A key belongs to the user, and is known in another session."""
        first = create(client, user.headers)

        assert create(client, log_in(client, user.username).headers).data == first.data

    @pytest.mark.parametrize("key", ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", "a" * 128, "~._:-"])
    def test_with_and_without_quotes(self, app, client, as_user, key):
        """A key is the same with quotes, as the draft has them, and without."""
        first = create(client, as_user, key=key)

        assert create(client, as_user, key=f'"{key}"').data == first.data
        assert count(app, Thing) == 1

    def test_many_at_once_make_one(self, app, client, as_user):
        """Eight concurrent requests create one thing and get the same response."""
        barrier = Barrier(8)

        def send(_number):
            barrier.wait()
            response = create(app.test_client(), as_user)
            return response.status_code, response.data

        with ThreadPoolExecutor(8) as pool:
            answers = set(pool.map(send, range(8)))

        assert [status for status, _body in answers] == [201]
        assert count(app, Thing) == 1

    def test_many_keys_at_once_make_one_of_a_name(self, app, client, as_user):
        """Concurrent requests with different keys create a unique name once."""
        barrier = Barrier(6)

        def send(number):
            barrier.wait()
            return create(app.test_client(), as_user, key=f"k{number}").status_code

        with ThreadPoolExecutor(6) as pool:
            assert Counter(pool.map(send, range(6))) == {201: 1, 409: 5}

    def test_many_at_once_that_fail_all_fail_alike(self, app, client, as_user, lamp):
        """Eight concurrent requests that fail all get the same 409."""
        barrier = Barrier(8)

        def send(_number):
            barrier.wait()
            return error(create(app.test_client(), as_user))

        with ThreadPoolExecutor(8) as pool:
            assert Counter(pool.map(send, range(8))) == {(409, "username_taken"): 8}

    def test_a_view_that_commits_is_refused(self, app, client, as_user, monkeypatch):
        """A view that commits gets 500, and nothing is stored."""

        def insert_and_commit(model, **values):
            item = model(**values)
            db.session.add(item)
            db.session.commit()
            return item

        monkeypatch.setattr(things, "insert", insert_and_commit)

        assert error(create(client, as_user)) == (500, "internal_error")
        assert count(app, Thing) == count(app, IdempotencyKey) == 0

    @pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}], ids=["no key", "key"])
    def test_what_a_view_adds_to_the_session_is_committed(self, app, client, as_user, monkeypatch, headers):
        """An object that the view adds to the session is committed."""

        def add(model, **values):
            item = model(**values)
            db.session.add(item)
            db.session.flush()
            return item

        monkeypatch.setattr(things, "insert", add)

        assert client.post(ITEMS, headers={**as_user, **headers}, json=LAMP).status_code == 201
        assert count(app, Thing) == 1


class TestAnotherRequest:
    def test_with_the_same_key_is_refused(self, app, client, as_user):
        """Another body with the same key gets 422."""
        create(client, as_user)

        response = create(client, as_user, {"name": "Chair", "price": "1"})

        assert error(response) == (422, "idempotency_key_reused")
        assert response.json["errors"].keys() == {"headers"}
        assert count(app, Thing) == 1

    def test_of_another_user(self, client, as_user, as_other):
        """Another user may use the same key."""
        create(client, as_user)

        assert error(create(client, as_other)) == (409, "username_taken")
        assert create(client, as_other, {"name": "Chair", "price": "1"}).status_code == 201

    def test_without_a_key_is_done_again(self, client, as_user):
        """A repeated request without a key is performed again."""
        client.post(ITEMS, headers=as_user, json=LAMP)

        assert error(client.post(ITEMS, headers=as_user, json=LAMP)) == (409, "username_taken")


class TestFailures:
    def test_store_no_key(self, app, client, as_user, as_admin, lamp):
        """A failed request stores no key, and may succeed later."""
        assert error(create(client, as_user)) == (409, "username_taken")
        assert error(create(client, as_user, {"name": ""})) == (422, "validation_failed")
        assert count(app, IdempotencyKey) == 0
        client.delete(f"{ITEMS}/{lamp['id']}", headers=as_admin)

        assert create(client, as_user).status_code == 201

    @pytest.mark.parametrize("key", ["", " ", "a" * 129, "a b", "ä", 'a"', '"a', '""', "a,b", "a;b", "a/b", "<", "%00"])
    def test_a_bad_key_is_refused(self, app, client, as_user, key):
        """A bad key gets 422, and nothing is created."""
        response = create(client, as_user, key=key)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"].keys() == {"headers"}
        assert count(app, Thing) == 0

    def test_order_of_errors(self, client, user, as_user):
        """The token and the values are checked before the key."""
        create(client, as_user)
        stale = bearer(refresh(client, user.refresh_token).json["access_token"])

        assert error(create(client, {})) == (401, "authorization_required")
        assert error(create(client, stale)) == (401, "fresh_token_required")
        assert error(create(client, as_user, {"name": 1}, key="")) == (422, "validation_failed")

    def test_a_crash_leaves_nothing(self, app, client, as_user, monkeypatch):
        """If the commit fails, neither the thing nor the key is stored."""
        real, crash = db.session.commit, [True]

        def commit():
            if crash.pop():
                raise RuntimeError("killed")
            real()

        monkeypatch.setattr(db.session, "commit", commit)
        assert error(create(client, as_user)) == (500, "internal_error")
        crash.append(False)
        monkeypatch.undo()

        assert count(app, Thing) == count(app, IdempotencyKey) == 0
        assert create(client, as_user).status_code == 201


class TestExpiry:
    def test_a_key_expires_after_a_day(self, app, client, user):
        """After a day the key may be used for another request."""
        create(client, user.headers)
        with time_machine.travel(utcnow() + timedelta(days=1, seconds=1)):
            headers = log_in(client, user.username).headers

            assert create(client, headers, {"name": "Chair", "price": "1"}).status_code == 201
        assert count(app, IdempotencyKey) == 1

    def test_new_keys_delete_expired_ones(self, app, client, user):
        """New keys delete expired ones, so the table does not grow."""
        for number in range(4):
            create(client, user.headers, {"name": f"Thing {number}", "price": "1"}, key=f"old{number}")
        with time_machine.travel(utcnow() + timedelta(days=2)):
            headers = log_in(client, user.username).headers
            for number in range(3):
                create(client, headers, {"name": f"New {number}", "price": "1"}, key=f"new{number}")

        assert count(app, IdempotencyKey) == 3

    def test_prune(self, app, client, runner, as_user):
        """`flask tokens prune` deletes expired keys and leaves live ones."""
        create(client, as_user)
        runner.invoke(args=["tokens", "prune"])
        assert count(app, IdempotencyKey) == 1
        with time_machine.travel(utcnow() + timedelta(days=2)):
            runner.invoke(args=["tokens", "prune"])

        assert count(app, IdempotencyKey) == 0

    def test_deleted_user(self, app, client, user):
        """The keys of a user are deleted with the user."""
        create(client, user.headers)
        client.delete(f"{API}/users/me", headers=user.headers)

        assert count(app, IdempotencyKey) == 0
