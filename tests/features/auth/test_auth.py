"""Registration, login, refresh, logout, password change and the list of sessions."""

from datetime import timedelta
from uuid import UUID

import jwt
import pytest
import time_machine
from sqlalchemy import select, update

from app import API_TITLE
from app.auth.models import CLOCKS_ERR, MAX_LEEWAY, RevokedToken, Session
from app.data.base import db
from app.data.expiry import PRUNE_EVERY
from app.data.types import utcnow
from app.users.models import User
from support.api import API, PASSWORD, bearer, claims, count, error, log_in, make_admin, me, refresh, sign_up

TOKENS = {"access_token", "refresh_token", "token_type", "expires_in", "session_expires_in"}


ANIMALS = "".join(chr(0x1F400 + (number * number) % 61) for number in range(128))


class TestRegister:
    def test_gives_both_tokens_and_the_user(self, client):
        """A registration returns the user, a fresh access token and a refresh token."""
        response = client.post(f"{API}/auth/register", json={"username": "Grace", "password": PASSWORD})

        assert response.status_code == 201
        assert response.json.keys() == TOKENS | {"user"}
        assert response.json["token_type"] == "Bearer"
        assert response.json["expires_in"] == 900
        assert response.json["user"].keys() == {"id", "username", "is_admin", "is_active", "created_at", "updated_at"}
        assert response.json["user"]["username"] == "Grace"
        assert response.json["user"]["is_admin"] is False
        assert response.headers["Cache-Control"] == "no-store"
        assert claims(response.json["access_token"])["fresh"] is True
        assert me(client, response.json["access_token"]).json == response.json["user"]

    @pytest.mark.parametrize("name", ["GRACE", "ｇｒａｃｅ", "Grace"])
    def test_a_name_is_unique_whatever_the_case(self, app, client, user, name):
        """A name that differs only in case or width gets 409 and adds no row."""
        response = client.post(f"{API}/auth/register", json={"username": name, "password": PASSWORD})

        assert error(response) == (409, "username_taken")
        assert count(app, User) == 1
        assert count(app, Session) == 1

    @pytest.mark.parametrize(
        "name", ["ab", "a" * 65, "", " ada", "ada ", "-ada", ".ada", "a b c", "a@b.c", "ad\u200bmin", "a\x00b"]
    )
    def test_refuses_a_bad_name(self, app, client, name):
        """A bad length, beginning or character gets 422 for `username`."""
        response = client.post(f"{API}/auth/register", json={"username": name, "password": PASSWORD})

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"]["json"].keys() == {"username"}
        assert count(app, User) == 0

    @pytest.mark.parametrize("name", ["ada", "a" * 64, "रामकुमार", "สมชายดี", "用户名", "احمد١٢٣", "a.b_c-d", "9lives"])
    def test_takes_names_of_every_script(self, client, name):
        """Names of every script are accepted, and can log in."""
        assert sign_up(client, name).username == name
        assert log_in(client, name.upper()).username == name

    @pytest.mark.parametrize(
        ("password", "status"),
        [("k9#vR2x", 422), ("k9#vR2xq", 201), (ANIMALS, 201), (ANIMALS + "x", 422)],
    )
    def test_counts_the_characters_of_the_password(self, client, password, status):
        """A password has 8 to 128 characters of any kind."""
        response = client.post(f"{API}/auth/register", json={"username": "grace", "password": password})

        assert response.status_code == status

    def test_password_min_length(self, app, client):
        """PASSWORD_MIN_LENGTH sets the minimum."""
        app.config["PASSWORD_MIN_LENGTH"] = 15

        response = client.post(f"{API}/auth/register", json={"username": "grace", "password": "x" * 14})

        assert response.json["errors"] == {"json": {"password": ["Length must be between 15 and 128."]}}

    def test_refuses_is_admin(self, client):
        """The field `is_admin` gets 422."""
        response = client.post(
            f"{API}/auth/register", json={"username": "grace", "password": PASSWORD, "is_admin": True}
        )

        assert response.json["errors"] == {"json": {"is_admin": ["Unknown field."]}}

    def test_can_be_closed(self, app, client):
        """With REGISTRATION_OPEN off, the response is a 403 that names the setting."""
        app.config["REGISTRATION_OPEN"] = False

        response = client.post(f"{API}/auth/register", json={"username": "grace", "password": PASSWORD})

        assert error(response) == (403, "forbidden")
        assert "REGISTRATION_OPEN" in response.json["message"]
        assert count(app, User) == 0


