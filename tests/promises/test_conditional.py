"""Conditional requests: ETag, If-Match and If-None-Match (RFC 9110 section 13)."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import event

from app.data.base import db
from app.users.models import User
from app.web.codes import Code
from support import things
from support.api import API, count, error, make_admin, refresh
from support.things import Thing

WRONG = ['"another"', 'W/"another"', '"', '"a', "W/", '"a","b",', 'W/"a";x', ",", '""']


@pytest.fixture
def item(client, as_user, lamp):
    """The path of the user's thing, and its ETag."""
    path = f"{API}/things/{lamp['id']}"
    return path, client.get(path, headers=as_user).headers["ETag"]


@pytest.fixture
def account(client, user):
    """The path of the user, and the ETag."""
    path = f"{API}/users/{user.id}"
    return path, client.get(path, headers=user.headers).headers["ETag"]


class TestETag:
    def test_is_the_same_for_every_method(self, client, as_user, as_other):
        """POST, GET, HEAD and PATCH give every user the same strong ETag."""
        created = client.post(f"{API}/things", headers=as_user, json={"name": "Chair", "price": "1"})
        path = created.headers["Location"]

        tag = created.headers["ETag"]
        assert tag[0] == tag[-1] == '"'
        assert client.get(path, headers=as_user).headers["ETag"] == tag
        assert client.head(path, headers=as_other).headers["ETag"] == tag
        assert client.patch(path, headers=as_user, json={}).headers["ETag"] == tag
        changed = client.patch(path, headers=as_user, json={"price": "2"}).headers["ETag"]
        assert changed != tag
        assert client.get(path, headers=as_user).headers["ETag"] == changed

    def test_is_the_same_for_every_path(self, client, user, as_admin):
        """`/users/me` and `/users/{user_id}` give owner and administrator the same ETag."""
        tag = client.get(f"{API}/users/me", headers=user.headers).headers["ETag"]

        assert client.get(f"{API}/users/{user.id}", headers=user.headers).headers["ETag"] == tag
        assert client.get(f"{API}/users/{user.id}", headers=as_admin).headers["ETag"] == tag
        renamed = client.patch(f"{API}/users/me", headers=user.headers, json={"username": "hopper"}).headers["ETag"]
        assert renamed != tag
        assert client.get(f"{API}/users/{user.id}", headers=as_admin).headers["ETag"] == renamed

    def test_changes_when_the_owner_is_deleted(self, client, user, as_other, item):
        """A thing whose owner is deleted gets another ETag."""
        path, tag = item
        client.delete(f"{API}/users/me", headers=user.headers)

        assert client.get(path, headers=as_other).headers["ETag"] != tag

    def test_a_message_has_none(self, client, as_admin, item):
        """The response to a DELETE has no ETag."""
        assert "ETag" not in client.delete(item[0], headers=as_admin).headers


class TestRead:
    @pytest.mark.parametrize("known", ["{tag}", "W/{tag}", '"x", {tag}', "*", '"x",W/{tag}'])
    @pytest.mark.parametrize("thing", ["item", "account"])
    def test_matching_tag(self, client, request, as_user, thing, known):
        """A matching tag, weak or strong, gets 304 with the ETag and no body."""
        path, tag = request.getfixturevalue(thing)

        response = client.get(path, headers={**as_user, "If-None-Match": known.format(tag=tag)})

        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == tag

    @pytest.mark.parametrize("known", WRONG)
    def test_other_tag(self, client, as_user, item, known):
        """Another tag, or a malformed one, gets 200."""
        response = client.get(item[0], headers={**as_user, "If-None-Match": known})

        assert response.status_code == 200
        assert response.headers["ETag"] == item[1]

    def test_if_match(self, client, as_user, item):
        """A GET with If-Match gets 200 if the tag matches, and 412 otherwise."""
        path, tag = item

        assert client.get(path, headers={**as_user, "If-Match": tag}).status_code == 200
        assert client.get(path, headers={**as_user, "If-Match": "*"}).status_code == 200
        assert error(client.get(path, headers={**as_user, "If-Match": '"x"'})) == (412, "precondition_failed")

    def test_without_a_token(self, client, item):
        """Without a token even a matching tag gets 401."""
        assert error(client.get(item[0], headers={"If-None-Match": item[1]})) == (401, "authorization_required")


