"""Who may call the routes of users, and how many statements each sends."""

from support.api import API

PATHS = {"<int:user_id>": lambda _client, user: user.id}

#   body, then: nobody user other admin refresh revoked stale
POLICY = {
    ("GET", f"{API}/users"): (None, "who", "adm", "adm", "200", "bad", "dead", "adm"),
    ("DELETE", f"{API}/users"): (None, "who", "adm", "adm", "200", "bad", "dead", "adm"),
    ("GET", f"{API}/users/me"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("PATCH", f"{API}/users/me"): ({"username": "renamed"}, "who", "200", "200", "200", "bad", "dead", "old"),
    ("DELETE", f"{API}/users/me"): (None, "who", "200", "200", "last", "bad", "dead", "old"),
    ("GET", f"{API}/users/<int:user_id>"): (None, "who", "200", "own", "200", "bad", "dead", "200"),
    ("PATCH", f"{API}/users/<int:user_id>"): ({"is_active": True}, "who", "adm", "adm", "200", "bad", "dead", "adm"),
    ("DELETE", f"{API}/users/<int:user_id>"): (None, "who", "adm", "adm", "200", "bad", "dead", "adm"),
}

EVENTS = {
    ("DELETE", f"{API}/users"): ["users_deleted"],
    ("PATCH", f"{API}/users/me"): ["user_updated"],
    ("DELETE", f"{API}/users/me"): ["user_deleted"],
    ("PATCH", f"{API}/users/<int:user_id>"): ["authz_change"],
    ("DELETE", f"{API}/users/<int:user_id>"): ["user_deleted"],
}

STATEMENTS = {
    ("GET", f"{API}/users"): 2,
    ("DELETE", f"{API}/users"): 4,
    ("GET", f"{API}/users/me"): 1,
    ("PATCH", f"{API}/users/me"): 8,
    ("DELETE", f"{API}/users/me"): 7,
    ("GET", f"{API}/users/<int:user_id>"): 1,
    ("PATCH", f"{API}/users/<int:user_id>"): 4,
    ("DELETE", f"{API}/users/<int:user_id>"): 7,
}
