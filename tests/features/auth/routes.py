"""Who may call the routes of auth, and how many statements each sends."""

from support.api import API, PASSWORD

CREDENTIALS = {"username": "grace", "password": PASSWORD}
NEWCOMER = {"username": "newcomer", "password": PASSWORD}
CHANGE = {"current_password": PASSWORD, "new_password": "another long one"}

#   body, then: nobody user other admin refresh revoked stale
POLICY = {
    ("POST", f"{API}/auth/register"): (NEWCOMER, "201", "201", "201", "201", "201", "201", "201"),
    ("POST", f"{API}/auth/login"): (CREDENTIALS, "200", "200", "200", "200", "200", "200", "200"),
    ("POST", f"{API}/auth/fresh-login"): (CREDENTIALS, "200", "200", "200", "200", "200", "200", "200"),
    ("POST", f"{API}/auth/refresh"): (None, "who", "bad", "bad", "bad", "200", "bad", "bad"),
    ("POST", f"{API}/auth/logout"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("POST", f"{API}/auth/logout/access"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("POST", f"{API}/auth/logout/refresh"): (None, "who", "bad", "bad", "bad", "200", "bad", "bad"),
    ("PUT", f"{API}/auth/password"): (CHANGE, "who", "200", "200", "200", "bad", "dead", "old"),
}


def events_of_login(caller):
    """A login ends the session whose token it sends."""
    has_session = caller not in ("nobody", "revoked")
    return ["authn_login_success", *(["session_ended"] if has_session else [])]


EVENTS = {
    ("POST", f"{API}/auth/register"): ["user_created"],
    ("POST", f"{API}/auth/login"): events_of_login,
    ("POST", f"{API}/auth/fresh-login"): ["authn_login_success"],
    ("POST", f"{API}/auth/refresh"): ["session_renewed"],
    ("POST", f"{API}/auth/logout"): ["session_ended"],
    ("POST", f"{API}/auth/logout/access"): ["authn_token_revoked"],
    ("POST", f"{API}/auth/logout/refresh"): ["authn_token_revoked"],
    ("PUT", f"{API}/auth/password"): ["authn_password_change"],
}

STATEMENTS = {
    ("POST", f"{API}/auth/register"): 7,
    ("POST", f"{API}/auth/login"): 9,  # without a token of another session 7
    ("POST", f"{API}/auth/fresh-login"): 6,
    ("POST", f"{API}/auth/refresh"): 2,
    ("POST", f"{API}/auth/logout"): 2,
    ("POST", f"{API}/auth/logout/access"): 2,
    ("POST", f"{API}/auth/logout/refresh"): 3,
    ("PUT", f"{API}/auth/password"): 10,
}