class TestLogin:
    def test_gives_a_fresh_access_token_and_a_refresh_token(self, client, user):
        """The tokens have the documented claims and belong to a new session."""
        response = client.post(f"{API}/auth/login", json={"username": "grace", "password": PASSWORD})
        access, renewal = claims(response.json["access_token"]), claims(response.json["refresh_token"])

        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        names = {"sub", "jti", "type", "fresh", "iat", "nbf", "exp", "iss", "aud", "sid", "is_admin"}
        assert access.keys() == names
        assert renewal.keys() == names
        assert (access["sub"], access["type"], access["fresh"]) == (str(user.id), "access", True)
        assert (renewal["sub"], renewal["type"], renewal["fresh"]) == (str(user.id), "refresh", False)
        assert access["sid"] == renewal["sid"] != claims(user.access_token)["sid"]
        assert access["exp"] - access["iat"] == 900
        assert renewal["exp"] - renewal["iat"] in (2_592_000, 2_592_001)
        assert (access["iss"], access["aud"]) == ("latchkey", "latchkey-api")
        assert jwt.get_unverified_header(response.json["access_token"]) == {
            "alg": "HS256",
            "typ": "JWT",
            "kid": "secret",
        }

    def test_every_failure_is_the_same(self, app, client, user):
        """An unknown user, a wrong password and an inactive account get the same 401."""
        with app.app_context():
            db.session.add(
                User(username="gone", password_hash=db.session.scalar(select(User.password_hash)), is_active=False)
            )
            db.session.commit()
        attempts = [("nobody", PASSWORD), ("grace", "wrong wrong"), ("grace", "x" * 500), ("gone", PASSWORD)]

        responses = [client.post(f"{API}/auth/login", json={"username": n, "password": p}) for n, p in attempts]

        assert {error(response) for response in responses} == {(401, "invalid_credentials")}
        assert {response.headers["WWW-Authenticate"] for response in responses} == {f'Bearer realm="{API_TITLE}"'}
        assert len({response.json["message"] for response in responses}) == 1

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"username": "grace"},
            {"username": 1, "password": "x"},
            {"username": "", "password": "x"},
            {"username": "grace", "password": None},
            {"username": "grace", "password": ""},
        ],
    )
    def test_refuses_a_bad_body(self, client, body):
        """A missing, blank or wrong field gets 422."""
        assert error(client.post(f"{API}/auth/login", json=body)) == (422, "validation_failed")

    def test_normalises_the_password(self, client):
        """Composed and decomposed accents are the same password (NFKC)."""
        sign_up(client, "grace", "cafe\u0301 au lait")

        assert log_in(client, "grace", "caf\u00e9 au lait").username == "grace"

    def test_single_session_ends_the_others(self, app, client, user):
        """With SINGLE_SESSION a login ends the other sessions of the user only."""
        other = sign_up(client, "linus")
        app.config["SINGLE_SESSION"] = True

        again = log_in(client, "grace")

        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert me(client, again.access_token).status_code == 200
        assert me(client, other.access_token).status_code == 200

    def test_renews_a_hash_of_other_parameters(self, app, client, user):
        """A login replaces a hash of other parameters, and `updated_at` stays."""
        with app.app_context():
            weak = "$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$"
            before = db.session.scalar(select(User.password_hash))
            assert not before.startswith(weak[:22])
            from argon2 import PasswordHasher  # noqa: PLC0415 -- only this test makes such a hash

            old = PasswordHasher(memory_cost=16, time_cost=2, parallelism=1).hash(PASSWORD)
            changed_at = db.session.scalar(select(User.updated_at))
            db.session.execute(update(User).values(password_hash=old, updated_at=User.updated_at))
            db.session.commit()

        log_in(client, "grace")

        with app.app_context():
            after = db.session.scalar(select(User.password_hash))
            assert after != old
            assert "m=8,t=1,p=1" in after
            assert db.session.scalar(select(User.updated_at)) == changed_at
        assert log_in(client, "grace").id == user.id

    def test_deletes_expired_rows(self, app, client, user):
        """A login deletes expired sessions and revoked tokens."""
        with app.app_context():
            long_ago = utcnow() - timedelta(days=60)
            for number in range(3):
                db.session.add(Session(user_id=user.id, expires_at=long_ago))
                db.session.add(RevokedToken(jti=UUID(int=number), expires_at=long_ago))
            db.session.commit()

        with time_machine.travel(utcnow() + PRUNE_EVERY):
            log_in(client, "grace")

        assert count(app, Session) == 2
        assert count(app, RevokedToken) == 0


