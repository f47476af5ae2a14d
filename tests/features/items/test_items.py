"""The items, which are the sample resource."""

import base64
import json
from decimal import Decimal

import pytest

from app.data.base import db
from app.items.models import Item
from support.api import API, bearer, count, error, make_admin, sign_up
from support.statements import statements


def forged(position):
    """A cursor in our format, without a signature."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def create(client, headers, **item):
    return client.post(f"{API}/items", headers=headers, json={"price": "1"} | item)


@pytest.fixture
def five(client, as_user):
    """Five items of the user's, in the order of their ids."""
    return [create(client, as_user, name=f"Thing {number}").json for number in range(5)]


class TestListItems:
    def test_shows_names_alone_to_visitors(self, client, lamp):
        """Without a token the page has only names and a message."""
        response = client.get(f"{API}/items")

        assert response.json == {
            "items": [{"name": "Lamp"}],
            "next_cursor": None,
            "message": "More data available if you log in.",
        }

    def test_shows_everything_to_users(self, client, as_other, lamp):
        """With a token the page has all fields, of other users' items too."""
        response = client.get(f"{API}/items", headers=as_other)

        assert response.json == {"items": [lamp], "next_cursor": None}

    @pytest.mark.parametrize("signed_in", [True, False])
    def test_pages_do_not_repeat_or_skip(self, client, five, as_user, as_admin, signed_in):
        """Each item comes once, though items are added and deleted between pages."""
        headers = as_user if signed_in else {}
        path, names = f"{API}/items?limit=2", []
        while path:
            page = client.get(path, headers=headers)
            names += [item["name"] for item in page.json["items"]]
            if len(names) == 2:
                client.delete(f"{API}/items/{five[0]['id']}", headers=as_admin)
                create(client, as_user, name="Latecomer")
            path = page.headers["Link"][1:].partition(">")[0] if "Link" in page.headers else None

        assert names == [f"Thing {number}" for number in range(5)] + ["Latecomer"]
        assert page.json["next_cursor"] is None

    @pytest.mark.parametrize("gone", [0, 1, 2, 4])
    def test_an_item_is_deleted_between_pages(self, client, five, as_user, as_admin, gone):
        """If an item is deleted, the next page lacks only this item."""
        first = client.get(f"{API}/items?limit=2", headers=as_user)
        client.delete(f"{API}/items/{five[gone]['id']}", headers=as_admin)

        rest = client.get(f"{API}/items?limit=3&cursor={first.json['next_cursor']}", headers=as_user)

        assert first.json["items"] == five[:2]
        assert rest.json["items"] == [item for item in five[2:] if item is not five[gone]]
        assert rest.json["next_cursor"] is None
        assert "Link" not in rest.headers

    def test_the_link_is_the_cursor(self, client, five, as_user):
        """The Link header keeps the query and leads where `next_cursor` does."""
        page = client.get(f"{API}/items?limit=2", headers=as_user)
        again = client.get(f"{API}/items?limit=2&cursor={page.json['next_cursor']}", headers=as_user)

        assert page.headers["Link"] == f'<{API}/items?limit=2&cursor={page.json["next_cursor"]}>; rel="next"'
        assert again.headers["Link"].count("cursor=") == 1
        assert again.json["items"] == five[2:4]

    def test_limits(self, app, client, user):
        """A page has 20 items by default and 100 at most."""
        with app.app_context():
            db.session.add_all(Item(name=f"Thing {number}", price=Decimal(1)) for number in range(101))
            db.session.commit()

        assert len(client.get(f"{API}/items", headers=user.headers).json["items"]) == 20
        assert len(client.get(f"{API}/items?limit=100", headers=user.headers).json["items"]) == 100

    def test_a_full_last_page_has_no_next(self, client, five, as_user):
        """A last page that is full has no `next_cursor`."""
        assert client.get(f"{API}/items?limit=5", headers=as_user).json["next_cursor"] is None
        assert len(client.get(f"{API}/items?limit=4", headers=as_user).json["items"]) == 4

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=-1",
            "limit=101",
            "limit=1_0",
            "limit=1.0",
            "limit=١",
            "limit=",
            "limit=abc",
            "page=1",
            "limit=1&limit=2",
            f"limit={10**30}",
        ],
    )
    def test_refuses_a_bad_query(self, client, as_user, query):
        """A bad limit, a repeated limit and an unknown parameter get 422."""
        assert error(client.get(f"{API}/items?{query}", headers=as_user)) == (422, "validation_failed")

    @pytest.mark.parametrize(
        "cursor",
        [
            "0",
            "abc",
            "=",
            "====",
            "é",
            "\x00",
            "a.b.c",
            "bnVsbA",
            "eyJpZCI6MX0",
            "W10",
            "WyJpdGVtcyIsMF0",
            "WyJpdGVtcyIsdHJ1ZV0",
            "WyJpdGVtcyIsMS41XQ",
            "W1tb" * 1000,
        ],
    )
    def test_refuses_a_forged_cursor(self, client, as_user, cursor):
        """A cursor that no page returned gets 422."""
        response = client.get(f"{API}/items", headers=as_user, query_string={"cursor": cursor})

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"].keys() == {"query"}

    @pytest.mark.parametrize(
        "position",
        [
            ["items", -1],
            ["items", 2**63],
            ["items", 10**30],
            ["items", "1"],
            ["items", None],
            ["items", 1, 1],
            ["users", 1],
            [1, "items"],
            {"items": 1},
            1,
        ],
        ids=json.dumps,
    )
    @pytest.mark.parametrize("signed_in", [True, False])
    def test_refuses_an_unsigned_cursor(self, client, as_user, lamp, position, signed_in):
        """An unsigned cursor gets 422, with a token and without."""
        headers = as_user if signed_in else {}

        response = client.get(f"{API}/items", headers=headers, query_string={"cursor": forged(position)})

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"query": {"cursor": ["Not a cursor of this listing and order."]}}

    def test_a_cursor_of_another_listing_is_refused(self, client, as_user, as_admin):
        """A cursor of the users gets 422."""
        cursor = client.get(f"{API}/users?limit=1", headers=as_admin).json["next_cursor"]

        response = client.get(f"{API}/items", headers=as_user, query_string={"cursor": cursor})

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"query": {"cursor": ["Not a cursor of this listing and order."]}}

    def test_costs_two_queries(self, app, client, five, as_user):
        """A page needs two statements with a token, and one without."""
        with statements(app) as sent:
            page = client.get(f"{API}/items", headers=as_user)
        with statements(app) as sent_for_visitor:
            client.get(f"{API}/items")

        assert page.json["items"] == five
        assert len(sent) == 2, sent
        assert len(sent_for_visitor) == 1, sent_for_visitor


