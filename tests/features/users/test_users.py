"""The user's own account, and all accounts for administrators."""

import pytest

from app.auth.models import Session
from app.users.models import User
from app.web.errors import ApiError, Code
from support.api import API, bearer, count, error, log_in, make_admin, me, refresh, sign_up
from support.statements import statements
from support.things import Thing


@pytest.fixture
def as_stale_admin(client, admin):
    """The administrator with an access token from a refresh, which is not fresh."""
    return bearer(refresh(client, admin.refresh_token).json["access_token"])


class TestListUsers:
    def test_gives_every_user_without_the_hash(self, client, user, admin):
        """An administrator gets the documented fields of all users."""
        response = client.get(f"{API}/users", headers=admin.headers)

        assert response.status_code == 200
        assert response.json["next_cursor"] is None
        assert "Link" not in response.headers
        assert [row["username"] for row in response.json["users"]] == ["grace", "ada"]
        keys = {"id", "username", "is_admin", "is_active", "created_at", "updated_at"}
        assert {frozenset(row) for row in response.json["users"]} == {frozenset(keys)}

    @pytest.mark.parametrize(
        ("q", "names"),
        [
            ("ADA", ["ada"]),
            ("strass", ["STRASSE"]),
            ("ß", ["STRASSE"]),
            ("_", ["x_y"]),
            ("%", []),
            ("\\", []),
            ("", None),
        ],
    )
    def test_finds_by_a_part_of_the_name(self, client, as_admin, q, names):
        """`q` finds part of a name in any case, and knows no wildcards."""
        for name in ("STRASSE", "x_y"):
            sign_up(client, name)

        users = client.get(f"{API}/users", headers=as_admin, query_string={"q": q}).json["users"]

        assert [row["username"] for row in users] == (names if names is not None else ["ada", "STRASSE", "x_y"])

    def test_pages_do_not_repeat_or_skip(self, client, as_admin):
        """Each user comes once, though users are added and deleted between pages."""
        accounts = [sign_up(client, f"user{number}") for number in range(5)]
        first = client.get(f"{API}/users?limit=3", headers=as_admin)
        client.delete(f"{API}/users/{accounts[0].id}", headers=as_admin)
        sign_up(client, "latecomer")

        assert first.headers["Link"] == f'<{API}/users?limit=3&cursor={first.json["next_cursor"]}>; rel="next"'
        second = client.get(first.headers["Link"][1:].partition(">")[0], headers=as_admin)

        names = [row["username"] for page in (first, second) for row in page.json["users"]]
        assert names == ["ada", "user0", "user1", "user2", "user3", "user4"]
        assert second.json["next_cursor"] is not None

    def test_a_cursor_of_another_listing_is_refused(self, client, as_admin, as_user):
        """A cursor of another listing gets 422."""
        for name in ("Lamp", "Chair"):
            client.post(f"{API}/things", headers=as_user, json={"name": name, "price": "1"})
        cursor = client.get(f"{API}/things?limit=1", headers=as_user).json["next_cursor"]

        response = client.get(f"{API}/users", headers=as_admin, query_string={"cursor": cursor})

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"query": {"cursor": ["Not a cursor of this listing and order."]}}

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("cursor=abc", "cursor"),
            ("cursor=", "cursor"),
            ("q=" + "a" * 65, "q"),
            ("q=%00", "q"),
            ("offset=20", "offset"),
        ],
    )
    def test_refuses_a_bad_query(self, client, as_admin, query, field):
        """A bad query gets 422 for the wrong parameter."""
        response = client.get(f"{API}/users?{query}", headers=as_admin)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"]["query"].keys() == {field}

    def test_needs_no_fresh_token(self, client, admin, as_stale_admin):
        """An administrator may read with a stale token."""
        users = client.get(f"{API}/users", headers=as_stale_admin).json["users"]

        assert [(row["id"], row["is_admin"]) for row in users] == [(admin.id, True)]


