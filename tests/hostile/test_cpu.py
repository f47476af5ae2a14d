"""A hostile request costs little CPU time.  No text has quadratic costs."""

import json
from itertools import product
from urllib.parse import urlencode

import pytest
from budget import within_budget

from app.data.text import TextTooLongError, folded, normalized
from support.api import API, PASSWORD, error

# Normalising sorts the marks of a letter: each U+0344 becomes two marks, and every U+0316 must move past all of them.
MARKS = "\u0344" * 16_200 + "\u0316" * 16_200
SHORTER_MARKS = "\u0344" * 330 + "\u0316" * 330  # percent-encoded, they fill the 4,094 bytes of a request line
BODIES = [
    ("POST", "auth/register", {"username": MARKS, "password": PASSWORD}, "username"),
    ("POST", "auth/register", {"username": "hopper", "password": MARKS}, "password"),
    ("POST", "auth/login", {"username": MARKS, "password": PASSWORD}, "username"),
    ("POST", "auth/fresh-login", {"username": MARKS, "password": PASSWORD}, "username"),
    ("PUT", "auth/password", {"current_password": PASSWORD, "new_password": MARKS}, "new_password"),
    ("PATCH", "users/me", {"username": MARKS}, "username"),
    ("POST", "things", {"name": MARKS, "price": "1.00"}, "name"),
    ("POST", "things", {"name": "Lock", "price": "1.00", "description": MARKS}, "description"),
    ("PATCH", "things/{lamp}", {"name": MARKS}, "name"),
    ("PATCH", "things/{lamp}", {"description": MARKS}, "description"),
]
# The marks of one letter in every order that normalising may have to sort, and runs that patterns may try again.
RUNS = {
    "marks in order": "\u0316\u0301",
    "marks out of order": "\u0301\u0316",
    "double marks": "\u0344\u0316",
    "marks before doubles": "\u0316\u0344",
    "hangul": "\u1100\u1161\u11a8",
    "expanding": "\ufdfa",
    "spaces": " ",
    "tabs": "\t",
    "invisible": "\u200d",
    "dots": "a.",
    "dashes": "-_",
    "digits": "9",
    "letters": "a",
    "emoji": "\U0001f469\u200d",
}
HEADERS = ("Accept", "Accept-Language", "Authorization", "Cookie", "Content-Encoding", "Content-Type", "Forwarded",
           "Idempotency-Key", "If-Match", "If-None-Match", "Origin", "Range", "Access-Control-Request-Headers",
           "traceparent", "User-Agent", "X-CSRF-TOKEN", "X-Forwarded-For", "X-Request-ID")  # fmt: skip
PATTERNS = {
    "tabs": "a" + "\t" * 8_000 + "b",
    "spaces": "a" + " " * 8_000 + "b",
    "semicolons": ";" * 8_000,
    "commas": "," * 8_000,
    "quotes": '"' * 8_000,
    "open quotes": '"\\' * 4_000,
    "pairs": "a=b;" * 2_000,
    "values": "a;q=0.1, " * 880,
    "tags": 'W/"a", ' * 1_100,
    "dots": "Bearer " + "a." * 4_000,
    "letters": "Bearer " + "a" * 8_000,
    "our cookies": "access_token_cookie=a; " * 340,
    "addresses": "1.1.1.1, " * 880,
    "percents": "%" * 8_000,
}
REQUESTS = [("GET", "/"), ("GET", f"{API}/things"), ("POST", f"{API}/things"), ("OPTIONS", f"{API}/things")]
PASSWORDS = [
    ("POST", "auth/login", {"username": "grace", "password": MARKS}),
    ("POST", "auth/login", {"username": "nobody", "password": MARKS}),
    ("POST", "auth/fresh-login", {"username": "grace", "password": MARKS}),
    ("PUT", "auth/password", {"current_password": MARKS, "new_password": "another horse battery"}),
]

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def cheaply(client, method, path, **options):
    """Send a request, check that it stays within the budget, and return the answer."""
    client.get("/health/live")  # the first request of an application costs more
    return within_budget(lambda: client.open(path, method=method, **options))


def send(client, method, path, body, headers):
    data = json.dumps(body, ensure_ascii=False).encode()
    return cheaply(client, method, f"{API}/{path}", data=data, headers=headers, content_type="application/json")


