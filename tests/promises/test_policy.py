"""Every route and kind of caller, as POLICY of the features says."""

import pytest

from support.api import API, bearer, refresh
from support.contract import documented
from support.routes import CALLERS, MATRIX, assert_same, filled_in, routes

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


def test_the_document_requires_tokens(app, client):
    """An operation requires a token exactly if callers without one get 401."""
    paths = client.get("/openapi.json").json["paths"]
    for (method, path), (_body, nobody, *_others) in MATRIX.items():
        if path in UNDOCUMENTED:
            continue
        security = paths[documented(path)][method.lower()].get("security", [{}])
        assert ({} in security) is (nobody != "who"), (method, path)
