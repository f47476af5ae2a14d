"""Who may call the routes of items, and how many statements each sends."""

from support.api import API


def make_item(client, user):
    return client.post(f"{API}/items", headers=user.headers, json={"name": "Lamp", "price": "1"}).json["id"]


PATHS = {"<int:item_id>": make_item}

#   body, then: nobody user other admin refresh revoked stale
POLICY = {
    ("GET", f"{API}/items"): (None, "200", "200", "200", "200", "bad", "dead", "200"),
    ("POST", f"{API}/items"): ({"name": "New", "price": "1"}, "who", "201", "201", "201", "bad", "dead", "old"),
    ("GET", f"{API}/items/<int:item_id>"): (None, "who", "200", "200", "200", "bad", "dead", "200"),
    ("PATCH", f"{API}/items/<int:item_id>"): ({"price": "2"}, "who", "200", "own", "200", "bad", "dead", "200"),
    ("DELETE", f"{API}/items/<int:item_id>"): (None, "who", "adm", "adm", "200", "bad", "dead", "adm"),
}

STATEMENTS = {
    ("GET", f"{API}/items"): 2,
    ("POST", f"{API}/items"): 2,
    ("GET", f"{API}/items/<int:item_id>"): 2,
    ("PATCH", f"{API}/items/<int:item_id>"): 5,
    ("DELETE", f"{API}/items/<int:item_id>"): 5,
}
