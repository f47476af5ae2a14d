"""One hostile request costs little CPU: no text, and no header, is read in the square of its length."""

import json
import time

import pytest

from app.data.text import TextTooLongError, folded, normalized
from support.api import API, PASSWORD, error

BUDGET = 0.05  # seconds of CPU for a request; the hashes of the tests cost next to nothing
# Normalising sorts the marks behind a letter: each U+0344 becomes two, and every U+0316 has to pass all of them.
MARKS = "\u0344" * 16_200 + "\u0316" * 16_200
SHORTER_MARKS = "\u0344" * 5_400 + "\u0316" * 5_400  # percent-encoded they are as long as the others
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
    """The answer to a request, which stays within the budget."""
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
    def test_too_long_a_field_is_refused(self, client, as_user, lamp, method, path, body, field):
        """64 KiB of marks in any text field are a 422 about its length, before they are normalised."""
        response = send(client, method, path.format(lamp=lamp["id"]), body, as_user)

        assert error(response) == (422, "validation_failed")
        assert "length" in response.json["errors"]["json"][field][0].lower()

    @pytest.mark.parametrize(("method", "path", "body"), PASSWORDS)
    def test_too_long_a_password_is_wrong(self, client, as_user, method, path, body):
        """64 KiB of marks are a wrong password as any other."""
        assert error(send(client, method, path, body, as_user)) == (401, "invalid_credentials")

    @pytest.mark.parametrize("path", ["things", "users"])
    def test_too_long_a_search_is_refused(self, client, as_admin, path):
        """The same in a query."""
        response = cheaply(client, "GET", f"{API}/{path}", query_string={"q": SHORTER_MARKS}, headers=as_admin)

        assert error(response) == (422, "validation_failed")
        assert "length" in response.json["errors"]["query"]["q"][0].lower()

    def test_a_login_name_as_long_as_allowed(self, client):
        """A login takes 255 characters: longer than any name, and no error."""
        body = {"username": "\ufdfa" * 255, "password": PASSWORD}

        assert error(send(client, "POST", "auth/login", body, {})) == (401, "invalid_credentials")

    def test_spaces_around_a_name_do_not_count(self, client, as_user):
        """A name is trimmed before it is measured."""
        response = send(client, "POST", "things", {"name": " " * 1000 + "Lock", "price": "1.00"}, as_user)

        assert response.json["name"] == "Lock"

    def test_what_is_short_when_composed_is_taken(self, client, as_user):
        """80 characters, each of four in the text as sent, are 80 characters."""
        name = "\u03b1\u0313\u0300\u0345" * 80

        response = send(client, "POST", "things", {"name": name, "price": "1.00"}, as_user)

        assert response.json["name"] == "\u1f82" * 80

    def test_a_name_on_the_command_line(self, runner):
        """There is no user of too long a name."""
        result = runner.invoke(args=["users", "promote", "x" * 10_000])

        assert result.exit_code == 1
        assert "There is no user" in result.output


@on_sqlite
def test_an_accept_header_is_not_parsed(client):
    """8 KB of tabs in `Accept` cost no more than a short one."""
    response = cheaply(client, "GET", "/", headers={"Accept": "a" + "\t" * 8_000 + "b"})

    assert response.is_json


@pytest.mark.parametrize("change", [normalized, folded])
def test_text_is_measured_first(change):
    """Four times the allowed characters are normalised, and not one more."""
    assert change("\u0344" * 4, "NFC", 1) == "\u0308\u0301" * 4
    with pytest.raises(TextTooLongError):
        change("x" * 5, "NFC", 1)