class TestWrite:
    @pytest.mark.parametrize("match", ["{tag}", "*", '"x", {tag}'])
    def test_matching_tag(self, client, as_user, item, match):
        """A PATCH whose If-Match matches changes the thing."""
        path, tag = item

        response = client.patch(path, headers={**as_user, "If-Match": match.format(tag=tag)}, json={"price": "2"})

        assert (response.status_code, response.json["price"]) == (200, "2.00")

    @pytest.mark.parametrize("match", [*WRONG, "W/{tag}"])  # a weak tag never matches (section 13.1.1)
    def test_other_tag(self, client, as_user, item, match):
        """A PATCH whose If-Match does not match gets 412 and changes nothing."""
        path, tag = item

        response = client.patch(path, headers={**as_user, "If-Match": match.format(tag=tag)}, json={"price": "2"})

        assert error(response) == (412, "precondition_failed")
        assert client.get(path, headers=as_user).headers["ETag"] == tag

    def test_a_weak_tag_is_explained(self, client, as_user, item):
        """A weak tag in If-Match gets 412, and the remedy explains it."""
        path, tag = item

        response = client.patch(path, headers={**as_user, "If-Match": f"W/{tag}"}, json={"price": "2"})

        assert error(response) == (412, "precondition_failed")
        assert "A weak tag (`W/…`) in `If-Match` never matches" in Code.precondition_failed.remedy

    @pytest.mark.parametrize("known", ["*", "{tag}", "W/{tag}"])
    def test_if_none_match(self, client, as_user, item, known):
        """A PATCH whose If-None-Match matches gets 412 (section 13.1.2)."""
        path, tag = item
        headers = {**as_user, "If-None-Match": known.format(tag=tag)}

        assert error(client.patch(path, headers=headers, json={"price": "2"})) == (412, "precondition_failed")
        assert client.get(path, headers=as_user).headers["ETag"] == tag
        other = {**as_user, "If-None-Match": '"x"'}
        assert client.patch(path, headers=other, json={"price": "2"}).status_code == 200

    def test_second_of_two_writers(self, client, as_user, as_admin, item):
        """The second of two writers with the same tag gets 412."""
        path, tag = item

        first = client.patch(path, headers={**as_user, "If-Match": tag}, json={"price": "2"})
        second = client.patch(path, headers={**as_admin, "If-Match": tag}, json={"description": "Old"})

        assert first.status_code == 200
        assert error(second) == (412, "precondition_failed")
        assert client.get(path, headers=as_user).json == first.json

    def test_concurrent_writers(self, app, client, as_user, item):
        """Exactly one of eight concurrent writers with the same tag succeeds."""
        path, tag = item
        barrier = Barrier(8)

        def write(number):
            barrier.wait()
            body = {"description": f"by {number}"}
            return app.test_client().patch(path, headers={**as_user, "If-Match": tag}, json=body).status_code

        with ThreadPoolExecutor(8) as pool:
            assert Counter(pool.map(write, range(8))) == {200: 1, 412: 7}

    def test_delete_after_a_change(self, app, client, as_user, as_admin, item):
        """A DELETE with an old tag gets 412, and the thing stays."""
        path, tag = item
        client.patch(path, headers=as_user, json={"price": "2"})

        assert error(client.delete(path, headers={**as_admin, "If-Match": tag})) == (412, "precondition_failed")
        assert count(app, Thing) == 1
        now = client.get(path, headers=as_user).headers["ETag"]
        assert client.delete(path, headers={**as_admin, "If-Match": now}).status_code == 200
        assert error(client.delete(path, headers={**as_admin, "If-Match": "*"})) == (404, "not_found")

    def test_a_user(self, app, client, as_admin, account):
        """An administrator's PATCH and DELETE of a user with an old tag get 412."""
        path, tag = account
        first = client.patch(path, headers={**as_admin, "If-Match": tag}, json={"is_admin": True})

        assert first.status_code == 200
        headers = {**as_admin, "If-Match": tag}
        assert error(client.patch(path, headers=headers, json={"is_active": False})) == (412, "precondition_failed")
        assert error(client.delete(path, headers=headers)) == (412, "precondition_failed")
        assert client.get(path, headers=as_admin).json == first.json
        assert client.delete(path, headers={**as_admin, "If-Match": first.headers["ETag"]}).status_code == 200
        assert count(app, User) == 1

    def test_own_account(self, app, client, user):
        """PATCH and DELETE of the own account check If-Match."""
        path, failed = f"{API}/users/me", (412, "precondition_failed")
        wrong = {**user.headers, "If-Match": '"x"'}
        tag = client.get(path, headers=user.headers).headers["ETag"]

        assert error(client.patch(path, headers=wrong, json={"username": "x"})) == (422, "validation_failed")
        assert error(client.patch(path, headers=wrong, json={"username": "xyz"})) == failed
        assert error(client.delete(path, headers=wrong)) == failed
        renamed = client.patch(path, headers={**user.headers, "If-Match": tag}, json={"username": "xyz"})
        assert renamed.json["username"] == "xyz"
        gone = client.delete(path, headers={**user.headers, "If-Match": renamed.headers["ETag"]})
        assert gone.status_code == 200
        assert count(app, User) == 0

    def test_order_of_errors(self, app, client, user, as_other, as_admin, item, lamp):
        """A 412 comes after 422, 404 and 403, and before 409."""
        path, wrong = item[0], {"If-Match": '"x"'}
        client.post(f"{API}/things", headers=user.headers, json={"name": "Chair", "price": "1"})
        last = f"{API}/users/{client.get(f'{API}/users/me', headers=as_admin).json['id']}"

        def patch(path, headers, **changes):
            return error(client.patch(path, headers={**headers, **wrong}, json=changes))

        assert patch(path, user.headers, price=1) == (422, "validation_failed")
        assert patch(f"{API}/things/999999", user.headers, price="1") == (404, "not_found")
        assert patch(path, as_other, price="1") == (403, "forbidden")
        assert patch(path, user.headers, name="Chair") == (412, "precondition_failed")
        assert patch(last, as_admin, is_admin=False) == (412, "precondition_failed")
        assert error(client.delete(last, headers={**as_admin, **wrong})) == (
            412,
            "precondition_failed",
        )

    def test_stale_token(self, client, app, user):
        """A stale token gets 401 before the tag is compared."""
        make_admin(app, user.username)
        stale = {"Authorization": f"Bearer {refresh(client, user.refresh_token).json['access_token']}"}

        response = client.delete(f"{API}/users/{user.id}", headers={**stale, "If-Match": '"x"'})

        assert error(response) == (401, "fresh_token_required")


