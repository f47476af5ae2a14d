"""Who may call the routes of system, and how many statements each sends."""

PATHS = {"<name>": lambda _client, _user: "init.js"}

#   body, then: nobody user other admin refresh revoked stale
POLICY = {
    ("GET", "/"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/openapi.json"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/docs"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/docs/<name>"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/.well-known/jwks.json"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/health/live"): (None, "200", "200", "200", "200", "200", "200", "200"),
    ("GET", "/health/ready"): (None, "200", "200", "200", "200", "200", "200", "200"),
}

STATEMENTS = {
    ("GET", "/"): 0,
    ("GET", "/openapi.json"): 0,
    ("GET", "/docs"): 0,
    ("GET", "/docs/<name>"): 0,
    ("GET", "/.well-known/jwks.json"): 0,
    ("GET", "/health/live"): 0,
    ("GET", "/health/ready"): 8,
}
