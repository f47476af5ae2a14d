"""Every route and kind of caller, as POLICY and EVENTS of the features say."""

import re
from uuid import uuid4

import pytest

from app.web.logs import event_logged
from support.api import API, bearer, error, refresh
from support.contract import documented
from support.routes import CALLERS, MATRIX, assert_same, filled_in, routes, tables

# The names of the responses in POLICY.
ANSWERS = {
    **{str(status): (status, None) for status in range(200, 300)},
    "who": (401, "authorization_required"),
    "bad": (401, "invalid_token"),
    "dead": (401, "token_revoked"),
    "old": (401, "fresh_token_required"),
    "adm": (403, "admin_required"),
    "own": (403, "forbidden"),
    "404": (404, "not_found"),
    "last": (409, "last_admin"),
}

# The security event of each refusal of authorization.  Without a token there is none to refuse.
REFUSED = {
    "bad": "authn_token_invalid",
    "dead": "session_use_after_expire",
    "old": "authz_fail",
    "adm": "authz_fail",
    "own": "authz_fail",
    "404": "authz_fail",
}
EVENTS = tables("EVENTS")

UNDOCUMENTED = ("/openapi.json", "/docs/<name>")  # the document itself and the files of its page


def test_every_route_is_in_the_matrix(app):
    """Every route has a row, and every row a route."""
    assert_same(routes(app), MATRIX, (None, *CALLERS))


@pytest.fixture
def address(client, user, path):
    return filled_in(path, client, user)


@pytest.fixture
def headers(request, client, user, address, caller):
    """The token of this kind of caller.  Only this caller is created."""
    if caller == "nobody":
        return {}
    if caller in ("other", "admin"):
        return request.getfixturevalue(caller).headers
    if caller == "revoked":
        client.post(f"{API}/auth/logout/access", headers=user.headers)
    if caller in ("refresh", "stale"):
        renewed = refresh(client, user.refresh_token).json
        return bearer(renewed["refresh_token" if caller == "refresh" else "access_token"])
    return user.headers


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(("method", "path"), MATRIX)
def test_who_may_do_what(client, user, address, headers, method, path, caller):
    """Each caller gets the status and the code of the table."""
    body, *answers = MATRIX[method, path]
    if callable(body):
        body = body(client, user)

    response = client.open(address, method=method, headers=headers, json=body)

    status, code = ANSWERS[answers[CALLERS.index(caller)]]
    found = response.get_json(silent=True) or {}  # a page has no JSON
    assert (response.status_code, found.get("error")) == (status, code)


@pytest.fixture
def events(app):
    """The names of all security events, also of those that a flood leaves unwritten."""
    names = []

    def keep(_app, *, event, **_members):
        names.append(event)

    with event_logged.connected_to(keep, sender=app):
        yield names


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(("method", "path"), MATRIX)
def test_what_is_logged(client, user, events, address, headers, method, path, caller):
    """Each refusal of authorization is one security event; a success has those of the table."""
    body, *answers = MATRIX[method, path]
    if callable(body):
        body = body(client, user)
    events.clear()

    client.open(address, method=method, headers=headers, json=body)

    answer = answers[CALLERS.index(caller)]
    expected = [REFUSED[answer]] if answer in REFUSED else []
    if answer.startswith("2"):
        expected = EVENTS.get((method, path), [])
    assert events == (expected(caller) if callable(expected) else expected)


class TestTokens:
    """Refused tokens that are the same for all callers, at every route that checks its token."""

    @pytest.fixture
    def ask(self, client, admin, events):
        """Send a token to every route, and return the answers and events."""

        def ask(change=lambda token: token, *, by_cookie=False):
            found = {}
            for (method, path), (_body, *answers) in MATRIX.items():
                if answers[CALLERS.index("revoked")].startswith("2") or (by_cookie and method == "GET"):
                    continue
                takes_refresh = answers[CALLERS.index("refresh")].startswith("2")
                token = change(admin.refresh_token if takes_refresh else admin.access_token)
                address = re.sub("<int:[^>]*>", "1", re.sub("<uuid:[^>]*>", str(uuid4()), path))  # nobody looks
                client.set_cookie("refresh_token_cookie" if takes_refresh else "access_token_cookie", token)
                events.clear()
                response = client.open(address, method=method, headers=None if by_cookie else bearer(token))
                found[method, path] = error(response), *events
            return found

        return ask

    def test_with_a_wrong_signature(self, ask):
        """A forged token is one event at every route."""
        found = ask(lambda token: token[:-8] + "AAAAAAAA")

        assert set(found.values()) == {((401, "invalid_token"), "authn_token_invalid")}
        assert len(found) > 20

    def test_of_a_session_that_is_over(self, client, admin, ask):
        """A token of an ended session is one event at every route."""
        client.post(f"{API}/auth/logout", headers=admin.headers)

        assert set(ask().values()) == {((401, "token_revoked"), "session_use_after_expire")}

    def test_without_the_csrf_value(self, ask):
        """A cookie without its CSRF value is one event at every route that changes something."""
        found = ask(by_cookie=True)

        assert set(found.values()) == {((403, "csrf_failed"), "csrf_failed")}


def test_the_document_requires_tokens(app, client):
    """An operation requires a token exactly if callers without one get 401."""
    paths = client.get("/openapi.json").json["paths"]
    for (method, path), (_body, nobody, *_others) in MATRIX.items():
        if path in UNDOCUMENTED:
            continue
        security = paths[documented(path)][method.lower()].get("security", [{}])
        assert ({} in security) is (nobody != "who"), (method, path)