class TestDatabase:
    def test_response_is_the_stored_row(self, app, client, as_user, item, monkeypatch):
        """The response to a PATCH has the changes of a concurrent writer too."""
        path, read = item[0], things.get_thing_or_404

        def read_while_another_writes(item_id):
            found = read(item_id)
            monkeypatch.setattr(things, "get_thing_or_404", read)
            with ThreadPoolExecutor(1) as other:
                other.submit(app.test_client().patch, path, headers=as_user, json={"price": "77"}).result()
            return found

        monkeypatch.setattr(things, "get_thing_or_404", read_while_another_writes)
        changed = client.patch(path, headers=as_user, json={"description": "Mine."})

        assert (changed.json["price"], changed.json["description"]) == ("77.00", "Mine.")
        shown = client.get(path, headers=as_user)
        assert (shown.data, shown.headers["ETag"]) == (changed.data, changed.headers["ETag"])

    def test_412_writes_nothing(self, app, client, user, admin):
        """A DELETE that gets 412 sends only SELECTs, so it locks no row."""
        written = []

        def keep(_connection, _cursor, statement, *_more):
            if not statement.startswith("SELECT"):
                written.append(statement)

        with app.app_context():
            event.listen(db.engine, "before_cursor_execute", keep)
            try:
                response = client.delete(f"{API}/users/me", headers={**user.headers, "If-Match": '"x"'})
            finally:
                event.remove(db.engine, "before_cursor_execute", keep)

        assert error(response) == (412, "precondition_failed")
        assert written == []