class TestFreshLogin:
    def fresh_login(self, client, username, headers=None, password=PASSWORD):
        return client.post(
            f"{API}/auth/fresh-login", headers=headers, json={"username": username, "password": password}
        )

    def test_joins_the_callers_session(self, app, client, user, as_stale_user):
        """The fresh token belongs to the session of the caller's token."""
        response = self.fresh_login(client, "grace", as_stale_user)

        assert response.status_code == 200
        assert response.json.keys() == TOKENS - {"refresh_token"}
        token = response.json["access_token"]
        assert claims(token)["fresh"] is True
        assert claims(token)["sid"] == claims(user.access_token)["sid"]
        assert count(app, Session) == 1
        client.post(f"{API}/auth/logout", headers=as_stale_user)
        assert error(me(client, token)) == (401, "token_revoked")

    def test_without_a_token(self, app, client, user):
        """Without a token it starts a session that ends with the access token."""
        token = self.fresh_login(client, "grace").json["access_token"]

        assert claims(token)["sid"] != claims(user.access_token)["sid"]
        with app.app_context():
            session = db.session.get(Session, UUID(claims(token)["sid"]))
            assert session.refresh_jti is None
            assert int(session.expires_at.timestamp()) == claims(token)["exp"]

    def test_ignores_a_dead_or_foreign_token(self, client, user):
        """An invalid token, or another user's, counts as no token."""
        other = sign_up(client, "linus")
        dead = log_in(client, "grace")
        client.post(f"{API}/auth/logout", headers=dead.headers)

        for headers in (
            dead.headers,
            bearer("x.y.z"),
            bearer(user.refresh_token),
            {"Authorization": "Bearer"},
            other.headers,
        ):
            response = self.fresh_login(client, "grace", headers)

            assert response.status_code == 200
            assert claims(response.json["access_token"])["sub"] == str(user.id)
            assert claims(response.json["access_token"])["sid"] not in (
                claims(dead.access_token)["sid"],
                claims(other.access_token)["sid"],
            )

    def test_needs_the_password(self, client, user):
        """A wrong password gets 401 even with a valid token."""
        assert error(self.fresh_login(client, "grace", user.headers, "wrong wrong")) == (401, "invalid_credentials")


class TestRefresh:
    def test_gives_a_stale_access_token_and_the_successor(self, client, user):
        """A refresh returns a stale access token and the next refresh token."""
        token = user.refresh_token
        for _ in range(5):
            response = refresh(client, token)

            assert response.status_code == 200
            assert response.headers["Cache-Control"] == "no-store"
            assert response.json.keys() == TOKENS
            assert claims(response.json["access_token"])["fresh"] is False
            assert claims(response.json["refresh_token"])["jti"] != claims(token)["jti"]
            assert me(client, response.json["access_token"]).status_code == 200
            token = response.json["refresh_token"]

    def test_keeps_one_row_a_login(self, app, client, user):
        """Refreshes add neither a session nor a revoked token."""
        token = user.refresh_token
        for _ in range(3):
            token = refresh(client, token).json["refresh_token"]

        assert count(app, Session) == 1
        assert count(app, RevokedToken) == 0

    def test_keeps_the_admin(self, client, admin):
        """The new access token of an administrator has the role."""
        token = refresh(client, admin.refresh_token).json["access_token"]

        assert claims(token)["is_admin"] is True
        assert client.get(f"{API}/users", headers=bearer(token)).status_code == 200

    def test_the_same_successor_within_the_grace(self, client, user):
        """Within the grace the same token gets the same successor again."""
        with time_machine.travel(utcnow(), tick=False) as clock:
            first = refresh(client, user.refresh_token).json["refresh_token"]
            clock.shift(9.9)
            assert refresh(client, user.refresh_token).json["refresh_token"] == first
            assert refresh(client, first).status_code == 200

    def test_reuse_after_the_grace_ends_the_session(self, client, user):
        """A reuse after the grace ends this session and no other."""
        elsewhere = log_in(client, "grace")
        with time_machine.travel(utcnow(), tick=False) as clock:
            tokens = refresh(client, user.refresh_token).json
            clock.shift(10.1)

            response = refresh(client, user.refresh_token)

            assert error(response) == (401, "token_reused")
            assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
            assert error(me(client, tokens["access_token"])) == (401, "token_revoked")
            assert error(refresh(client, tokens["refresh_token"])) == (401, "token_revoked")
            assert error(refresh(client, user.refresh_token)) == (401, "token_revoked")
            assert me(client, elsewhere.access_token).status_code == 200
            assert refresh(client, elsewhere.refresh_token).status_code == 200

    def test_reuse_does_not_extend_the_grace(self, client, user):
        """A reuse within the grace does not extend it."""
        with time_machine.travel(utcnow(), tick=False) as clock:
            refresh(client, user.refresh_token)
            clock.shift(6)
            assert refresh(client, user.refresh_token).status_code == 200
            clock.shift(6)
            assert error(refresh(client, user.refresh_token)) == (401, "token_reused")

    def test_a_grandparent_is_reuse_even_within_the_grace(self, client, user):
        """A token whose successor was exchanged is reused, even within the grace."""
        successor = refresh(client, user.refresh_token).json["refresh_token"]
        refresh(client, successor)

        assert error(refresh(client, user.refresh_token)) == (401, "token_reused")

    def test_without_a_grace_the_first_reuse_counts(self, app, client, user):
        """With REFRESH_GRACE=0 the first reuse gets 401."""
        app.config["REFRESH_GRACE"] = 0
        with time_machine.travel(utcnow(), tick=False) as clock:
            refresh(client, user.refresh_token)
            clock.shift(0.001)
            assert error(refresh(client, user.refresh_token)) == (401, "token_reused")

    def test_does_not_extend_the_session(self, app, client, user):
        """A session ends when its first refresh token would have expired."""
        app.config["SESSION_IDLE"] = 0
        end = claims(user.refresh_token)["exp"]
        with time_machine.travel(end - 300, tick=False) as clock:
            response = refresh(client, user.refresh_token)
            assert claims(response.json["refresh_token"])["exp"] == end
            assert response.json["expires_in"] == 300
            assert claims(response.json["access_token"])["exp"] == end
            clock.shift(300 + 11)
            assert error(refresh(client, response.json["refresh_token"])) == (401, "token_expired")
            assert error(me(client, response.json["access_token"])) == (401, "token_expired")

    def test_takes_no_access_token(self, client, user):
        """An access token cannot refresh, and a refresh token cannot read."""
        assert error(refresh(client, user.access_token)) == (401, "invalid_token")
        assert error(me(client, user.refresh_token)) == (401, "invalid_token")