class TestCreateItem:
    def test_creates_an_item(self, client, user):
        """The response has the caller's new item and its Location."""
        response = create(client, user.headers, name="Lamp", price="19.9", description="Brass,\nold")

        assert response.status_code == 201
        item = response.json
        assert item.keys() == {"id", "name", "description", "price", "owner_id", "created_at", "updated_at"}
        assert (item["name"], item["price"], item["description"]) == ("Lamp", "19.90", "Brass,\nold")
        assert item["owner_id"] == user.id
        assert response.headers["Location"] == f"{API}/items/{item['id']}"
        assert client.get(response.headers["Location"], headers=user.headers).json == item

    @pytest.mark.parametrize(
        ("sent", "shown"),
        [("0", "0.00"), ("0.1", "0.10"), ("0.10", "0.10"), ("1", "1.00"), ("99999999.99", "99999999.99")],
    )
    def test_prices_are_exact(self, client, as_user, sent, shown):
        """A price is stored exactly and shown with two decimals."""
        item = create(client, as_user, name="Lamp", price=sent).json

        assert item["price"] == shown
        assert client.get(f"{API}/items/{item['id']}", headers=as_user).json["price"] == shown

    @pytest.mark.parametrize(
        "price",
        [1, 1.5, True, None, [], {}, "", " 1", "1 ", "-1", "-0", "+1", "1.", ".5", "1.555", "1e2", "1_000", "1,5", "١",
         "NaN", "Infinity", "0x10", "00", "01", "100000000", "1.50\n", "1.50\0", "9" * 60_000],
    )  # fmt: skip
    def test_refuses_a_bad_price(self, app, client, as_user, price):
        """A price that is no decimal string from "0" to "99999999.99" gets 422."""
        response = create(client, as_user, name="Lamp", price=price)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"]["json"].keys() == {"price"}
        assert count(app, Item) == 0

    @pytest.mark.parametrize(
        ("sent", "stored"),
        [
            ("  Lamp\t", "Lamp"),
            ("Cafe\u0301", "Café"),
            ("😀" * 80, "😀" * 80),
            ("'; DROP TABLE items; --", None),
            ("%_\\", None),
            ("ﬁsh", None),
            ("钥匙扣", None),
        ],
    )
    def test_names(self, client, as_user, sent, stored):
        """A name is trimmed and normalised to NFC, and otherwise unchanged."""
        item = create(client, as_user, name=sent).json

        assert item["name"] == (stored or sent)
        assert client.get(f"{API}/items/{item['id']}", headers=as_user).json == item

    @pytest.mark.parametrize(
        "name", ["", "   ", "x" * 81, "a\0b", "a\nb", "a\x7fb", "a\x85b", None, 1, ["a"], {"a": 1}]
    )
    def test_refuses_a_bad_name(self, app, client, as_user, name):
        """A name that is not 1 to 80 printable characters gets 422."""
        response = create(client, as_user, name=name)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"]["json"].keys() == {"name"}
        assert count(app, Item) == 0

    @pytest.mark.parametrize(
        ("description", "status"), [("x" * 500, 201), ("x" * 501, 422), (None, 201), (1, 422), ("a\x00b", 422)]
    )
    def test_a_description_is_optional_and_bounded(self, client, as_user, description, status):
        """A description is optional and has at most 500 characters."""
        assert create(client, as_user, name="Lamp", description=description).status_code == status

    def test_a_name_is_unique_by_its_exact_characters(self, app, client, as_user, as_other, lamp):
        """The same name gets 409, and another case or accent is another name."""
        assert error(create(client, as_other, name="Lamp")) == (409, "item_exists")
        assert error(create(client, as_user, name=" Lamp ")) == (409, "item_exists")
        assert count(app, Item) == 1
        for name in ("lamp", "Lämp", "Ｌamp", "La mp", "Lamp."):
            assert create(client, as_user, name=name).json["name"] == name

    def test_two_spellings_of_the_same_characters_are_one_name(self, app, client, as_user):
        """Composed and decomposed characters are the same name (NFC)."""
        cafe = create(client, as_user, name="Caf\u00e9", price="2.50", description="Old").json

        assert error(create(client, as_user, name="Cafe\u0301", price="9")) == (409, "item_exists")
        assert client.get(f"{API}/items", headers=as_user).json["items"] == [cafe]
        assert count(app, Item) == 1

    def test_needs_a_fresh_token(self, app, client, as_stale_user, user):
        """A stale token gets 401, and the token of a fresh login is accepted."""
        assert error(create(client, as_stale_user, name="Lamp")) == (401, "fresh_token_required")
        credentials = {"username": "grace", "password": user.password}
        fresh = client.post(f"{API}/auth/fresh-login", headers=as_stale_user, json=credentials).json["access_token"]
        assert create(client, bearer(fresh), name="Lamp").status_code == 201

    @pytest.mark.parametrize("extra", ["id", "owner_id", "created_at", "is_deleted", "__proto__", "", "Name"])
    def test_nothing_else_can_be_set(self, app, client, as_user, extra):
        """An unknown field gets 422 and creates nothing."""
        response = create(client, as_user, **{"name": "Lamp", extra: 1})

        assert response.json["errors"] == {"json": {extra: ["Unknown field."]}}
        assert count(app, Item) == 0


