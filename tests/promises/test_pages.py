"""Pages of a listing: their order, their cursors and the caches."""

import gc
import json
from decimal import Decimal
from functools import _lru_cache_wrapper
from inspect import isroutine

import pytest
from sqlalchemy import select, text, update

from app.data import search
from app.data.base import db
from app.data.search import Range
from app.data.types import utcnow
from app.tokens.key_changes import activate_key, generate_key, retire_key
from app.web import pages
from app.web.pages import STATEMENTS, Listing, read_page
from support.api import API, error
from support.rows import BOTH_WAYS, NAMES, TIED, add_rows
from support.statements import statements
from support.things import LISTING, ORDERS, Thing


@pytest.fixture
def many(app):
    """Things with every kind of name, and few prices and times."""
    add_rows(app, Thing, TIED)


def get(client, headers, query):
    response = client.get(f"{API}/things", headers=headers, query_string=query)
    assert response.status_code == 200, response.json
    return response.json


def walk(client, headers, between=lambda _page: None, **query):
    """All items of a listing, read page by page by the links."""
    path, items = f"{API}/things?" + "&".join(f"{k}={v}" for k, v in query.items()), []
    while path:
        page = client.get(path, headers=headers)
        assert page.status_code == 200, page.json
        items += page.json["things"]
        between(len(items))
        path = page.headers["Link"][1:].partition(">")[0] if "Link" in page.headers else None
    return items


def keyed(item, order):
    """The sort key of an item: its text or amount, then its id."""
    value = Decimal(item["price"]) if order == "price" else item[order]
    return (value, item["id"])


class TestOrder:
    @pytest.mark.parametrize("sort", BOTH_WAYS)
    @pytest.mark.parametrize("limit", [1, 5, 100])
    def test_every_item_comes_once_and_in_order(self, client, many, as_user, sort, limit):
        """Every order and limit returns each item once, with names by code point."""
        items = walk(client, as_user, sort=sort, limit=limit)

        order = sort.removeprefix("-")
        expected = sorted(items, key=lambda item: keyed(item, order), reverse=sort.startswith("-"))
        assert [item["name"] for item in items] == [item["name"] for item in expected]
        assert sorted(item["name"] for item in items) == sorted(NAMES)

    @pytest.mark.parametrize("sort", BOTH_WAYS)
    def test_rows_change_between_pages(self, app, client, many, as_user, sort):
        """No item repeats and none is skipped while rows are added and deleted."""

        def meanwhile(seen):
            with app.app_context():
                db.session.execute(update(Thing).where(Thing.name == "apple").values(description="changed"))
                db.session.execute(text("DELETE FROM things WHERE name = 'Zebra'"))
                db.session.commit()
            add_rows(app, Thing, [{"name": f"new {seen}", "price": Decimal(seen % 3)}])
            assert seen < 60

        names = [item["name"] for item in walk(client, as_user, meanwhile, sort=sort, limit=6)]

        assert len(set(names)) == len(names)
        assert set(NAMES) - {"Zebra"} <= set(names)

    def test_unknown_order(self, client, as_user):
        """An unknown order gets 422 with all allowed orders."""
        response = client.get(f"{API}/things?sort=owner_id", headers=as_user)

        assert error(response) == (422, "validation_failed")
        assert all(order in str(response.json["errors"]["query"]["sort"]) for order in BOTH_WAYS)

    def test_unknown_parameter(self, client, as_user):
        """An unknown parameter gets 422 with all allowed parameters."""
        response = client.get(f"{API}/things?colour=red", headers=as_user)

        [message] = response.json["errors"]["query"]["colour"]
        assert message == "Unknown field. Allowed: cursor, limit, owner, q, sort."


class TestWindows:
    """Rows that only an index of another order could find."""

    @pytest.fixture
    def listing(self, app, many, monkeypatch):
        """A listing that examines three rows for a page, and finds none by an index."""
        monkeypatch.setattr(pages, "WINDOW", 3)
        monkeypatch.setattr(search, "FEW", 0)
        prices = Range(Thing.__table__.c.price, at_least="min_price", at_most="max_price")
        with app.app_context():
            yield Listing(select(*Thing.__table__.c), orders=ORDERS, finders=[prices], patience=0)

    @pytest.mark.parametrize("sort", BOTH_WAYS)
    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    @pytest.mark.parametrize("price", [0, 1, 2, 9])
    def test_every_row_comes_once_and_in_order(self, listing, sort, limit, price):
        """All pages together have each row once and in order, though some pages are short."""
        every = listing.read({"limit": 100, "sort": sort}).rows
        args, page = {"limit": limit, "sort": sort, "min_price": Decimal(price)}, None
        rows = []
        while page is None or page.next_cursor:
            page = listing.read(args)
            assert len(page.rows) <= limit
            rows += page.rows
            args["cursor"] = page.next_cursor

        assert rows == [row for row in every if row["price"] >= price]

    def test_an_empty_page_has_a_cursor(self, app, listing):
        """A page without rows has a cursor as long as rows are left to examine."""
        add_rows(app, Thing, [{"name": "dear", "price": Decimal(50)}])

        page = listing.read({"limit": 5, "sort": "id", "min_price": Decimal(50)})

        assert page.rows == []
        assert page.next_cursor

    def test_patience_makes_the_page_full(self, listing):
        """A listing with more patience examines windows until the page is full."""
        listing.patience = 60

        page = listing.read({"limit": 4, "sort": "id", "min_price": Decimal(2)})

        assert [row["price"] for row in page.rows] == [2, 2, 2, 2]
        assert page.next_cursor is None

    def test_few_rows_are_found_at_once(self, listing, app, monkeypatch):
        """The rows that few match are found by two statements and fill a page."""
        monkeypatch.setattr(search, "FEW", 4)
        with statements(app) as sent:
            page = listing.read({"limit": 3, "sort": "-name", "min_price": Decimal(2)})

        assert len(page.rows) == 3
        assert len(sent) == 2