class TestLogout:
    def test_ends_the_session(self, client, user):
        """Both tokens are revoked, and another session continues."""
        elsewhere = log_in(client, "grace")

        response = client.post(f"{API}/auth/logout", headers=user.headers)

        assert response.status_code == 200
        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert error(refresh(client, user.refresh_token)) == (401, "token_revoked")
        assert me(client, elsewhere.access_token).status_code == 200

    def test_within_the_grace_of_a_rotation(self, client, user):
        """A logout within the grace revokes the old and the new refresh token."""
        successor = refresh(client, user.refresh_token).json["refresh_token"]
        client.post(f"{API}/auth/logout", headers=user.headers)

        assert error(refresh(client, user.refresh_token)) == (401, "token_revoked")
        assert error(refresh(client, successor)) == (401, "token_revoked")


class TestLogoutAccess:
    def test_revokes_this_token_alone(self, client, user):
        """The access token is revoked, and the refresh token still works."""
        response = client.post(f"{API}/auth/logout/access", headers=user.headers)

        assert response.json == {"message": "Access token has been revoked"}
        assert error(me(client, user.access_token)) == (401, "token_revoked")
        renewed = refresh(client, user.refresh_token)
        assert renewed.status_code == 200
        assert me(client, renewed.json["access_token"]).status_code == 200

    def test_stays_revoked_as_long_as_the_token_could_live(self, app, client, user):
        """The revocation is deleted only when the token has expired by every clock."""
        client.post(f"{API}/auth/logout/access", headers=user.headers)
        end = claims(user.access_token)["exp"]
        with time_machine.travel(end + 9, tick=False) as clock:
            log_in(client, "grace")
            assert error(me(client, user.access_token)) == (401, "token_revoked")
            assert count(app, RevokedToken) == 1
            clock.shift(3)
            log_in(client, "grace")
            assert error(me(client, user.access_token)) == (401, "token_expired")
            assert count(app, RevokedToken) == 1
            clock.shift(CLOCKS_ERR + MAX_LEEWAY)
            log_in(client, "grace")
            assert count(app, RevokedToken) == 0


