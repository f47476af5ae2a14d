"""Listings page by page: in every order, whatever comes and goes, and at the same cost on every page."""

import gc
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import _lru_cache_wrapper

import pytest
from sqlalchemy import insert, select, text, update

from app.data.base import db
from app.data.types import utcnow
from app.tokens.key_set import activate_key, generate_key, retire_key
from app.web.pages import STATEMENTS, read_page
from support.api import API, error
from support.things import LISTING, Thing, name_key

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
ORDERS = ("id", "name", "price", "created_at")
BOTH_WAYS = [*ORDERS, *(f"-{order}" for order in ORDERS)]
NAMES = ["Lamp", "lamp", "Äpfel", "apple", "钥匙", "😀", "ﬁsh", "%_\\", "Zebra", "İstanbul", "ß", "SS"]


def add_items(app, rows):
    """Rows as the database keeps them; what is not said is plain."""
    plain = {"price": Decimal(1), "created_at": BEGAN, "updated_at": BEGAN}
    with app.app_context():
        db.session.execute(insert(Thing), [{**plain, "name_key": name_key(row["name"]), **row} for row in rows])
        db.session.commit()


@pytest.fixture
def many(app):
    """Items with few prices and few times: whatever is sorted by has ties."""
    rows = [
        {"name": name, "price": Decimal(number % 3), "created_at": BEGAN + timedelta(microseconds=number % 4)}
        for number, name in enumerate(NAMES)
    ]
    add_items(app, rows)


def get(client, headers, query):
    response = client.get(f"{API}/things", headers=headers, query_string=query)
    assert response.status_code == 200, response.json
    return response.json


def walk(client, headers, between=lambda _page: None, **query):
    """All items of a listing, page by page by the links."""
    path, items = f"{API}/things?" + "&".join(f"{k}={v}" for k, v in query.items()), []
    while path:
        page = client.get(path, headers=headers)
        assert page.status_code == 200, page.json
        items += page.json["things"]
        between(len(items))
        path = page.headers["Link"][1:].partition(">")[0] if "Link" in page.headers else None
    return items


def keyed(item, order):
    """What the rows are sorted by: exact characters, exact amounts, and the id where they are the same."""
    value = Decimal(item["price"]) if order == "price" else item[order]
    return (value, item["id"])


class TestOrder:
    @pytest.mark.parametrize("sort", BOTH_WAYS)
    @pytest.mark.parametrize("limit", [1, 5, 100])
    def test_every_item_comes_once_and_in_order(self, client, many, as_user, sort, limit):
        """By any order, both ways, over any number of pages; names by their code points, on every database."""
        items = walk(client, as_user, sort=sort, limit=limit)

        order = sort.removeprefix("-")
        expected = sorted(items, key=lambda item: keyed(item, order), reverse=sort.startswith("-"))
        assert [item["name"] for item in items] == [item["name"] for item in expected]
        assert sorted(item["name"] for item in items) == sorted(NAMES)

    @pytest.mark.parametrize("sort", BOTH_WAYS)
    def test_it_stays_right_while_rows_come_and_go(self, app, client, many, as_user, sort):
        """Whatever was there all the time comes once; what came or went meanwhile comes at most once."""

        def meanwhile(seen):
            with app.app_context():
                db.session.execute(update(Thing).where(Thing.name == "apple").values(description="changed"))
                db.session.execute(text("DELETE FROM things WHERE name = 'Zebra'"))
                db.session.commit()
            add_items(app, [{"name": f"new {seen}", "price": Decimal(seen % 3)}])
            assert seen < 60

        names = [item["name"] for item in walk(client, as_user, meanwhile, sort=sort, limit=6)]

        assert len(set(names)) == len(names)
        assert set(NAMES) - {"Zebra"} <= set(names)

    def test_an_unknown_order_names_those_there_are(self, client, as_user):
        """Nobody has to look them up."""
        response = client.get(f"{API}/things?sort=owner_id", headers=as_user)

        assert error(response) == (422, "validation_failed")
        assert all(order in str(response.json["errors"]["query"]["sort"]) for order in BOTH_WAYS)

    def test_an_unknown_field_names_those_there_are(self, client, as_user):
        """The same for the names of parameters."""
        response = client.get(f"{API}/things?colour=red", headers=as_user)

        [told] = response.json["errors"]["query"]["colour"]
        assert told == "Unknown field. Allowed: cursor, limit, owner, q, sort."