class TestDeleteUsers:
    def test_deletes_everybody_else(self, app, client, user, other, admin):
        """All users but the caller are deleted, and the message has their number."""
        response = client.delete(f"{API}/users", headers=admin.headers)

        assert response.json == {"message": "2 row(s) deleted"}
        assert count(app, User) == 1
        assert me(client, admin.access_token).status_code == 200
        assert error(me(client, user.access_token)) == (401, "token_revoked")

    def test_keeps_the_things(self, client, lamp, as_admin):
        """The things of the deleted users stay, without an owner."""
        assert client.delete(f"{API}/users", headers=as_admin).status_code == 200

        assert client.get(f"{API}/things", headers=as_admin).json["things"] == [lamp | {"owner_id": None}]

    def test_needs_a_fresh_token(self, app, client, user, as_stale_admin):
        """A stale token gets 401 and deletes nobody."""
        assert error(client.delete(f"{API}/users", headers=as_stale_admin)) == (401, "fresh_token_required")
        assert count(app, User) == 2

    def test_is_off_unless_switched_on(self, app, client, user, as_admin):
        """Without ALLOW_DELETE_ALL_USERS the response is a 403 that names the setting."""
        app.config["ALLOW_DELETE_ALL_USERS"] = False

        response = client.delete(f"{API}/users", headers=as_admin)

        assert error(response) == (403, "forbidden")
        assert "ALLOW_DELETE_ALL_USERS" in response.json["message"]
        assert count(app, User) == 2


class TestGetMe:
    def test_shows_the_caller(self, client, user):
        """The response has the caller's id, name, role and state."""
        body = me(client, user.access_token).json

        assert (body["id"], body["username"], body["is_admin"], body["is_active"]) == (user.id, "grace", False, True)
        assert body["created_at"].endswith("Z")

    def test_costs_one_query(self, app, client, user):
        """The check of the token and the response need one statement."""
        me(client, user.access_token)
        with statements(app) as sent:
            response = me(client, user.access_token)

        assert response.status_code == 200
        assert len(sent) == 1, sent


class TestUpdateMe:
    def rename(self, client, account, name):
        return client.patch(f"{API}/users/me", headers=account.headers, json={"username": name})

    def test_changes_the_name(self, client, user):
        """The new name logs in, and the tokens stay valid."""
        response = self.rename(client, user, "Hopper")

        assert response.status_code == 200
        assert response.json["username"] == "Hopper"
        assert response.json["updated_at"] > response.json["created_at"]
        assert me(client, user.access_token).json == response.json
        assert log_in(client, "hopper").id == user.id

    @pytest.mark.parametrize("name", ["hopper-lovelace", "Hopper-Lovelace"])
    def test_not_to_the_password(self, client, name):
        """The password, in any case, gets 422 as a name."""
        account = sign_up(client, "grace", "hopper-lovelace")

        response = self.rename(client, account, name)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"json": {"username": ["This is your password. Choose another name."]}}
        assert me(client, account.access_token).json["username"] == "grace"

    def test_a_name_that_may_be_the_password_counts_as_an_attempt(self, app, client):
        """A new name counts as an attempt, because it is compared with the password."""
        account = sign_up(client, "grace", "hopper-lovelace")
        guesses = app.config["LOGIN_ATTEMPTS"]

        assert [self.rename(client, account, f"guess-{i}-long").status_code for i in range(guesses)] == [200] * guesses
        response = self.rename(client, account, "hopper-lovelace")

        assert error(response) == (429, "too_many_attempts")
        assert int(response.headers["Retry-After"]) > 0

    def test_a_comparison_that_fails_does_not_count(self, client, monkeypatch):
        """A comparison that ends in 503 counts neither as an attempt nor as a change."""
        account = sign_up(client, "grace", "hopper-lovelace")

        def refuse(*_args):
            raise ApiError(Code.overloaded)

        with monkeypatch.context() as patch:
            patch.setattr("app.users.service.verify_password", refuse)
            for _ in range(6):
                assert error(self.rename(client, account, "another-name")) == (503, "overloaded")

        assert self.rename(client, account, "another-name").status_code == 200

    def test_a_mismatch_tells_nothing_about_the_password(self, client):
        """With a wrong If-Match even the password gets 412 as a name."""
        account = sign_up(client, "grace", "hopper-lovelace")
        headers = {**account.headers, "If-Match": '"another"'}

        response = client.patch(f"{API}/users/me", headers=headers, json={"username": "hopper-lovelace"})

        assert error(response) == (412, "precondition_failed")

    def test_changes_the_case(self, client, user):
        """A user may change the case of the name."""
        assert self.rename(client, user, "GRACE").json["username"] == "GRACE"

    def test_not_to_a_taken_name(self, client, user, other):
        """Another user's name gets 409, and nothing changes."""
        assert error(self.rename(client, user, "LINUS")) == (409, "username_taken")
        assert me(client, user.access_token).json["username"] == "grace"

    def test_no_changes(self, client, user):
        """An empty object gets 200 and changes nothing."""
        before = me(client, user.access_token).json

        response = client.patch(f"{API}/users/me", headers=user.headers, json={})

        assert (response.status_code, response.json) == (200, before)

    @pytest.mark.parametrize(
        "body", [{"is_admin": True}, {"id": 1}, {"password": "another one"}, {"username": None}, []]
    )
    def test_nothing_else_can_be_changed(self, client, user, body):
        """Other fields get 422 and change nothing."""
        before = me(client, user.access_token).json

        response = client.patch(f"{API}/users/me", headers=user.headers, json=body)

        assert error(response) == (422, "validation_failed")
        assert me(client, user.access_token).json == before


