"""Who may call the routes of sessions, and how many statements each sends."""

from support.api import API, claims

PATHS = {"<uuid:session_id>": lambda _client, user: claims(user.access_token)["sid"]}

#   body, then: nobody user other admin refresh revoked stale
POLICY = {
    ("GET", f"{API}/auth/session"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("GET", f"{API}/auth/sessions"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("DELETE", f"{API}/auth/sessions"): (None, "who", "200", "200", "200", "bad", "dead", "old"),
    ("DELETE", f"{API}/auth/sessions/<uuid:session_id>"): (None, "who", "200", "404", "404", "bad", "dead", "200"),
    ("GET", f"{API}/users/<int:user_id>/sessions"): (None, "who", "adm", "adm", "200", "bad", "dead", "adm"),
    ("DELETE", f"{API}/users/<int:user_id>/sessions"): (None, "who", "adm", "adm", "200", "bad", "dead", "adm"),
}

EVENTS = {
    ("DELETE", f"{API}/auth/sessions"): ["session_ended"],
    ("DELETE", f"{API}/auth/sessions/<uuid:session_id>"): ["session_ended"],
    ("DELETE", f"{API}/users/<int:user_id>/sessions"): ["session_ended"],
}

STATEMENTS = {
    ("GET", f"{API}/auth/session"): 1,
    ("GET", f"{API}/auth/sessions"): 2,
    ("DELETE", f"{API}/auth/sessions"): 2,
    ("DELETE", f"{API}/auth/sessions/<uuid:session_id>"): 2,
    ("GET", f"{API}/users/<int:user_id>/sessions"): 3,
    ("DELETE", f"{API}/users/<int:user_id>/sessions"): 3,
}