@on_sqlite
class TestText:
    @pytest.mark.parametrize(("method", "path", "body", "field"), BODIES)
    def test_a_field_that_is_too_long(self, client, as_user, lamp, method, path, body, field):
        """64 KiB of marks in a text field get 422 before they are normalised."""
        response = send(client, method, path.format(lamp=lamp["id"]), body, as_user)

        assert error(response) == (422, "validation_failed")
        assert "length" in response.json["errors"]["json"][field][0].lower()

    @pytest.mark.parametrize(("method", "path", "body"), PASSWORDS)
    def test_a_password_that_is_too_long(self, client, as_user, method, path, body):
        """A password of 64 KiB of marks is a wrong password."""
        assert error(send(client, method, path, body, as_user)) == (401, "invalid_credentials")

    @pytest.mark.parametrize(("method", "path", "body", "field"), BODIES)
    @pytest.mark.parametrize("kind", RUNS)
    def test_a_run_of_one_character(self, client, as_user, lamp, method, path, body, field, kind):
        """64 KiB of one pattern in a text field get a 4xx within the budget."""
        body = {**body, field: RUNS[kind] * (60_000 // len(RUNS[kind].encode()))}
        response = send(client, method, path.format(lamp=lamp["id"]), body, as_user)

        assert 400 <= response.status_code < 500

    @pytest.mark.parametrize("path", ["things", "users"])
    def test_too_long_a_search_is_refused(self, client, as_admin, path):
        """The same in a query."""
        query = urlencode({"q": SHORTER_MARKS})  # outside the measurement, because the client does it
        response = cheaply(client, "GET", f"{API}/{path}", query_string=query, headers=as_admin)

        assert error(response) == (422, "validation_failed")
        assert "length" in response.json["errors"]["query"]["q"][0].lower()

    def test_a_login_name_as_long_as_allowed(self, client):
        """A login with a name of 255 characters gets 401, not 422."""
        body = {"username": "\ufdfa" * 255, "password": PASSWORD}

        assert error(send(client, "POST", "auth/login", body, {})) == (401, "invalid_credentials")

    def test_spaces_around_a_name_do_not_count(self, client, as_user):
        """A name is trimmed before it is measured."""
        response = send(client, "POST", "things", {"name": " " * 1000 + "Lock", "price": "1.00"}, as_user)

        assert response.json["name"] == "Lock"

    def test_the_composed_name_counts(self, client, as_user):
        """A name of 320 code points that compose to 80 characters is accepted."""
        name = "\u03b1\u0313\u0300\u0345" * 80

        response = send(client, "POST", "things", {"name": name, "price": "1.00"}, as_user)

        assert response.json["name"] == "\u1f82" * 80

    def test_a_name_on_the_command_line(self, runner):
        """A command with a name that is too long finds no user."""
        result = runner.invoke(args=["users", "promote", "x" * 10_000])

        assert result.exit_code == 1
        assert "There is no user" in result.output


@on_sqlite
class TestHeaders:
    @pytest.fixture
    def trusting(self, another):
        """An application that reads all headers: of proxies, origins and hosts."""
        settings = {"CORS_ORIGINS": ("https://app.example.com",), "TRUSTED_PROXIES": 1}
        return another(**settings).test_client(use_cookies=False)

    @pytest.mark.parametrize("name", HEADERS)
    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_a_long_run(self, trusting, name, pattern):
        """A header of 8 KB stays within the budget on every kind of request."""
        for method, path in REQUESTS:
            response = cheaply(trusting, method, path, headers={name: PATTERNS[pattern]})
            assert response.status_code < 500

    @pytest.mark.parametrize("name", HEADERS)
    def test_the_longest(self, trusting, name):
        """A header that fills the whole section of 32 KiB stays within the budget."""
        for filler, (method, path) in product(("a\t", ";,", '"', "a=b;"), REQUESTS):
            value = filler * (32_000 // len(filler))
            assert cheaply(trusting, method, path, headers={name: value}).status_code < 500


def nested(opening, closing, depth):
    return opening * depth + closing * depth


DOCUMENTS = {
    "deep lists": nested("[", "]", 32_000),
    "deep objects": nested('{"a":', "}", 9_000).replace(":}", ":1}", 1),
    "open lists": "[" * 65_000,
    "open objects": '{"a":' * 13_000,
    "wide object": json.dumps(dict.fromkeys(map(str, range(4_500)))),
    "equal names": "{" + '"a":1,' * 10_000 + '"a":1}',
    "wide list": json.dumps([0] * 20_000),
    "wide name": json.dumps({"name": [0] * 20_000}),
    "deep name": '{"name":' + nested("[", "]", 31) + "}",
    "many objects": json.dumps([{}] * 15_000),
    "a long number": "9" * 65_000,
    "a long fraction": "0." + "9" * 65_000,
    "a long exponent": "1e" + "9" * 65_000,
    "spaces": " " * 65_000,
    "escapes": '"' + "\\u0061" * 10_000 + '"',
    "open escapes": '"' + "\\" * 65_000,
    "long names": json.dumps({chr(97 + at) * 5_000: 1 for at in range(12)}),
    "a price": json.dumps({"name": "Lock", "price": "9" * 60_000}),
}


@on_sqlite
class TestDocuments:
    @pytest.mark.parametrize("kind", DOCUMENTS)
    @pytest.mark.parametrize("path", ["auth/login", "auth/refresh", "things"])
    def test_a_large_document(self, client, as_user, kind, path):
        """A deep or wide document of 64 KiB gets a 4xx within the budget."""
        document = DOCUMENTS[kind].encode()
        assert len(document) <= 65_536
        response = cheaply(
            client, "POST", f"{API}/{path}", data=document, headers=as_user, content_type="application/json"
        )

        assert 400 <= response.status_code < 500

    @pytest.mark.parametrize(
        "query",
        [
            urlencode([(f"a{at}", "") for at in range(700)]),
            "&" * 4_000,
            "=" * 4_000,
            "a&" * 2_000,
            "limit=1&" * 500,
            "%" * 4_000,
            "q=" + "%25" * 1_300,
            "cursor=" + "a" * 4_000,
            "sort=" + "-" * 4_000,
            "min_price=" + "9" * 4_000,
            "q=" + "+" * 4_000,
        ],
        ids=lambda query: query[:12],
    )
    def test_a_long_query(self, client, as_user, query):
        """A query of 4 KB stays within the budget."""
        for path in ("things", "users/me"):
            assert cheaply(client, "GET", f"{API}/{path}?{query}", headers=as_user).status_code < 500


@on_sqlite
def test_an_accept_header_is_not_parsed(client):
    """An `Accept` header of 8 KB of tabs stays within the budget."""
    response = cheaply(client, "GET", "/", headers={"Accept": "a" + "\t" * 8_000 + "b"})

    assert response.is_json


@pytest.mark.parametrize("change", [normalized, folded])
def test_the_length_is_checked_first(change):
    """A text longer than four times the limit is refused before it is normalised."""
    assert change("\u0344" * 4, "NFC", 1) == "\u0308\u0301" * 4
    with pytest.raises(TextTooLongError):
        change("x" * 5, "NFC", 1)
