"""The functions for a project's own login and reset flows."""

import pytest

from app.auth.models import Session
from app.auth.service import set_password, start_login
from app.data.base import db
from app.tokens.issuing import issue_tokens
from app.users.models import User
from app.web.errors import ApiError, Code
from app.web.request import client_of_request
from support.api import API, PASSWORD, count, error, log_in, me, refresh

NEW = "another long one"


@pytest.fixture
def request_context(app):
    with app.test_request_context(headers={"User-Agent": "reset page"}):
        yield


@pytest.fixture
def row(user, request_context):
    return db.session.get(User, user.id)


class TestSetPassword:
    def test_ends_every_session(self, client, user, row):
        """The old tokens are revoked, and only the new password logs in."""
        set_password(row, NEW)
        db.session.commit()

        assert error(me(client, user.access_token)) == (401, "token_revoked")
        assert error(refresh(client, user.refresh_token)) == (401, "token_revoked")
        old = client.post(f"{API}/auth/login", json={"username": user.username, "password": PASSWORD})
        assert error(old) == (401, "invalid_credentials")
        assert log_in(client, user.username, NEW).id == user.id

    def test_before_a_login(self, client, row):
        """The same object can start a login after `set_password()`."""
        set_password(row, NEW)
        grant = start_login(row, client_of_request())
        db.session.commit()

        assert me(client, issue_tokens(row, grant, fresh=True)["access_token"]).status_code == 200

    def test_of_an_inactive_user(self, row):
        """A deactivated user is refused, and the hash stays."""
        before = row.password_hash
        row.is_active = False
        db.session.commit()

        with pytest.raises(ApiError) as refused:
            set_password(row, NEW)

        assert refused.value.code is Code.invalid_credentials
        db.session.refresh(row)
        assert row.password_hash == before

    def test_after_another_change(self, client, user, row):
        """Of two changes that read the same user, the second is refused."""
        body = {"current_password": PASSWORD, "new_password": "the first of two"}
        db.session.expunge(row)  # so that it does not see the other change
        db.session.rollback()
        assert client.put(f"{API}/auth/password", headers=user.headers, json=body).status_code == 200

        with pytest.raises(ApiError) as refused:
            set_password(row, NEW)

        assert refused.value.code is Code.invalid_credentials
        db.session.rollback()
        assert log_in(client, user.username, "the first of two").id == user.id


class TestStartLogin:
    def test_is_a_session_like_any_other(self, client, row):
        """The tokens work, and the list of sessions shows the user agent."""
        grant = start_login(row, client_of_request())
        db.session.commit()
        token = issue_tokens(row, grant, fresh=True)["access_token"]

        listed = client.get(f"{API}/auth/sessions", headers={"Authorization": f"Bearer {token}"}).json["sessions"]

        assert next(session for session in listed if session["current"])["user_agent"] == "reset page"

    @pytest.mark.parametrize(("single", "sessions"), [(False, 2), (True, 1)])
    def test_single_session(self, app, row, single, sessions):
        """With SINGLE_SESSION the earlier sessions end."""
        app.config["SINGLE_SESSION"] = single

        start_login(row, client_of_request())
        db.session.commit()

        assert count(app, Session) == sessions
