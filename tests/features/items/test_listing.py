"""The filters of the items, the page of names, and the index of each order."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import event, text

from app.data import search
from app.data.base import db
from app.items.models import Item
from app.items.routes import LISTING
from app.web import pages
from support.api import API, error
from support.rows import BEGAN, BOTH_WAYS, NAMES, TIED, add_rows


@pytest.fixture
def many(app):
    """Items with every kind of name, and few prices and times."""
    add_rows(app, Item, TIED)


def get(client, headers, query):
    response = client.get(f"{API}/items", headers=headers, query_string=query)
    assert response.status_code == 200, response.json
    return response.json


class TestFilters:
    @pytest.mark.parametrize(
        ("q", "found"),
        [
            ("lamp", {"Lamp", "lamp"}),
            ("ÄPFEL", {"Äpfel"}),
            ("A\u0308p", {"Äpfel"}),  # the same letter as two characters
            ("钥", {"钥匙"}),
            ("😀", {"😀"}),
            ("ss", {"ß", "SS"}),
            ("FISH", {"ﬁsh"}),
            ("%", {"%_\\"}),
            ("_", {"%_\\"}),
            ("\\", {"%_\\"}),
            ("' OR 1=1 --", set()),
            ("i\u0307stan", {"İstanbul"}),
            ("", set(NAMES)),
        ],
    )
    @pytest.mark.parametrize("signed_in", [True, False])
    @pytest.mark.parametrize("few", [search.FEW, 0], ids=["by its index", "by windows"])
    def test_q_is_a_part_of_the_name(self, client, many, as_user, monkeypatch, q, found, signed_in, few):
        """`q` finds part of a name in any case, and knows no wildcards, whether few or many names match."""
        monkeypatch.setattr(search, "FEW", few)
        page = get(client, as_user if signed_in else {}, {"q": q})

        assert {item["name"] for item in page["items"]} == found

    @pytest.mark.parametrize("q", ["a" * 81, "a\0", "a\nb"])
    def test_q_is_bounded(self, client, as_user, q):
        """A `q` that is too long or has control characters gets 422."""
        response = client.get(f"{API}/items", headers=as_user, query_string={"q": q})

        assert error(response) == (422, "validation_failed")

    def test_a_new_name_is_found_and_the_old_one_is_not(self, client, as_user, lamp):
        """After a rename, `q` finds the new name and not the old one."""
        client.patch(f"{API}/items/{lamp['id']}", headers=as_user, json={"name": "ÜBER"})

        assert [item["name"] for item in get(client, as_user, {"q": "über"})["items"]] == ["ÜBER"]
        assert get(client, as_user, {"q": "lamp"})["items"] == []

    def test_an_estimate_that_is_too_low_loses_no_row(self, app, client, monkeypatch):
        """If more names match than the planner of PostgreSQL expects, the last of them is found too."""
        add_rows(app, Item, [{"name": f"Thing {number}"} for number in range(search.FEW + 100)])
        monkeypatch.setattr(search.Search, "_estimate", lambda *_: 0)

        [newest] = get(client, {}, {"q": "thing", "sort": "-id", "limit": 1})["items"]

        assert newest["name"] == f"Thing {search.FEW + 99}"

    def test_rows_of_another_program_are_found(self, app, client, many):
        """A row that another release inserts, renames or deletes is found by its present name only."""
        changes = {
            "INSERT INTO items (name, name_key, price, created_at, updated_at) "
            "VALUES ('Fish', 'plaice', 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00')": "plaice",
            "UPDATE items SET name_key = 'turbot' WHERE name_key = 'plaice'": "turbot",
            "UPDATE items SET price = 2 WHERE name_key = 'turbot'": "turbot",
            "DELETE FROM items WHERE name_key = 'turbot'": None,
        }
        for change, name_key in changes.items():
            with app.app_context():
                db.session.execute(text(change))
                db.session.commit()
            for q in ("plaice", "turbot", "ai", "o"):
                names = {item["name"] for item in get(client, {}, {"q": q})["items"]}
                assert ("Fish" in names) == (q in (name_key or "")), (change, q)

    def test_owner(self, client, user, lamp, as_other, other):
        """`owner` is `me` or an id, and an unknown id finds nothing."""
        client.post(f"{API}/items", headers=as_other, json={"name": "Chair", "price": "1"})

        assert get(client, user.headers, {"owner": "me"})["items"] == [lamp]
        assert get(client, as_other, {"owner": user.id})["items"] == [lamp]
        assert [item["name"] for item in get(client, as_other, {"owner": "me"})["items"]] == ["Chair"]
        assert get(client, as_other, {"owner": 2**63 - 1})["items"] == []

    @pytest.mark.parametrize("owner", ["0", "-1", "01", "ME", "", "1.0", "١", 2**63, 10**30, "grace", "9" * 3000])
    def test_refuses_a_bad_owner(self, client, as_user, owner):
        """An `owner` that is neither `me` nor a possible id gets 422."""
        response = client.get(f"{API}/items", headers=as_user, query_string={"owner": owner})

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"]["query"].keys() == {"owner"}

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ({"min_price": "1"}, 8),
            ({"max_price": "0.99"}, 4),
            ({"min_price": "1", "max_price": "1.00"}, 4),
            ({"min_price": "2.01"}, 0),
            ({"min_price": "2", "max_price": "1"}, 0),
            ({"min_price": "1", "q": "l", "sort": "-price"}, 2),
        ],
    )
    def test_prices(self, client, many, as_user, query, count):
        """Both limits are inclusive, and filters combine."""
        assert len(get(client, as_user, query)["items"]) == count

    @pytest.mark.parametrize("price", ["", "-1", "1.001", "1e3", "NaN", "100000000", " 1"])
    @pytest.mark.parametrize("name", ["min_price", "max_price"])
    def test_refuses_a_bad_price(self, client, as_user, name, price):
        """A bad price gets 422."""
        response = client.get(f"{API}/items", headers=as_user, query_string={name: price})

        assert error(response) == (422, "validation_failed")


class TestWithoutToken:
    @pytest.mark.parametrize(
        "query", ["q=a", "limit=2", "sort=id", "sort=-id", "sort=name", "sort=-name", "sort=name&q=a"]
    )
    def test_names_are_open(self, client, many, query):
        """Visitors may search and sort by name."""
        assert client.get(f"{API}/items?{query}").status_code == 200

    @pytest.mark.parametrize(
        "query",
        ["owner=me", "owner=1", "min_price=1", "max_price=1", "sort=price", "sort=-price", "sort=created_at",
         "min_price=x", "owner=0&limit=0", "sort=-created_at&x=1"],
    )  # fmt: skip
    def test_other_queries_need_a_token(self, client, many, query):
        """Visitors get 401 for owners, prices and times, before values are checked."""
        assert error(client.get(f"{API}/items?{query}")) == (401, "authorization_required")

    @pytest.mark.parametrize("query", ["sort=nothing", "x=1", "limit=0"])
    def test_bad_queries(self, client, query):
        """Visitors get 422 for queries that are wrong with a token too."""
        assert error(client.get(f"{API}/items?{query}")) == (422, "validation_failed")

    def test_in_descending_order(self, client, many):
        """Visitors get each name once, in descending order too."""
        assert [item["name"] for item in get(client, {}, {"sort": "-name"})["items"]] == sorted(NAMES, reverse=True)


class TestCost:
    """Every page costs the same, because each order is read from an index."""

    @pytest.fixture
    def thousands(self, app, user):
        rows = [
            {
                "name": f"Thing {number * 7919 % 4000:05}",
                "price": Decimal(number % 50),
                "created_at": BEGAN + timedelta(seconds=number % 1000),
                "owner_id": None if number % 20 else user.id,
            }
            for number in range(4000)
        ]
        add_rows(app, Item, rows)
        with app.app_context():
            db.session.execute(text("ANALYZE TABLE items" if db.engine.dialect.name == "mysql" else "ANALYZE"))
            db.session.commit()

    def plan(self, app, client, headers, path):
        """The dialect, and the database's plan of the page's statement."""
        sent = []

        def keep(_connection, _cursor, statement, parameters, *_more):
            if "FROM items" in statement:
                sent.append((statement, parameters))

        with app.app_context():
            event.listen(db.engine, "before_cursor_execute", keep)
            try:
                assert client.get(path, headers=headers).status_code == 200
            finally:
                event.remove(db.engine, "before_cursor_execute", keep)
            statement, parameters = sent[-1]  # before it, rows may have been counted
            words = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN", "mysql": "EXPLAIN"}
            explain = f"{words[db.engine.dialect.name]} {statement}"
            rows = db.session.connection().exec_driver_sql(explain, parameters).all()
            db.session.rollback()
            return db.engine.dialect.name, "\n".join(str(tuple(row)) for row in rows)

    def test_every_page_is_read_from_an_index(self, app, client, thousands, as_user):
        """Every order, with and without an owner, is read from its index."""
        for sort in BOTH_WAYS:
            index = {"id": "PRIMARY", "name": "uq_items_name"}.get(sort.removeprefix("-"))
            self.assert_read_from(
                app, client, as_user, f"sort={sort}", index or f"ix_items_{sort.removeprefix('-')}_id"
            )
        for sort in BOTH_WAYS:
            columns = {"id": "id", "name": "name"}.get(sort.removeprefix("-"), f"{sort.removeprefix('-')}_id")
            self.assert_read_from(app, client, as_user, f"sort={sort}&owner=me", f"ix_items_owner_id_{columns}")

    @pytest.mark.parametrize(
        ("query", "index"),
        [("q=00042&sort=name", "search_items"), ("min_price=49&sort=name", "price_id")],
    )
    def test_few_rows_are_found_by_the_index_of_their_filter(self, app, client, thousands, as_user, query, index):
        """The rows of a rare text, or within narrow prices, are found by an index in every order."""
        dialect, plan = self.plan(app, client, as_user, f"{API}/items?{query}")

        if dialect == "mysql" and index == "search_items":
            index = "uq_items_name"  # MariaDB has no index of parts of texts
        assert index in plan, plan
        assert "SCAN items" not in plan, plan
        assert "Seq Scan" not in plan, plan

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_a_deletion_reads_only_its_own_grams(self, app, thousands):
        """On SQLite the deletion of one of thousands of items does not read the whole index of the search."""
        steps = []
        with app.app_context(), db.engine.connect() as connection:
            sqlite = connection.connection.driver_connection
            sqlite.set_progress_handler(lambda: steps.append(1), 1000)
            deleted = connection.execute(text("DELETE FROM items WHERE name_key LIKE '%00042%'"))
            sqlite.set_progress_handler(None, 0)
            connection.rollback()
            connection.invalidate()  # it has lost the handler that limits its statements

        assert deleted.rowcount == 1
        assert len(steps) < 100  # thousands of instructions

    @pytest.mark.parametrize("sort", BOTH_WAYS)
    def test_a_window_is_read_from_the_index_of_its_order(self, app, client, thousands, as_user, monkeypatch, sort):
        """If many rows match, the rows between two positions of the order's index are examined."""
        monkeypatch.setattr(search, "FEW", 10)
        monkeypatch.setattr(pages, "WINDOW", 100)
        LISTING.build.cache_clear()
        index = {"id": "PRIMARY", "name": "uq_items_name"}.get(sort.removeprefix("-"))

        self.assert_read_from(
            app, client, as_user, f"q=0&sort={sort}", index or f"ix_items_{sort.removeprefix('-')}_id"
        )

        LISTING.build.cache_clear()

    def assert_read_from(self, app, client, headers, query, index):
        page = client.get(f"{API}/items?limit=20&{query}", headers=headers)

        dialect, plan = self.plan(app, client, headers, page.headers["Link"][1:].partition(">")[0])

        message = f"{query}: {plan}"
        if dialect == "sqlite":
            assert "SEARCH items USING" in plan, message
            assert "TEMP B-TREE" not in plan, message
            names = {"PRIMARY": "INTEGER PRIMARY KEY", "uq_items_name": "sqlite_autoindex_items_1"}
        elif dialect == "postgresql":
            assert "Seq Scan" not in plan, message
            assert "Sort" not in plan, message
            names = {"PRIMARY": "pk_items"}
        else:
            assert "filesort" not in plan, message
            assert "'range'" in plan or "'ref'" in plan, message
            names = {}
        assert names.get(index, index) in plan, message


def test_the_document_has_both_pages(client):
    """The document describes the page of items and the page of names."""
    document = client.get("/openapi.json").json
    answer = document["paths"][f"{API}/items"]["get"]["responses"]["200"]["content"]["application/json"]

    assert [one["$ref"].rpartition("/")[2] for one in answer["schema"]["oneOf"]] == ["ItemPage", "ItemNamePage"]