class TestGetItem:
    def test_shows_an_item(self, client, as_other, lamp):
        """Every user may read an item."""
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_other).json == lamp

    @pytest.mark.parametrize("item_id", ["0", "-1", "00", "1.0", "abc", "١", 2**63, 10**30, "9" * 4000, "NaN"])
    def test_an_id_that_cannot_exist_is_not_found(self, client, as_user, item_id):
        """An impossible id gets 404 on every database."""
        assert error(client.get(f"{API}/items/{item_id}", headers=as_user)) == (404, "not_found")

    @pytest.mark.parametrize("item_id", ["0", "-1", "00", "1.0", "abc", "١", 2**63, 10**30])
    def test_an_id_that_cannot_exist_by_other_methods(self, app, client, as_admin, lamp, item_id):
        """PATCH and DELETE of an impossible id get 404 and change nothing."""
        path = f"{API}/items/{item_id}"

        assert error(client.patch(path, headers=as_admin, json={"price": "0"})) == (404, "not_found")
        assert error(client.delete(path, headers=as_admin)) == (404, "not_found")
        assert client.get(f"{API}/items", headers=as_admin).json["items"] == [lamp]

    def test_an_item_outlives_its_owner(self, client, user, lamp, as_other):
        """An item stays without an owner after its owner is deleted."""
        client.delete(f"{API}/users/me", headers=user.headers)

        assert client.get(f"{API}/items/{lamp['id']}", headers=as_other).json == lamp | {"owner_id": None}

    def test_the_largest_id(self, client, as_user):
        """The largest possible id gets 404."""
        assert error(client.get(f"{API}/items/{2**63 - 1}", headers=as_user)) == (404, "not_found")