class TestCursor:
    @pytest.mark.parametrize("other", ["-id", "name", "price", "-price", "created_at"])
    def test_belongs_to_its_order(self, client, many, as_user, other):
        """In another order it would lead to a page that is not the next one."""
        cursor = get(client, as_user, {"limit": 1})["next_cursor"]

        response = client.get(f"{API}/things", headers=as_user, query_string={"cursor": cursor, "sort": other})

        assert error(response) == (422, "validation_failed")

    def test_no_character_of_it_can_be_changed(self, client, many, as_user):
        """It is signed: whoever writes one gets nowhere."""
        cursor = get(client, as_user, {"limit": 1, "sort": "price"})["next_cursor"]

        for place, character in enumerate(cursor):
            forged = cursor[:place] + ("A" if character != "A" else "B") + cursor[place + 1 :]
            response = client.get(f"{API}/things", headers=as_user, query_string={"cursor": forged, "sort": "price"})
            # The last character of a signature has bits that say nothing.
            assert response.status_code == 422 or place == len(cursor) - 1, (place, forged)

    def test_of_another_secret_is_refused(self, client, many, as_user, another):
        """Another installation's cursor is nobody's here."""
        cursor = get(client, as_user, {"limit": 1})["next_cursor"]
        stranger = another(JWT_SECRET_KEY="another secret of thirty-two bytes!!").test_client()

        assert error(stranger.get(f"{API}/things", query_string={"cursor": cursor})) == (422, "validation_failed")

    def test_outlives_a_new_key_and_dies_with_its_own(self, client, many, another, tmp_path):
        """As a token does: a new signing key sends nobody back to the first page."""
        path = tmp_path / "keys.json"
        first, _signs = generate_key(path, "EdDSA", utcnow())

        def page(cursor=None):
            reader = another(JWT_KEYSET=str(path), JWT_SECRET_KEY="").test_client()
            return reader.get(f"{API}/things", query_string={"limit": 1} | ({"cursor": cursor} if cursor else {}))

        cursor = page().json["next_cursor"]
        second, _signs = generate_key(path, "RS256", utcnow())
        activate_key(path, second)
        assert page(cursor).status_code == 200
        assert page(page(cursor).json["next_cursor"]).status_code == 200
        retire_key(path, first)
        assert error(page(cursor)) == (422, "validation_failed")

    def test_names_of_any_length_fit_into_it(self, app, client, as_user):
        """The longest names there are make a link that a server takes."""
        add_items(app, [{"name": f"{'😀' * 78}{number}"} for number in range(10, 13)])

        page = client.get(f"{API}/things?limit=1&sort=name", headers=as_user)

        assert len(page.headers["Link"]) < 3000
        assert len(walk(client, as_user, limit=1, sort="name")) == 3


def test_users_have_signed_cursors_too(client, as_user, as_admin):
    """Whatever is listed."""
    page = client.get(f"{API}/users?limit=1", headers=as_admin).json

    rest = client.get(f"{API}/users?limit=1&cursor={page['next_cursor']}", headers=as_admin)

    assert rest.status_code == 200
    assert rest.json["users"][0]["id"] > page["users"][0]["id"]
    assert json.dumps(page["users"]) != json.dumps(rest.json["users"])


def cache_sizes():
    """How many results each cache of the program keeps."""
    wrappers = [found for found in gc.get_objects() if isinstance(found, _lru_cache_wrapper)]
    return [(found, found.cache_info().currsize) for found in wrappers if found.__module__.startswith("app.")]


def test_a_search_leaves_every_cache_as_it_was(client, as_admin):
    """Different texts share one statement: nothing is added, and so nothing is evicted."""
    client.get(f"{API}/users?q=first", headers=as_admin)
    before = cache_sizes()

    for number in range(200):
        assert client.get(f"{API}/users?q=u{number}", headers=as_admin).status_code == 200

    assert len(before) > 2
    assert cache_sizes() == before


def test_a_statement_of_one_request_fills_no_cache(app):
    """`read_page` keeps nothing of a statement."""
    with app.app_context():
        read_page(select(Thing.id), Thing.id, limit=1)
        before = cache_sizes()
        read_page(select(Thing.id).where(Thing.name == "Lamp"), Thing.id, limit=1)

        assert cache_sizes() == before


def test_a_listing_keeps_a_bounded_number_of_statements():
    """A client cannot fill the memory with combinations of filters."""
    assert LISTING.build.cache_info().maxsize == STATEMENTS
