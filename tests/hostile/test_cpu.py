"""A hostile request costs little CPU time.  No text has quadratic costs."""

import json
import time

import pytest

from app.data.text import TextTooLongError, folded, normalized
from support.api import API, PASSWORD, error

BUDGET = 0.05  # seconds of CPU time per request; the hashes of the tests cost almost nothing
# Normalising sorts the marks of a letter: each U+0344 becomes two marks, and every U+0316 must move past all of them.
MARKS = "\u0344" * 16_200 + "\u0316" * 16_200
SHORTER_MARKS = "\u0344" * 5_400 + "\u0316" * 5_400  # in a query, percent-encoding triples their length
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
    began = time.process_time()
    response = client.open(path, method=method, **options)
    cost = time.process_time() - began

    assert cost < BUDGET, f"{cost:.3f} s of CPU"
    return response


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

    @pytest.mark.parametrize("path", ["things", "users"])
    def test_too_long_a_search_is_refused(self, client, as_admin, path):
        """The same in a query."""
        response = cheaply(client, "GET", f"{API}/{path}", query_string={"q": SHORTER_MARKS}, headers=as_admin)

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