class TestCursor:
    @pytest.mark.parametrize("other", ["-id", "name", "price", "-price", "created_at"])
    def test_belongs_to_its_order(self, client, many, as_user, other):
        """A cursor of one order gets 422 in another order."""
        cursor = get(client, as_user, {"limit": 1})["next_cursor"]

        response = client.get(f"{API}/things", headers=as_user, query_string={"cursor": cursor, "sort": other})

        assert error(response) == (422, "validation_failed")

    def test_no_character_of_it_can_be_changed(self, client, many, as_user):
        """A cursor with a changed character gets 422, because it is signed."""
        cursor = get(client, as_user, {"limit": 1, "sort": "price"})["next_cursor"]

        for position, character in enumerate(cursor):
            forged = cursor[:position] + ("A" if character != "A" else "B") + cursor[position + 1 :]
            response = client.get(f"{API}/things", headers=as_user, query_string={"cursor": forged, "sort": "price"})
            # The last character of a signature has unused bits.
            assert response.status_code == 422 or position == len(cursor) - 1, (position, forged)

    def test_of_another_secret_is_refused(self, client, many, as_user, another):
        """A cursor that is signed with another secret gets 422."""
        cursor = get(client, as_user, {"limit": 1})["next_cursor"]
        stranger = another(JWT_SECRET_KEY="another secret of thirty-two bytes!!").test_client()

        assert error(stranger.get(f"{API}/things", query_string={"cursor": cursor})) == (422, "validation_failed")

    def test_is_valid_until_its_key_is_retired(self, client, many, another, tmp_path):
        """A cursor survives a new signing key, and ends with its own key."""
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

    def test_longest_names(self, app, client, as_user):
        """With the longest names the Link header stays below 3,000 characters."""
        add_rows(app, Thing, [{"name": f"{'😀' * 78}{number}"} for number in range(10, 13)])

        page = client.get(f"{API}/things?limit=1&sort=name", headers=as_user)

        assert len(page.headers["Link"]) < 3000
        assert len(walk(client, as_user, limit=1, sort="name")) == 3


def test_users_have_cursors_too(client, as_user, as_admin):
    """A cursor of the users leads to their next page."""
    page = client.get(f"{API}/users?limit=1", headers=as_admin).json

    rest = client.get(f"{API}/users?limit=1&cursor={page['next_cursor']}", headers=as_admin)

    assert rest.status_code == 200
    assert rest.json["users"][0]["id"] > page["users"][0]["id"]
    assert json.dumps(page["users"]) != json.dumps(rest.json["users"])


def cache_sizes():
    """The caches of the program, with their numbers of entries."""
    wrappers = [found for found in gc.get_objects() if isinstance(found, _lru_cache_wrapper)]
    wrappers = [found for found in wrappers if isroutine(found.__wrapped__)]  # not the statements of a connection
    return {found: found.cache_info().currsize for found in wrappers if found.__module__.startswith("app.")}


def test_a_search_leaves_every_cache_as_it_was(client, as_admin):
    """Searches for different texts add no entry to any cache."""
    client.get(f"{API}/users?q=first", headers=as_admin)
    before = cache_sizes()

    for number in range(200):
        assert client.get(f"{API}/users?q=u{number}", headers=as_admin).status_code == 200

    assert len(before) > 2
    assert cache_sizes() == before


def test_a_statement_of_one_request_fills_no_cache(app):
    """`read_page()` adds no entry to any cache."""
    with app.app_context():
        read_page(select(Thing.id), Thing.id, limit=1)
        before = cache_sizes()
        read_page(select(Thing.id).where(Thing.name == "Lamp"), Thing.id, limit=1)

        assert cache_sizes() == before


def test_a_listing_keeps_a_bounded_number_of_statements():
    """A listing caches at most STATEMENTS statements."""
    assert LISTING.build.cache_info().maxsize == STATEMENTS
