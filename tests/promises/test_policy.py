"""Who may do what: every route, met by every kind of caller."""

import pytest

from support.api import API, bearer, claims, refresh
from support.contract import documented
from support.routes import assert_same, tables

CALLERS = ("nobody", "user", "other", "admin", "refresh", "revoked", "stale")

# The answers, as they stand in the table.
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

# The tables stand in tests/features/*/routes.py.
# `user` is the owner of the session, the account and the item that the paths name.
# `stale` is the same user by a token from a refresh; `admin` is fresh, and the only one.
MATRIX = tables("POLICY")

UNDOCUMENTED = ("/openapi.json", "/docs/<name>")  # the document itself, and what its page is made of


def routes(app):
    """Every method and path of the program, but for what Flask answers by itself."""
    return {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods - {"HEAD", "OPTIONS"}}


def test_every_route_is_in_the_matrix(app):
    """A route that nobody has decided about is a failure, and so is a row without a route."""
    assert_same(routes(app), MATRIX, (None, *CALLERS))


def fill_in(path, user, lamp):
    """The path of what is there."""
    path = path.replace("<uuid:session_id>", claims(user.access_token)["sid"])
    path = path.replace("<int:user_id>", str(user.id)).replace("<int:item_id>", str(lamp["id"]))
    path = path.replace("<name>", "init.js")
    assert "<" not in path, f"{path}: tell fill_in() in tests/promises/test_policy.py what stands there"
    return path


@pytest.fixture
def headers(request, client, user, lamp, caller):
    """What this kind of caller sends; only whoever is asked for is made."""
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
def test_who_may_do_what(client, user, lamp, headers, method, path, caller):
    """Each caller gets exactly the answer that the table promises."""
    body, *answers = MATRIX[method, path]

    response = client.open(fill_in(path, user, lamp), method=method, headers=headers, json=body)

    status, code = ANSWERS[answers[CALLERS.index(caller)]]
    found = response.get_json(silent=True) or {}  # a page is no JSON
    assert (response.status_code, found.get("error")) == (status, code)


def test_the_document_tells_who_may(app, client):
    """Where nobody is refused, the API document says which token is needed; where nobody is not, it asks for none."""
    paths = client.get("/openapi.json").json["paths"]
    for (method, path), (_body, nobody, *_others) in MATRIX.items():
        if path in UNDOCUMENTED:
            continue
        security = paths[documented(path)][method.lower()].get("security", [{}])
        assert ({} in security) is (nobody != "who"), (method, path)
