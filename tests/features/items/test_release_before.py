from support.api import API, PASSWORD, bearer, make_admin, sign_up
from support.releases import same


def test_the_release_before_shares_the_items(app, client, old, new):
    """An item that one release creates, changes and deletes is the same in the other."""
    credentials = {"username": "grace", "password": PASSWORD}
    sign_up(client, "grace")
    make_admin(app, "grace")
    for here, there in ((old, new), (new, old)):
        headers = bearer(here("POST", f"{API}/auth/login", credentials)[1]["access_token"])
        status, item = here("POST", f"{API}/items", {"name": "Lamp", "price": "19.90"}, **headers)
        path = f"{API}/items/{item.get('id')}"
        assert status == 201, item
        assert same(item, there("GET", path, **headers)[1])
        status, item = here("PATCH", path, {"name": "Läuchter", "description": "bright"}, **headers)
        assert (status, item["name"]) == (200, "Läuchter"), item
        for release in (here, there):
            [listed] = release("GET", f"{API}/items", **headers)[1]["items"]
            assert same(item, listed)
        assert here("DELETE", path, **headers)[0] == 200
        assert there("GET", path, **headers)[0] == 404
