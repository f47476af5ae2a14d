"""Hostile bodies, addresses, headers and strings get the same answers on every database."""

import json
import uuid
from contextlib import contextmanager
from unicodedata import normalize
from urllib.parse import quote

import pytest
from hostile_cases import CATALOGUE, DECIDED, EXCEPTIONS, FIELDS, cases, choices, content, expand, statuses, strings
from hostile_world import World

from app.data.base import Base, db
from app.users.password_rules import is_predictable
from support.api import API, PASSWORD, UNLIMITED, bearer, error, variant

JSON = "application/json"
UNPREDICTABLE = "k9#vR2"
SHORTER = {"nul": "correct", "len-72-73": "z" * 72}  # case → a shorter password that must not log in
NOT_TEXT = "\ud800", "\udc00", "\ud83d", "\ude00", "\udfff"  # the lone surrogates of the catalogue


@pytest.fixture(scope="module")
def world(migrated):
    """One world for all cases, so each case must clean up after itself."""
    app = variant(migrated, **UNLIMITED)
    yield World(app)
    with app.app_context():
        for table in reversed(Base.metadata.sorted_tables):
            db.session.execute(table.delete())
        db.session.commit()
        db.session.remove()
        db.engine.dispose()


def post(world, path, body, caller="nobody"):
    """Send JSON with escapes, which can also contain lone surrogates."""
    return world.send("POST", f"{API}/{path}", caller=caller, data=json.dumps(body), content_type=JSON)


def assert_refused(response, text):
    """Assert 400 for a text with lone surrogates, else 422."""
    is_text = not any(half in text for half in NOT_TEXT)
    assert error(response) == ((422, "validation_failed") if is_text else (400, "bad_request"))


class TestBodies:
    @pytest.mark.parametrize("case", cases("bodies"))
    def test_is_answered_as_it_should(self, world, case):
        """A body gets the catalogue's status, and an accepted item is stored as sent."""
        known = world.numbered()
        body = content(case["body"], known)

        response = world.send_body(case, body, known)

        assert response.status_code in statuses("bodies", case), (case["why"], response.text[:300])
        assert len(response.data) <= case.get("max_response", 65_536)
        if response.status_code >= 400:
            assert response.json["error"] in case.get("error", [response.json["error"]])
        elif case["target"] == "item":
            self.assert_stored(world, json.loads(body), response)

    @staticmethod
    def assert_stored(world, sent, response):
        shown = [world.get(f"things/{response.json['id']}").json for _ in range(2)]

        assert shown == [response.json] * 2
        assert shown[0]["name"] == normalize("NFC", sent["name"]).strip()
        assert shown[0]["price"] == f"{float(sent['price']):.2f}"
        assert shown[0]["description"] == sent.get("description")


class TestAddresses:
    @pytest.mark.parametrize("case", cases("urls"))
    def test_is_answered_as_it_should(self, world, case):
        """A path, query, method or header gets the status of the catalogue."""
        known = world.numbered()
        path, _, query = expand(case["path"], known).partition("?")
        body = {"json": json.loads(expand(json.dumps(case["body"]), known))} if "body" in case else {}

        response = world.send(
            case["method"], path, query_string=query, headers=case.get("headers", ()), caller=case["as"], **body
        )

        assert response.status_code in statuses("urls", case), (case["why"], response.text[:300])
        if response.status_code >= 400:
            assert response.json["error"] in case.get("error", [response.json["error"]])
        assert response.status_code != 405 or response.headers["Allow"]
        if case.get("new_request_id"):
            assert uuid.UUID(response.headers["X-Request-ID"])
        if "same_request_id" in case:
            assert response.headers["X-Request-ID"] == case["same_request_id"]
        assert not any("//" in response.headers.get(name, "") for name in ("Location", "Link"))


@contextmanager
def registered(world, username):
    """A user with that name, who is deleted after the block."""
    response = post(world, "auth/register", {"username": username, "password": PASSWORD})
    assert response.status_code == 201, response.text[:300]
    yield response.json["user"]
    world.drop("users/me", bearer(response.json["access_token"]))


def status_of_login(world, username, password=PASSWORD):
    body = json.dumps({"username": username, "password": password})
    return world.client.post(f"{API}/auth/login", data=body, content_type=JSON).status_code


