"""Things with a price: the sample resource, and the model of the next one."""

import pytest
from conftest import API, bearer, count, error
from test_users import statements

from app.items.models import Item


def create(client, headers, **item):
    return client.post(f"{API}/items", headers=headers, json={"price": "1"} | item)


@pytest.fixture
def five(client, as_user):
    """Five items of the user's, in the order of their ids."""
    return [create(client, as_user, name=f"Thing {number}").json for number in range(5)]


class TestListItems:
    def test_shows_names_alone_to_visitors(self, client, lamp):
        """Without a token there is nothing but names, and the word that there is more."""
        response = client.get(f"{API}/items")

        assert response.json == {
            "items": [{"name": "Lamp"}],
            "next_cursor": None,
            "message": "More data available if you log in.",
        }

    def test_shows_everything_to_users(self, client, as_other, lamp):
        """With a token there is all of it, whoever owns it."""
        response = client.get(f"{API}/items", headers=as_other)

        assert response.json == {"items": [lamp], "next_cursor": None}

    @pytest.mark.parametrize("signed_in", [True, False])
    def test_pages_do_not_repeat_or_skip(self, client, five, as_user, as_admin, signed_in):
        """Each item comes once, though some come and go between two pages; the links lead through."""
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

    def test_a_full_last_page_has_no_next(self, client, five, as_user):
        """As many items as the limit are one page."""
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
        """A limit is 1 to 100 in ASCII digits, given once; what is not known is not ignored."""
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
        """What no page has given out leads nowhere."""
        response = client.get(f"{API}/items", headers=as_user, query_string={"cursor": cursor})

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"].keys() == {"query"}

    def test_costs_two_queries(self, app, client, five, as_user):
        """Who is it, and the page: no query per item, and no count."""
        with statements(app) as sent:
            client.get(f"{API}/items", headers=as_user)

        assert len(sent) == 2, sent


class TestCreateItem:
    def test_creates_an_item_of_ones_own(self, client, user):
        """The answer is the item and where it is."""
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
        """A price is shown with two places, and never through a float."""
        item = create(client, as_user, name="Lamp", price=sent).json

        assert item["price"] == shown
        assert client.get(f"{API}/items/{item['id']}", headers=as_user).json["price"] == shown

    @pytest.mark.parametrize(
        "price",
        [1, 1.5, True, None, [], {}, "", " 1", "1 ", "-1", "-0", "+1", "1.", ".5", "1.555", "1e2", "1_000", "1,5", "١",
         "NaN", "Infinity", "0x10", "00", "01", "100000000", "1.50\n", "1.50\0", "9" * 60_000],
    )  # fmt: skip
    def test_refuses_what_is_no_price(self, app, client, as_user, price):
        """A price is a decimal string from "0" to "99999999.99", and nothing near to one."""
        response = create(client, as_user, name="Lamp", price=price)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"]["json"].keys() == {"price"}
        assert count(app, Item) == 0

    @pytest.mark.parametrize(
        ("sent", "kept"),
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
    def test_names_come_back_as_they_are(self, client, as_user, sent, kept):
        """Trimmed and in NFC, and otherwise character for character."""
        item = create(client, as_user, name=sent).json

        assert item["name"] == (kept or sent)
        assert client.get(f"{API}/items/{item['id']}", headers=as_user).json == item

    @pytest.mark.parametrize(
        "name", ["", "   ", "x" * 81, "a\0b", "a\nb", "a\x7fb", "a\x85b", None, 1, ["a"], {"a": 1}]
    )
    def test_refuses_what_is_no_name(self, app, client, as_user, name):
        """1 to 80 characters of text, without control characters."""
        response = create(client, as_user, name=name)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"]["json"].keys() == {"name"}
        assert count(app, Item) == 0

    @pytest.mark.parametrize(
        ("description", "status"), [("x" * 500, 201), ("x" * 501, 422), (None, 201), (1, 422), ("a\x00b", 422)]
    )
    def test_a_description_is_optional_and_bounded(self, client, as_user, description, status):
        """500 characters, which may be several lines."""
        assert create(client, as_user, name="Lamp", description=description).status_code == status

    def test_a_name_is_unique_by_its_exact_characters(self, app, client, as_user, as_other, lamp):
        """The same name is a 409 for everybody; another case or accent is another name."""
        assert error(create(client, as_other, name="Lamp")) == (409, "item_exists")
        assert error(create(client, as_user, name=" Lamp ")) == (409, "item_exists")
        assert count(app, Item) == 1
        assert create(client, as_user, name="lamp").status_code == 201
        assert create(client, as_user, name="Lämp").status_code == 201

    def test_needs_a_fresh_token(self, app, client, as_stale_user, user):
        """A token from a refresh is refused; a fresh login with it in hand makes one that is taken."""
        assert error(create(client, as_stale_user, name="Lamp")) == (401, "fresh_token_required")
        credentials = {"username": "grace", "password": user.password}
        fresh = client.post(f"{API}/auth/fresh-login", headers=as_stale_user, json=credentials).json["access_token"]
        assert create(client, bearer(fresh), name="Lamp").status_code == 201

    @pytest.mark.parametrize("extra", ["id", "owner_id", "created_at", "is_deleted", "__proto__", "", "Name"])
    def test_nothing_else_can_be_set(self, app, client, as_user, extra):
        """An unknown field is named and refused."""
        response = create(client, as_user, **{"name": "Lamp", extra: 1})

        assert response.json["errors"] == {"json": {extra: ["Unknown field."]}}
        assert count(app, Item) == 0


class TestGetItem:
    def test_shows_an_item(self, client, as_other, lamp):
        """To every user."""
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_other).json == lamp

    @pytest.mark.parametrize("item_id", ["0", "-1", "00", "1.0", "abc", "١", 2**63, 10**30, "9" * 4000, "NaN"])
    def test_an_id_that_cannot_exist_is_not_found(self, client, as_user, item_id):
        """It is a 404, never a 500, on every database."""
        assert error(client.get(f"{API}/items/{item_id}", headers=as_user)) == (404, "not_found")

    def test_the_largest_id_is_looked_for(self, client, as_user):
        """2**63 - 1 can exist; it does not here."""
        assert error(client.get(f"{API}/items/{2**63 - 1}", headers=as_user)) == (404, "not_found")