class TestUpdateItem:
    def update(self, client, headers, lamp, **changes):
        return client.patch(f"{API}/items/{lamp['id']}", headers=headers, json=changes)

    def test_the_owner_changes_what_is_given(self, client, as_user, lamp):
        """The given fields and `updated_at` change, and the rest stays."""
        response = self.update(client, as_user, lamp, price="24.5")

        assert response.status_code == 200
        assert response.json == lamp | {"price": "24.50", "updated_at": response.json["updated_at"]}
        assert response.json["updated_at"] > lamp["updated_at"]
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json == response.json

    def test_an_admin_changes_anybodys(self, client, as_admin, lamp):
        """An administrator changes another user's item, and the owner stays."""
        response = self.update(client, as_admin, lamp, name="Lantern")

        assert response.status_code == 200
        assert response.json == lamp | {"name": "Lantern", "updated_at": response.json["updated_at"]}

    def test_a_promoted_user_needs_a_new_token(self, app, client, as_user, other, lamp):
        """A promoted user gets 403 with a token from before."""
        make_admin(app, "linus")

        assert error(self.update(client, other.headers, lamp, price="0")) == (403, "forbidden")
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json == lamp

    def test_an_item_without_an_owner_is_the_admins(self, client, user, lamp, as_other, as_admin):
        """Only administrators may change an item without an owner."""
        client.delete(f"{API}/users/me", headers=user.headers)
        namesake = sign_up(client, "grace")

        assert error(self.update(client, as_other, lamp, price="0")) == (403, "forbidden")
        assert error(self.update(client, namesake.headers, lamp, price="0")) == (403, "forbidden")
        assert self.update(client, as_admin, lamp, price="0").json["price"] == "0.00"

    def test_others_may_not(self, client, as_user, as_other, lamp):
        """Other users get 403, or 404 for an unknown item."""
        assert error(self.update(client, as_other, lamp, price="0")) == (403, "forbidden")
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json == lamp
        assert error(self.update(client, as_other, {"id": lamp["id"] + 999}, price="0")) == (404, "not_found")

    def test_not_to_a_taken_name(self, client, as_user, lamp):
        """A taken name gets 409, and nothing changes."""
        create(client, as_user, name="Chair")

        assert error(self.update(client, as_user, lamp, name="Chair", price="7")) == (409, "item_exists")
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json == lamp

    @pytest.mark.parametrize(
        ("sent", "stored"),
        [("Lamp", "Lamp"), ("lamp", "lamp"), (" Lantern\t", "Lantern"), ("Cafe\u0301", "Caf\u00e9")],
    )
    def test_names(self, client, as_user, lamp, sent, stored):
        """A name is trimmed and normalised to NFC, and may stay the same."""
        assert self.update(client, as_user, lamp, name=sent).json["name"] == stored
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json["name"] == stored

    @pytest.mark.parametrize(("sent", "shown"), [("0", "0.00"), ("0.1", "0.10"), ("99999999.99", "99999999.99")])
    def test_prices_are_exact(self, client, as_user, lamp, sent, shown):
        """A price is stored exactly and shown with two decimals."""
        assert self.update(client, as_user, lamp, price=sent).json["price"] == shown
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json["price"] == shown

    def test_no_changes(self, client, as_user, lamp):
        """An empty object gets 200, and `updated_at` stays."""
        response = self.update(client, as_user, lamp)

        assert (response.status_code, response.json) == (200, lamp)

    def test_needs_no_fresh_token(self, client, lamp, as_stale_user):
        """The owner may change an item with a stale token."""
        assert self.update(client, as_stale_user, lamp, price="1").json["price"] == "1.00"

    def test_a_description_can_be_removed(self, client, as_user, lamp):
        """`null` removes the description."""
        self.update(client, as_user, lamp, description="Brass")

        assert self.update(client, as_user, lamp, description=None).json["description"] is None

    @pytest.mark.parametrize("changes", [{"owner_id": 1}, {"id": 7}, {"name": ""}, {"price": "-1"}, {"price": 1}])
    def test_refuses_bad_values(self, client, as_user, lamp, changes):
        """Bad values and other fields get 422 and change nothing."""
        assert error(self.update(client, as_user, lamp, **changes)) == (422, "validation_failed")
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json == lamp