class TestLogoutRefresh:
    def logout_refresh(self, client, token):
        return client.post(f"{API}/auth/logout/refresh", headers=bearer(token))

    def test_revokes_this_token_alone(self, client, user):
        """The refresh token is revoked, and the access token still works."""
        response = self.logout_refresh(client, user.refresh_token)

        assert response.json == {"message": "Refresh token has been revoked"}
        assert error(refresh(client, user.refresh_token)) == (401, "token_revoked")
        assert me(client, user.access_token).status_code == 200

    def test_revokes_the_successor_too(self, client, user):
        """A token that was just exchanged is revoked with its successor."""
        successor = refresh(client, user.refresh_token).json["refresh_token"]

        assert self.logout_refresh(client, user.refresh_token).status_code == 200
        assert error(refresh(client, successor)) == (401, "token_revoked")
        assert error(refresh(client, user.refresh_token)) == (401, "token_revoked")
        assert me(client, user.access_token).status_code == 200

    def test_reuse_ends_the_session(self, client, user):
        """A token that is reused after the grace ends the session."""
        with time_machine.travel(utcnow(), tick=False) as clock:
            tokens = refresh(client, user.refresh_token).json
            clock.shift(11)
            assert error(self.logout_refresh(client, user.refresh_token)) == (401, "token_reused")
            assert error(me(client, tokens["access_token"])) == (401, "token_revoked")


class TestChangePassword:
    def change(self, client, headers, current=PASSWORD, new="another long one"):
        return client.put(
            f"{API}/auth/password", headers=headers, json={"current_password": current, "new_password": new}
        )

    def test_ends_every_session_and_starts_a_new_one(self, client, user):
        """The old tokens and password are refused, the new ones work."""
        elsewhere = log_in(client, "grace")

        response = self.change(client, user.headers)

        assert response.status_code == 200
        for account in (user, elsewhere):
            assert error(me(client, account.access_token)) == (401, "token_revoked")
            assert error(refresh(client, account.refresh_token)) == (401, "token_revoked")
        assert me(client, response.json["access_token"]).status_code == 200
        assert refresh(client, response.json["refresh_token"]).status_code == 200
        assert log_in(client, "grace", "another long one").id == user.id
        old = client.post(f"{API}/auth/login", json={"username": "grace", "password": PASSWORD})
        assert error(old) == (401, "invalid_credentials")

    def test_needs_the_current_password(self, client, user):
        """A wrong current password gets 401 and changes nothing."""
        assert error(self.change(client, user.headers, current="wrong wrong")) == (401, "invalid_credentials")
        assert me(client, user.access_token).status_code == 200
        assert log_in(client, "grace").id == user.id

    def test_needs_a_fresh_token(self, client, as_stale_user):
        """A stale token gets 401 with the challenge of RFC 9470."""
        response = self.change(client, as_stale_user)

        assert error(response) == (401, "fresh_token_required")
        assert 'error="insufficient_user_authentication"' in response.headers["WWW-Authenticate"]

    def test_refuses_a_short_new_password(self, client, user):
        """A short new password gets 422."""
        assert self.change(client, user.headers, new="short").json["errors"]["json"].keys() == {"new_password"}


class TestDeadTokens:
    """Tokens of users who are deleted, deactivated, demoted or promoted."""

    def test_a_deleted_users_tokens_stay_revoked(self, app, client, user):
        """A new user of the same name inherits neither the id nor the tokens."""
        client.delete(f"{API}/users/me", headers=user.headers)
        newcomer = sign_up(client, "grace")

        assert newcomer.id != user.id
        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert error(refresh(client, user.refresh_token)) == (401, "token_revoked")

    def test_a_deactivated_users_tokens_stay_revoked(self, app, client, user, as_admin):
        """A deactivation revokes the tokens, and an activation does not restore them."""
        path = f"{API}/users/{user.id}"
        client.patch(path, headers=as_admin, json={"is_active": False})
        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert error(refresh(client, user.refresh_token)) == (401, "token_revoked")

        client.patch(path, headers=as_admin, json={"is_active": True})

        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert log_in(client, "grace").id == user.id

    def test_a_demoted_admin_is_refused_at_once(self, app, client, admin):
        """A demoted administrator gets 403 with a token that has the role."""
        with app.app_context():
            db.session.execute(update(User).values(is_admin=False))
            db.session.commit()

        assert error(client.get(f"{API}/users", headers=admin.headers)) == (403, "admin_required")

    def test_a_promoted_user_needs_a_new_token(self, app, client, user):
        """A promoted user is an administrator after the next refresh."""
        make_admin(app, "grace")
        assert error(client.get(f"{API}/users", headers=user.headers)) == (403, "admin_required")

        renewed = bearer(refresh(client, user.refresh_token).json["access_token"])

        assert client.get(f"{API}/users", headers=renewed).status_code == 200