class TestUserNames:
    @pytest.mark.parametrize(("text", "verdict"), strings("username"))
    def test_is_taken_or_refused(self, world, text, verdict):
        """An accepted name is stored in NFKC and logs in as typed."""
        if verdict == "reject":
            assert_refused(post(world, "auth/register", {"username": text, "password": PASSWORD}), text)
            assert status_of_login(world, text) in (400, 401, 422)
            return
        with registered(world, text) as user:
            assert user["username"] == normalize("NFKC", text)
            assert status_of_login(world, text) == 200

    def test_another_case_is_the_same_name(self, world):
        """The lower-case form of a registered name is a conflict, and logs in."""
        with registered(world, "ADMIN-CORRECT-HORSE"):
            twin = {"username": "admin-correct-horse", "password": PASSWORD}

            assert error(post(world, "auth/register", twin)) == (409, "username_taken")
            assert status_of_login(world, "admin-correct-horse") == 200


class TestPasswords:
    @pytest.mark.parametrize(("text", "verdict"), strings("password"))
    def test_is_taken_or_refused(self, world, text, verdict, request):
        """Only the whole accepted password logs in; a refused one is a wrong password."""
        username = f"p{world.numbered()['n']}"
        if verdict == "accept" and is_predictable(text):
            assert_refused(post(world, "auth/register", {"username": username, "password": text}), text)
            text = (UNPREDICTABLE + text)[:128]  # so that its characters are tested all the same
        response = post(world, "auth/register", {"username": username, "password": text})

        if verdict == "reject":
            assert_refused(response, text)
            assert status_of_login(world, "grace", text) in (400, 401, 422)
            return
        shorter = {text[:-1], *(less for name, less in SHORTER.items() if f"-{name}]" in request.node.name)}
        assert response.status_code == 201, response.text[:300]
        assert status_of_login(world, username, text) == 200
        assert {status_of_login(world, username, less) for less in shorter} == {401}


class TestItemNames:
    @pytest.mark.parametrize(("text", "verdict"), strings("item_name"))
    def test_is_taken_or_refused(self, world, text, verdict):
        """Taken: it comes back code point for code point, but trimmed and in NFC."""
        response = post(world, "things", {"name": text, "price": "1.50"}, caller="user")

        if verdict == "reject":
            assert_refused(response, text)
            return
        assert response.status_code == 201, response.text[:300]
        assert world.get(f"things/{response.json['id']}").json == response.json
        assert response.json["name"] == normalize("NFC", text).strip()
        world.drop_item(response.json["id"])


class TestSearch:
    @pytest.mark.parametrize(("text", "verdict"), strings("search"))
    def test_is_taken_literally_or_refused(self, world, text, verdict):
        """A search finds only names with the text, and the item of that name."""
        new = json.dumps({"name": text, "price": "1.50"})
        made = world.client.post(f"{API}/things", headers=world.headers["user"], data=new, content_type=JSON)

        response = world.send(
            "GET", f"{API}/things", query_string=f"limit=100&q={quote(text, errors='surrogatepass')}", caller="user"
        )

        if verdict == "reject":
            assert_refused(response, text)
        else:
            assert response.status_code == 200, response.text[:300]
            names = [found["name"] for found in response.json["things"]]
            assert [name for name in names if self.folded(text) not in self.folded(name)] == []
            assert made.json.get("name") != text or text in names
        if made.status_code == 201:
            world.drop_item(made.json["id"])

    @staticmethod
    def folded(text):
        return normalize("NFC", normalize("NFC", text).casefold())


@pytest.mark.parametrize("kind", ["bodies", "urls", "wire", *FIELDS])
def test_every_open_case_is_decided(kind):
    """Exactly the open cases have a decision, and the catalogue allows it."""
    if kind in FIELDS:
        asked = {case["id"]: ["accept", "reject"] for case in CATALOGUE["strings"] if case["expect"][kind] == "either"}
    else:
        asked = {case["id"]: case["expect"] for case in CATALOGUE[kind] if len(case["expect"]) > 1}

    assert DECIDED[kind].keys() == {name for name in asked if (kind, name) not in EXCEPTIONS}
    assert [name for name in DECIDED[kind] if not set(choices(kind, name)) <= set(asked[name])] == []


def test_the_catalogues_are_complete():
    """The catalogues have all of their cases."""
    assert {kind: len(CATALOGUE[kind]) for kind in ("bodies", "urls", "wire", "strings")} == {
        "bodies": 218, "urls": 227, "wire": 29, "strings": 129
    }  # fmt: skip