class TestDeleteItem:
    def test_as_owner(self, client, as_user, lamp):
        """The owner gets 403 and the item stays."""
        response = client.delete(f"{API}/items/{lamp['id']}", headers=as_user)

        assert error(response) == (403, "admin_required")
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json == lamp

    def test_as_another_user(self, client, as_other, lamp):
        """Another user gets 403, whether the item exists or not."""
        for item_id in (lamp["id"], lamp["id"] + 999):
            response = client.delete(f"{API}/items/{item_id}", headers=as_other)
            assert error(response) == (403, "admin_required")

        assert client.get(f"{API}/items/{lamp['id']}", headers=as_other).json == lamp

    def test_frees_the_name_and_not_the_id(self, client, as_user, as_admin, lamp):
        """The name of a deleted item is free again, and its id is not."""
        client.delete(f"{API}/items/{lamp['id']}", headers=as_admin)

        again = create(client, as_user, name="Lamp")

        assert again.status_code == 201
        assert again.json["id"] != lamp["id"]

    def test_as_admin(self, client, as_admin, lamp):
        """An administrator deletes the item, and a second DELETE gets 404."""
        path = f"{API}/items/{lamp['id']}"

        assert client.delete(path, headers=as_admin).json == {"message": "Item deleted."}
        assert error(client.get(path, headers=as_admin)) == (404, "not_found")
        assert error(client.delete(path, headers=as_admin)) == (404, "not_found")
