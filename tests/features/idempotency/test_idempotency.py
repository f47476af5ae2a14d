"""Idempotency-Key: a request that is sent twice is done once."""

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


class TestTheSameAgain:
    def test_gets_the_first_answer(self, app, client, as_user):
        """To the byte, with its place and its tag; and says that it was answered before."""
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

    def test_whatever_has_become_of_it(self, app, client, as_user, as_admin):
        """The first answer is what was so then; nothing is made anew."""
        first = create(client, as_user)
        client.patch(first.headers["Location"], headers=as_user, json={"name": "Chair"})
        assert create(client, as_user).data == first.data
        client.delete(first.headers["Location"], headers=as_admin)
        assert create(client, as_user).data == first.data
        assert count(app, Thing) == 0

    @pytest.mark.parametrize("body", ['{"price":"19.90","name":"Lamp"}', ' {"name": "\\u004camp", "price":"19.90"}\n'])
    def test_in_another_spelling(self, client, as_user, body):
        """The same JSON is the same request."""
        first = create(client, as_user)

        assert create(client, as_user, data=body, content_type="application/json").data == first.data

    def test_by_another_session(self, client, user):
        """A retry may come after a new login; the key is the user's."""
        first = create(client, user.headers)

        assert create(client, log_in(client, user.username).headers).data == first.data

    @pytest.mark.parametrize("key", ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", "a" * 128, "~._:-"])
    def test_with_and_without_quotes(self, app, client, as_user, key):
        """The draft has quotes, most clients have none: it is the same key."""
        first = create(client, as_user, key=key)

        assert create(client, as_user, key=f'"{key}"').data == first.data
        assert count(app, Thing) == 1

    def test_many_at_once_make_one(self, app, client, as_user):
        """All get the same answer, and one item is there."""
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
        """The key does not stand in for the unique name."""
        barrier = Barrier(6)

        def send(number):
            barrier.wait()
            return create(app.test_client(), as_user, key=f"k{number}").status_code

        with ThreadPoolExecutor(6) as pool:
            assert Counter(pool.map(send, range(6))) == {201: 1, 409: 5}

    def test_many_at_once_that_fail_all_fail_alike(self, app, client, as_user, lamp):
        """The first of them frees the key, and each of the others finds that out: nobody is told to try later."""
        barrier = Barrier(8)

        def send(_number):
            barrier.wait()
            return error(create(app.test_client(), as_user))

        with ThreadPoolExecutor(8) as pool:
            assert Counter(pool.map(send, range(8))) == {(409, "username_taken"): 8}

    def test_a_view_that_commits_is_refused(self, app, client, as_user, monkeypatch):
        """Its first request with a key fails and changes nothing."""

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
        """The view of an object of the session needs no commit of its own."""

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
        """Else the caller would take the first answer for the second."""
        create(client, as_user)

        response = create(client, as_user, {"name": "Chair", "price": "1"})

        assert error(response) == (422, "idempotency_key_reused")
        assert response.json["errors"].keys() == {"headers"}
        assert count(app, Thing) == 1

    def test_of_another_user_has_nothing_to_do_with_it(self, client, as_user, as_other):
        """Nobody is answered what another was."""
        create(client, as_user)

        assert error(create(client, as_other)) == (409, "username_taken")
        assert create(client, as_other, {"name": "Chair", "price": "1"}).status_code == 201

    def test_without_a_key_is_done_again(self, client, as_user):
        """Nothing is guessed from the body alone."""
        client.post(ITEMS, headers=as_user, json=LAMP)

        assert error(client.post(ITEMS, headers=as_user, json=LAMP)) == (409, "username_taken")


class TestFailures:
    def test_take_no_key(self, app, client, as_user, as_admin, lamp):
        """What failed has done nothing: the same request may succeed later, and another may take the key."""
        assert error(create(client, as_user)) == (409, "username_taken")
        assert error(create(client, as_user, {"name": ""})) == (422, "validation_failed")
        assert count(app, IdempotencyKey) == 0
        client.delete(f"{ITEMS}/{lamp['id']}", headers=as_admin)

        assert create(client, as_user).status_code == 201

    @pytest.mark.parametrize("key", ["", " ", "a" * 129, "a b", "ä", 'a"', '"a', '""', "a,b", "a;b", "a/b", "<", "%00"])
    def test_a_bad_key_is_refused(self, app, client, as_user, key):
        """It is named, and nothing is done."""
        response = create(client, as_user, key=key)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"].keys() == {"headers"}
        assert count(app, Thing) == 0

    def test_it_comes_behind_the_token_and_the_values(self, client, user, as_user):
        """Whoever may not do it does not get the first answer either."""
        create(client, as_user)
        stale = bearer(refresh(client, user.refresh_token).json["access_token"])

        assert error(create(client, {})) == (401, "authorization_required")
        assert error(create(client, stale)) == (401, "fresh_token_required")
        assert error(create(client, as_user, {"name": 1}, key="")) == (422, "validation_failed")

    def test_a_crash_leaves_nothing(self, app, client, as_user, monkeypatch):
        """The item, the key and the answer are written together, or not at all."""
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
    def test_a_key_is_forgotten_after_a_day(self, app, client, user):
        """Then it may be used for something else."""
        create(client, user.headers)
        with time_machine.travel(utcnow() + timedelta(days=1, seconds=1)):
            headers = log_in(client, user.username).headers

            assert create(client, headers, {"name": "Chair", "price": "1"}).status_code == 201
        assert count(app, IdempotencyKey) == 1

    def test_new_keys_take_old_ones_away(self, app, client, user):
        """The table does not only grow."""
        for number in range(4):
            create(client, user.headers, {"name": f"Thing {number}", "price": "1"}, key=f"old{number}")
        with time_machine.travel(utcnow() + timedelta(days=2)):
            headers = log_in(client, user.username).headers
            for number in range(3):
                create(client, headers, {"name": f"New {number}", "price": "1"}, key=f"new{number}")

        assert count(app, IdempotencyKey) == 3

    def test_prune_removes_them_all(self, app, client, runner, as_user):
        """`flask tokens prune`; the living stay."""
        create(client, as_user)
        runner.invoke(args=["tokens", "prune"])
        assert count(app, IdempotencyKey) == 1
        with time_machine.travel(utcnow() + timedelta(days=2)):
            runner.invoke(args=["tokens", "prune"])

        assert count(app, IdempotencyKey) == 0

    def test_they_go_with_the_user(self, app, client, user):
        """Nothing is left of somebody who is gone."""
        create(client, user.headers)
        client.delete(f"{API}/users/me", headers=user.headers)

        assert count(app, IdempotencyKey) == 0