class TestUpdateItem:
    def update(self, client, headers, lamp, **changes):
        return client.patch(f"{API}/items/{lamp['id']}", headers=headers, json=changes)

    def test_the_owner_changes_what_is_given(self, client, as_user, lamp):
        """The rest stays, and `updated_at` moves."""
        response = self.update(client, as_user, lamp, price="24.5")

        assert response.status_code == 200
        assert response.json == lamp | {"price": "24.50", "updated_at": response.json["updated_at"]}
        assert response.json["updated_at"] > lamp["updated_at"]
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json == response.json

    def test_an_admin_changes_anybodys(self, client, as_admin, lamp):
        """Administrators need not own it, and do not come to own it."""
        assert self.update(client, as_admin, lamp, name="Lantern").json["owner_id"] == lamp["owner_id"]

    def test_others_may_not(self, client, as_user, as_other, lamp):
        """403, and it stays; what is not there is a 404 for everybody."""
        assert error(self.update(client, as_other, lamp, price="0")) == (403, "forbidden")
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json == lamp
        assert error(self.update(client, as_other, {"id": lamp["id"] + 999}, price="0")) == (404, "not_found")

    def test_not_to_a_taken_name(self, client, as_user, lamp):
        """409, and nothing changes, the price that came along included."""
        create(client, as_user, name="Chair")

        assert error(self.update(client, as_user, lamp, name="Chair", price="7")) == (409, "item_exists")
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json == lamp

    def test_a_description_can_be_taken_away(self, client, as_user, lamp):
        """`null` is none."""
        self.update(client, as_user, lamp, description="Brass")

        assert self.update(client, as_user, lamp, description=None).json["description"] is None

    @pytest.mark.parametrize("changes", [{"owner_id": 1}, {"id": 7}, {"name": ""}, {"price": "-1"}, {"price": 1}])
    def test_refuses_bad_values(self, client, as_user, lamp, changes):
        """The rules of creating an item hold."""
        assert error(self.update(client, as_user, lamp, **changes)) == (422, "validation_failed")
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json == lamp


class TestDeleteItem:
    def test_as_owner(self, client, as_user, lamp):
        """The owner alone may not delete an item, and it stays."""
        response = client.delete(f"{API}/items/{lamp['id']}", headers=as_user)

        assert error(response) == (403, "admin_required")
        assert client.get(f"{API}/items/{lamp['id']}", headers=as_user).json == lamp

    def test_as_admin(self, client, as_admin, lamp):
        """An administrator deletes it; again it is a 404."""
        path = f"{API}/items/{lamp['id']}"

        assert client.delete(path, headers=as_admin).json == {"message": "Item deleted."}
        assert error(client.get(path, headers=as_admin)) == (404, "not_found")
        assert error(client.delete(path, headers=as_admin)) == (404, "not_found")