class TestDeleteMe:
    def test_deletes_the_account_and_keeps_the_things(self, app, client, user, lamp, as_other):
        """The tokens are revoked, and the things stay without an owner."""
        response = client.delete(f"{API}/users/me", headers=user.headers)

        assert response.json == {"message": "User deleted."}
        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert error(refresh(client, user.refresh_token)) == (401, "token_revoked")
        assert client.get(f"{API}/things/{lamp['id']}", headers=as_other).json == lamp | {"owner_id": None}

    def test_needs_a_fresh_token(self, client, user, as_stale_user):
        """A stale token gets 401, and the account stays."""
        assert error(client.delete(f"{API}/users/me", headers=as_stale_user)) == (401, "fresh_token_required")
        assert me(client, user.access_token).json["id"] == user.id

    def test_the_last_admin_stays(self, client, admin):
        """The last active administrator gets 409 and stays."""
        assert error(client.delete(f"{API}/users/me", headers=admin.headers)) == (409, "last_admin")
        assert me(client, admin.access_token).status_code == 200

    def test_not_the_last_admin(self, app, client, user, admin):
        """An administrator may leave if another active one stays."""
        make_admin(app, "grace")

        assert client.delete(f"{API}/users/me", headers=admin.headers).status_code == 200
        assert error(me(client, admin.access_token)) == (401, "token_revoked")

    def test_an_inactive_admin_does_not_count(self, app, client, user, admin):
        """The last active administrator stays even if an inactive one exists."""
        make_admin(app, "grace")
        client.patch(f"{API}/users/{user.id}", headers=admin.headers, json={"is_active": False})

        assert error(client.delete(f"{API}/users/me", headers=admin.headers)) == (409, "last_admin")
        assert me(client, admin.access_token).status_code == 200


class TestGetUser:
    def test_shows_oneself_as_me_does(self, client, user):
        """The user's own id shows the same as `/users/me`."""
        assert client.get(f"{API}/users/{user.id}", headers=user.headers).json == me(client, user.access_token).json

    def test_shows_anybody_to_an_admin(self, client, user, as_admin):
        """An administrator gets any user, and 404 for an unknown id."""
        assert client.get(f"{API}/users/{user.id}", headers=as_admin).json["username"] == "grace"
        assert error(client.get(f"{API}/users/{user.id + 999}", headers=as_admin)) == (404, "not_found")

    def test_does_not_tell_who_exists(self, client, user, other):
        """Other users get 403, whether the user exists or not."""
        for user_id in (other.id, other.id + 999):
            assert error(client.get(f"{API}/users/{user_id}", headers=user.headers)) == (403, "forbidden")

    @pytest.mark.parametrize("user_id", ["0", "-1", "00", "1.0", "abc", "١", 2**63, 10**30, "1e0", "%00"])
    def test_an_id_that_cannot_exist_is_not_found(self, client, as_admin, user_id):
        """An impossible id gets 404 from every method."""
        path = f"{API}/users/{user_id}"

        assert error(client.get(path, headers=as_admin)) == (404, "not_found")
        assert error(client.patch(path, headers=as_admin, json={})) == (404, "not_found")
        assert error(client.delete(path, headers=as_admin)) == (404, "not_found")


