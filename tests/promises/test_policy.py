"""Who may do what: every route, met by every kind of caller."""

import pytest

from support.api import API, PASSWORD, bearer, claims, refresh
from support.contract import documented

CALLERS = ("nobody", "user", "other", "admin", "refresh", "revoked", "stale")

# The answers, as they stand in the table.
ANSWERS = {
    "200": (200, None),
    "201": (201, None),
    "who": (401, "authorization_required"),
    "bad": (401, "invalid_token"),
    "dead": (401, "token_revoked"),
    "old": (401, "fresh_token_required"),
    "adm": (403, "admin_required"),
    "own": (403, "forbidden"),
    "404": (404, "not_found"),
    "last": (409, "last_admin"),
}

CREDENTIALS = {"username": "grace", "password": PASSWORD}
NEWCOMER = {"username": "newcomer", "password": PASSWORD}
CHANGE = {"current_password": PASSWORD, "new_password": "another long one"}

# `user` is the owner of the session, the account and the item that the paths name.
# `stale` is the same user by a token from a refresh; `admin` is fresh, and the only one.
#                                           nobody user other admin refresh revoked stale
MATRIX = {
    ("GET", "/"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/openapi.json"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/docs"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/docs/<name>"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/.well-known/jwks.json"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/health/live"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/health/ready"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("POST", f"{API}/auth/register"): (NEWCOMER, "201", "201", "201", "201", "201", "201", "201"),
    ("POST", f"{API}/auth/login"): (CREDENTIALS, "200", "200", "200", "200", "200", "200", "200"),
    ("POST", f"{API}/auth/fresh-login"): (CREDENTIALS, "200", "200", "200", "200", "200", "200", "200"),
    ("POST", f"{API}/auth/refresh"): (None, "who", "bad", "bad", "bad", "200", "bad", "bad"),
    ("POST", f"{API}/auth/logout"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("POST", f"{API}/auth/logout/access"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("POST", f"{API}/auth/logout/refresh"): (None, "who", "bad", "bad", "bad", "200", "bad", "bad"),
    ("PUT", f"{API}/auth/password"): (CHANGE, "who", "200", "200", "200", "bad", "dead", "old"),
    ("GET", f"{API}/auth/sessions"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("DELETE", f"{API}/auth/sessions"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("DELETE", f"{API}/auth/sessions/<uuid:session_id>"): (None, "who", "200", "404", "404", "bad", "dead", "200"),
    ("GET", f"{API}/users"): (None, "who", "adm", "adm", "200", "bad", "dead", "adm"),
    ("DELETE", f"{API}/users"): (None, "who", "adm", "adm", "200", "bad", "dead", "adm"),
    ("GET", f"{API}/users/me"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("PATCH", f"{API}/users/me"): ({"username": "renamed"}, "who", "200", "200", "200", "bad", "dead", "200"),
    ("DELETE", f"{API}/users/me"): (None, "who", "200", "200", "last", "bad", "dead", "old"),
    ("GET", f"{API}/users/<int:user_id>"): (None, "who", "200", "own", "200", "bad", "dead", "200"),
    ("PATCH", f"{API}/users/<int:user_id>"): ({"is_active": True}, "who", "adm", "adm", "200", "bad", "dead", "adm"),
    ("DELETE", f"{API}/users/<int:user_id>"): (None, "who", "adm", "adm", "200", "bad", "dead", "adm"),
    ("GET", f"{API}/items"): (None, "200", "200", "200", "200", "bad", "dead", "200"),
    ("POST", f"{API}/items"): ({"name": "New", "price": "1"}, "who", "201", "201", "201", "bad", "dead", "old"),
    ("GET", f"{API}/items/<int:item_id>"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("PATCH", f"{API}/items/<int:item_id>"): ({"price": "2"}, "who", "200", "own", "200", "bad", "dead", "200"),
    ("DELETE", f"{API}/items/<int:item_id>"): (None, "who", "adm", "adm", "200", "bad", "dead", "adm"),
}

UNDOCUMENTED = ("/openapi.json", "/docs/<name>")  # the document itself, and what its page is made of


def routes(app):
    """Every method and path of the program, but for what Flask answers by itself."""
    return {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods - {"HEAD", "OPTIONS"}}


def test_every_route_is_in_the_matrix(app):
    """A route that nobody has decided about is a failure, and so is a row without a route."""
    assert routes(app) == MATRIX.keys()


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
    assert (response.status_code, (response.json or {}).get("error")) == (status, code)  # a page is no JSON


def test_the_document_tells_who_may(app, client):
    """Where nobody is refused, the API document says which token is needed; where nobody is not, it asks for none."""
    paths = client.get("/openapi.json").json["paths"]
    for (method, path), (_body, nobody, *_others) in MATRIX.items():
        if path in UNDOCUMENTED:
            continue
        security = paths[documented(path)][method.lower()].get("security", [{}])
        assert ({} in security) is (nobody != "who"), (method, path)