class TestUpdateUser:
    def update(self, client, admin, user_id, **changes):
        return client.patch(f"{API}/users/{user_id}", headers=admin.headers, json=changes)

    def test_promotes_and_demotes(self, client, user, admin):
        """A promotion is in the user's next token, and a demotion counts at once."""
        assert self.update(client, admin, user.id, is_admin=True).json["is_admin"] is True
        promoted = bearer(refresh(client, user.refresh_token).json["access_token"])
        assert client.get(f"{API}/users", headers=promoted).status_code == 200

        assert self.update(client, admin, user.id, is_admin=False).json["is_admin"] is False
        assert error(client.get(f"{API}/users", headers=promoted)) == (403, "admin_required")
        assert me(client, user.access_token).status_code == 200

    def test_deactivates(self, app, client, user, admin):
        """The user's sessions end, and a login gets 401."""
        response = self.update(client, admin, user.id, is_active=False)

        assert response.json["is_active"] is False
        assert count(app, Session) == 2  # the administrator's, from the registration and from the login
        login = client.post(f"{API}/auth/login", json={"username": "grace", "password": user.password})
        assert error(login) == (401, "invalid_credentials")

    @pytest.mark.parametrize("changes", [{"is_admin": False}, {"is_active": False}])
    def test_the_last_admin_stays(self, client, admin, changes):
        """The last active administrator gets 409 for a demotion or deactivation."""
        assert error(self.update(client, admin, admin.id, **changes)) == (409, "last_admin")
        assert client.get(f"{API}/users", headers=admin.headers).status_code == 200

    def test_an_admin_may_demote_another(self, app, client, user, admin):
        """An administrator may demote another one, who gets 403 at once."""
        make_admin(app, "grace")
        promoted = log_in(client, "grace")

        assert self.update(client, admin, user.id, is_admin=False).json["is_admin"] is False
        assert error(client.get(f"{API}/users", headers=promoted.headers)) == (403, "admin_required")

    def test_needs_a_fresh_token(self, client, user, as_stale_admin):
        """A stale token gets 401 and changes nothing."""
        path = f"{API}/users/{user.id}"

        response = client.patch(path, headers=as_stale_admin, json={"is_active": False})

        assert error(response) == (401, "fresh_token_required")
        assert me(client, user.access_token).json["is_active"] is True

    @pytest.mark.parametrize("value", ["off", "true", 1, 0, None, [], {}])
    def test_takes_true_and_false_alone(self, client, user, admin, value):
        """A value other than true and false gets 422 and changes nothing."""
        response = self.update(client, admin, user.id, is_admin=value, is_active=False)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"]["json"].keys() == {"is_admin"}
        assert me(client, user.access_token).json["is_active"] is True

    @pytest.mark.parametrize("field", ["username", "password", "id", "created_at"])
    def test_nothing_else_can_be_changed(self, client, user, admin, field):
        """Other fields get 422 and change nothing."""
        response = self.update(client, admin, user.id, **{field: "x", "is_admin": True})

        assert response.json["errors"] == {"json": {field: ["Unknown field."]}}
        assert me(client, user.access_token).json["is_admin"] is False

    def test_unknown_user(self, client, admin):
        """An unknown user gets 404, or 422 if the values are wrong."""
        assert error(self.update(client, admin, 999_999, is_admin=True)) == (404, "not_found")
        assert error(self.update(client, admin, 999_999, is_admin="x")) == (422, "validation_failed")


class TestDeleteUser:
    def test_deletes_a_user(self, client, user, lamp, admin):
        """The tokens are revoked, the things stay, and a second DELETE gets 404."""
        path = f"{API}/users/{user.id}"

        assert client.delete(path, headers=admin.headers).json == {"message": "User deleted."}
        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert client.get(f"{API}/things/{lamp['id']}", headers=admin.headers).json["owner_id"] is None
        assert error(client.delete(path, headers=admin.headers)) == (404, "not_found")

    def test_the_last_admin_stays(self, client, admin):
        """The last active administrator gets 409 and stays."""
        assert error(client.delete(f"{API}/users/{admin.id}", headers=admin.headers)) == (409, "last_admin")
        assert me(client, admin.access_token).status_code == 200

    def test_needs_a_fresh_token(self, app, client, user, lamp, as_stale_admin):
        """A stale token gets 401, and the user and the things stay."""
        response = client.delete(f"{API}/users/{user.id}", headers=as_stale_admin)

        assert error(response) == (401, "fresh_token_required")
        assert count(app, User) == 2
        assert client.get(f"{API}/things/{lamp['id']}", headers=user.headers).json == lamp

    def test_keeps_the_owners_of_other_things(self, app, client, user, other, admin):
        """Other users' things keep their owners."""
        for account in (user, other):
            item = {"name": account.username, "price": "1"}
            client.post(f"{API}/things", headers=account.headers, json=item)

        client.delete(f"{API}/users/{user.id}", headers=admin.headers)

        items = client.get(f"{API}/things", headers=admin.headers).json["things"]
        assert {item["name"]: item["owner_id"] for item in items} == {"grace": None, "linus": other.id}
        assert count(app, Thing) == 2
