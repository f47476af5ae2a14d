"""Errors: each has the same shape and leaves the data unchanged."""

import json
import uuid
from datetime import timedelta
from decimal import Decimal
from io import BytesIO
from time import sleep, thread_time
from types import SimpleNamespace

import pytest
import time_machine
from flask import g
from gunicorn.http.errors import InvalidChunkSize, ParseException
from sqlalchemy import delete, select, text
from werkzeug.exceptions import Gone

from app import API_TITLE, create_app
from app.data.base import db
from app.data.types import utcnow
from app.tokens.issuing import Grant, issue_tokens
from app.users.models import User
from app.web.request import MAX_HEADERS
from app.web.strict_json import NotStrictError, strict_json
from config import TestingConfig
from support.api import API, PASSWORD, app_with_things, bearer, count, error, me, refresh, sign_up
from support.contract import off_the_record
from support.databases import ENDINGS
from support.things import Thing

JSON = "application/json"
REGISTER = f"{API}/auth/register"
GOOD = json.dumps({"username": "grace", "password": PASSWORD})


def nested(depth):
    return '{"username":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


def assert_closed(response):
    """Check the security headers of a JSON response."""
    headers = response.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == JSON


@pytest.fixture
def plain():
    """A client of an application whose database is not used."""
    return create_app(TestingConfig()).test_client()


class TestPathsAndMethods:
    @pytest.mark.parametrize(
        "path",
        ["/nowhere", "/api/v1", f"{API}/things/", f"{API}//things", f"{API}/Things", "/.env", "/static/x", "/%ff"],
    )
    def test_an_unknown_path_is_not_found(self, client, path):
        """An unknown or misspelled path gets 404, never a redirect."""
        assert error(client.get(path)) == (404, "not_found")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("GET", f"{API}/auth/login", {"POST", "OPTIONS"}),
            ("PUT", f"{API}/things", {"GET", "HEAD", "POST", "OPTIONS"}),
            ("POST", f"{API}/things/1", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
            ("TRACE", "/", {"GET", "HEAD", "OPTIONS"}),
            ("PROPFIND", f"{API}/things", {"GET", "HEAD", "POST", "OPTIONS"}),
        ],
    )
    def test_wrong_method(self, client, method, path, allowed):
        """A wrong method gets 405 with `Allow` (RFC 9110 section 15.5.6)."""
        response = client.open(path, method=method)

        assert error(response) == (405, "method_not_allowed")
        assert set(response.headers["Allow"].split(", ")) == allowed

    @pytest.mark.parametrize("path", ["/", f"{API}/things", "/openapi.json", "/health/live"])
    def test_head_and_options_work_where_get_does(self, client, path):
        """Where GET works, HEAD has no body and OPTIONS allows GET."""
        assert (client.head(path).status_code, client.head(path).data) == (200, b"")
        assert "GET" in client.options(path).headers["Allow"]


class TestBodies:
    def test_requests_share_no_context(self, app, client):
        """Requests inside one application context do not share `g` or the user."""
        with app.app_context():
            g.mine = "stays"
            ada = sign_up(client, "ada")
            grace = sign_up(client, "grace")

            assert me(client, ada.access_token).json["username"] == "ada"
            assert me(client, grace.access_token).json["username"] == "grace"
            assert client.get(f"{API}/users/me").status_code == 401
            assert g.mine == "stays"

    @pytest.mark.parametrize(
        "body",
        [
            b"", b" ", b"{", b'{"username"', b"nonsense", b"{}x", b"True", b'{"a":1,}', b"{'a':1}", b'{"a":01}',
            b"NaN", b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":1e999}', b'{"a":' + b"9" * 5000 + b"}",
            b'{"username":"\xff"}', b'{"username":"\xed\xa0\x80"}', b"\xef\xbb\xbf{}", GOOD.encode("utf-16"),
            GOOD.encode("utf-32"), b'{"username":"\\ud800"}', b'{"\\udfff":1}', b'{"a":["\\ud800"]}',
            b'{"a":{"b":["\\udc00x"]}}', b'"\\ud800"', b'{"a":1,"a":1}', b'{"x":{"a":1,"a":2}}', b'{"a":"x\ny"}',
            nested(33).encode(), b"[" * 50_000, b'{"a":' * 10_000,
        ],
    )  # fmt: skip
    def test_invalid_json(self, app, client, body):
        """A body that is not strict JSON gets 400 (RFC 8259)."""
        assert error(client.post(REGISTER, data=body, content_type=JSON)) == (400, "bad_request")
        assert count(app, User) == 0

    @pytest.mark.parametrize(
        "body",
        [b"[" * 33 + b'"' + b'\\"' * 32_000, b"[" * 33 + b'"' * 65_000, b"[" * 33 + b'"' + b"\\" * 65_000,
         b'{"a":' * 13_000, b"[" + b"9" * 65_000 + b"]", b"[" + b"1" * 65_000 + b"e9]"],
        ids=["escaped quotes", "quotes", "backslashes", "objects", "an integer", "a float"],
    )  # fmt: skip
    def test_the_worst_body(self, body):
        """The slowest body to parse is refused within a second of CPU time."""
        began = thread_time()

        with pytest.raises(NotStrictError):
            strict_json(body)

        assert thread_time() - began < 1

    @pytest.mark.parametrize(
        "body",
        [
            "null",
            "true",
            "1",
            '"x"',
            "[]",
            f"[{GOOD}]",
            "[[]]",
            nested(32),
            "[" + "[]," * 99 + "[]]",
            '{"username":"[[{{"}',
        ],
    )
    def test_json_of_another_shape(self, app, client, body):
        """Valid JSON of another shape gets 422."""
        assert error(client.post(REGISTER, data=body, content_type=JSON)) == (422, "validation_failed")
        assert count(app, User) == 0

    @pytest.mark.parametrize(
        "content_type",
        [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/x+json", "json",
         "application/json, text/plain", "application/json;charset=utf-16", "multipart/form-data; boundary=x"],
    )  # fmt: skip
    def test_another_content_type_is_refused(self, app, client, content_type):
        """Another content type gets 415, so that no HTML form can post JSON."""
        response = client.post(REGISTER, data=GOOD, content_type=content_type)

        assert error(response) == (415, "unsupported_media_type")
        assert count(app, User) == 0

    @pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "x"])
    def test_an_encoded_body_is_refused(self, app, client, encoding):
        """A compressed body gets 415 with Accept-Encoding (RFC 9110 section 12.5.3)."""
        response = client.post(REGISTER, data=GOOD, content_type=JSON, headers={"Content-Encoding": encoding})

        assert error(response) == (415, "unsupported_media_type")
        assert response.headers["Accept-Encoding"] == "identity"
        assert count(app, User) == 0

    def test_identity_encoding(self, client):
        """`identity` is accepted in any case, and another 415 has no Accept-Encoding."""
        headers = {"Content-Encoding": "Identity"}

        assert client.post(REGISTER, data=GOOD, content_type=JSON, headers=headers).status_code == 201
        assert "Accept-Encoding" not in client.post(REGISTER, data=GOOD, content_type="text/plain").headers

    def test_missing_body(self, client):
        """A missing body gets 400, not 415."""
        assert error(client.post(REGISTER)) == (400, "bad_request")

    @pytest.mark.parametrize(
        "content_type",
        [JSON, "APPLICATION/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
    )
    def test_spellings_of_the_content_type(self, client, content_type):
        """The content type is accepted in any case and with `charset=utf-8`."""
        assert client.post(REGISTER, data=f" \n{GOOD}\t ", content_type=content_type).status_code == 201

    def test_an_unknown_field_is_named(self, client):
        """Unknown fields are listed, up to twenty."""
        body = json.loads(GOOD) | {f"field{number}": 1 for number in range(1000)} | {"k" * 5000: 1}

        response = client.post(REGISTER, json=body)

        assert error(response) == (422, "validation_failed")
        assert len(response.json["errors"]["json"]) == 20
        assert set(map(str, response.json["errors"]["json"].values())) == {"['Unknown field.']"}

    def test_missing_fields_come_first(self, client):
        """Missing fields are listed before unknown ones, in a fixed order."""
        response = client.post(REGISTER, json={f"field{number:03}": 1 for number in range(100)})

        expected = ["password", "username", *(f"field{number:03}" for number in range(18))]
        assert list(response.json["errors"]["json"]) == expected

    def test_every_wrong_field_is_listed(self, client):
        """One response lists all wrong fields."""
        response = client.post(REGISTER, json={"username": "a", "password": 1, "x": 1})

        assert response.json["errors"]["json"].keys() == {"username", "password", "x"}

    def test_a_body_over_the_limit_is_too_large(self, app, client):
        """A body of MAX_CONTENT_LENGTH is accepted, and one more byte gets 413."""
        limit = app.config["MAX_CONTENT_LENGTH"]
        assert client.post(REGISTER, data=GOOD.ljust(limit), content_type=JSON).status_code == 201
        assert error(client.post(REGISTER, data=GOOD.ljust(limit + 1), content_type=JSON)) == (413, "payload_too_large")

    def chunked(self, client, stream):
        environ = {
            "wsgi.input": stream,
            "wsgi.input_terminated": True,
            "CONTENT_TYPE": JSON,
            "HTTP_TRANSFER_ENCODING": "chunked",
        }
        return client.post(REGISTER, environ_overrides=environ)

    def test_a_chunked_body_has_the_same_limit(self, app, client):
        """A chunked body has the same limit."""
        limit = app.config["MAX_CONTENT_LENGTH"]
        assert error(self.chunked(client, BytesIO(GOOD.encode().ljust(limit + 1)))) == (413, "payload_too_large")
        assert self.chunked(client, BytesIO(GOOD.encode().ljust(limit))).status_code == 201

    @pytest.mark.parametrize(
        ("fault", "answer"),
        [
            (BlockingIOError(), (408, "request_timeout")),
            (TimeoutError(), (408, "request_timeout")),
            (ConnectionResetError(), (400, "bad_request")),
            (InvalidChunkSize(b"-1"), (400, "bad_request")),
        ],
    )
    def test_a_body_that_does_not_arrive(self, app, client, monkeypatch, fault, answer):
        """A body that does not arrive in time gets 408, and a broken one 400."""
        monkeypatch.setattr("app.web.request.framing_errors", (OSError, ParseException))  # as gunicorn.conf.py does

        class Stream:
            def read(self, _size):
                raise fault

        assert error(self.chunked(client, Stream())) == answer
        assert count(app, User) == 0

    def test_a_body_that_breaks_off(self, app, client):
        """A body that is shorter than its Content-Length gets 400."""
        response = client.post(
            REGISTER, data=GOOD, content_type=JSON, environ_overrides={"CONTENT_LENGTH": str(len(GOOD) + 1)}
        )

        assert error(response) == (400, "bad_request")
        assert count(app, User) == 0


class TestQueries:
    @pytest.mark.parametrize("path", ["users/me", "auth/session", "things/1"])
    @pytest.mark.parametrize("query", ["x=1", "page=2", "x", "%00=1"])
    def test_unknown_parameter(self, client, as_user, path, query):
        """An unknown parameter gets 422, also where no parameter exists."""
        response = client.get(f"{API}/{path}?{query}", headers=as_user)

        assert error(response) == (422, "validation_failed")
        assert set(map(str, response.json["errors"]["query"].values())) == {"['Unknown field.']"}

    @pytest.mark.parametrize("query", ["x=1", "x=1&x=2"])
    @pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready"])
    def test_unknown_parameter_outside_the_api(self, plain, path, query):
        """Paths outside the API refuse unknown parameters too."""
        assert error(plain.get(f"{path}?{query}")) == (422, "validation_failed")
        assert error(plain.get(f"{path}?{query}&y=%ff")) == (400, "bad_request")

    def test_unknown_parameter_with_a_body(self, app, client):
        """An unknown parameter gets 422 even if the body is valid."""
        response = client.post(f"{REGISTER}?x=1", data=GOOD, content_type=JSON)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"query": {"x": ["Unknown field."]}}
        assert count(app, User) == 0

    @pytest.mark.parametrize(
        ("method", "path", "name"),
        [
            ("GET", "things?limit=1&limit=1", "limit"),
            ("DELETE", "auth/sessions?keep_current=false&keep_current=true", "keep_current"),
        ],
    )
    def test_repeated_parameter(self, client, as_user, method, path, name):
        """A repeated parameter gets 422, and nothing is done."""
        response = client.open(f"{API}/{path}", method=method, headers=as_user)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"query": {name: ["Repeated."]}}
        assert client.get(f"{API}/users/me", headers=as_user).status_code == 200

    def test_many_unknown_parameters(self, client, as_user):
        """The response lists at most twenty unknown parameters."""
        query = "&".join(f"x{number}=1" for number in range(100))

        assert len(client.get(f"{API}/users/me?{query}", headers=as_user).json["errors"]["query"]) == 20

    @pytest.mark.parametrize("path", ["users/me?x=%ff", "things?cursor=%ff", "things?cursor=%ED%A0%80", "things?%ff=1"])
    def test_a_query_that_is_not_utf_8_is_a_bad_request(self, client, as_user, path):
        """A query that is not UTF-8 gets 400."""
        assert error(client.get(f"{API}/{path}", headers=as_user)) == (400, "bad_request")


class TestHeaders:
    @pytest.mark.parametrize("path", [f"{API}/things", "/health/live", "/nowhere"])
    def test_a_header_section_that_is_too_large(self, client, path):
        """Header fields of more than 32 KiB in all get 431 on every path."""
        usual = len("Host: localhost\r\nUser-Agent: x\r\n")
        room = MAX_HEADERS - usual - len("X-Big: \r\n")

        fits, exceeds = (
            client.get(path, headers={"User-Agent": "x", "X-Big": "a" * size}) for size in (room, room + 1)
        )

        assert fits.status_code != 431
        assert error(exceeds) == (431, "headers_too_large")

    @pytest.mark.parametrize("sent", ["abc", "A.b_c-9", "9" * 128])
    def test_a_request_id_comes_back(self, client, sent):
        """A valid X-Request-ID is repeated in the header and the body."""
        response = client.get("/nowhere", headers={"X-Request-ID": sent})

        assert response.headers["X-Request-ID"] == response.json["request_id"] == sent

    @pytest.mark.parametrize("sent", ["", "a" * 129, "a b", "é", "a;b", "<script>", '"', "a/b"])
    def test_an_invalid_request_id_is_replaced(self, client, sent):
        """An invalid X-Request-ID is replaced by a new UUID."""
        answers = [client.get("/", headers={"X-Request-ID": sent}).headers["X-Request-ID"] for _ in range(2)]

        assert uuid.UUID(answers[0]) != uuid.UUID(answers[1])

    @pytest.mark.parametrize("path", ["/", "/nowhere", f"{API}/things", f"{API}/users/me", f"{API}/auth/login"])
    def test_security_headers(self, client, path):
        """Successes and errors have the security headers."""
        assert_closed(client.get(path))

    def test_challenges(self, client, user, as_stale_user):
        """Each kind of 401 has its challenge (RFC 6750 section 3, RFC 9470)."""
        bare = f'Bearer realm="{API_TITLE}"'
        bad = f'{bare}, error="invalid_token", error_description='
        stale = f'{bare}, error="insufficient_user_authentication", error_description='
        item = {"name": "Lamp", "price": "1"}
        wrong = {"username": "grace", "password": "not the password"}
        gone = refresh(client, user.refresh_token).json["access_token"]
        client.post(f"{API}/auth/logout/access", headers=bearer(gone))

        answers = [
            (client.get(f"{API}/users/me"), "authorization_required", bare),
            (client.post(f"{API}/auth/login", json=wrong), "invalid_credentials", bare),
            (me(client, "x.y.z"), "invalid_token", f'{bad}"The token is not valid."'),
            (me(client, gone), "token_revoked", f'{bad}"The token has been revoked."'),
            (client.post(f"{API}/things", headers=as_stale_user, json=item), "fresh_token_required", stale),
        ]
        with time_machine.travel(utcnow() + timedelta(seconds=11)):
            answers.append((refresh(client, user.refresh_token), "token_reused", bad))
        with time_machine.travel(utcnow() + timedelta(days=1)):
            answers.append((me(client, user.access_token), "token_expired", f'{bad}"The token has expired."'))

        for response, code, challenge in answers:
            assert error(response) == (401, code)
            header = response.headers["WWW-Authenticate"]
            assert header == challenge if challenge[-1] == '"' else header.startswith(challenge)

    @pytest.mark.parametrize(
        ("title", "realm"),
        [("Corner Shop", "Corner Shop"), ('A "B" \\', "A %22B%22 %5C"), ("门锁", "%E9%97%A8%E9%94%81")],
    )
    def test_the_realm_is_the_title(self, app, client, title, realm):
        """The realm of a 401 is API_TITLE, percent-encoded to ASCII."""
        app.config.update(API_TITLE=title, JWT_ISSUER="issuer")

        challenge = client.get(f"{API}/users/me").headers["WWW-Authenticate"]

        assert challenge == f'Bearer realm="{realm}"'


class TestFaults:
    @pytest.fixture
    def breaking(self, app, monkeypatch):
        """Make the view of `GET /` raise."""

        def breaking(fault):
            def view(**_args):
                raise fault

            monkeypatch.setitem(app.view_functions, "system.show_index", view)

        return breaking

    def test_crash(self, client, breaking, caplog):
        """A crash gets 500, and only the log has its cause."""
        breaking(ZeroDivisionError("a secret of the house"))

        response = client.get("/")

        assert error(response) == (500, "internal_error")
        assert "secret" not in response.text
        assert "ZeroDivisionError: a secret of the house" in caplog.text
        assert_closed(response)

    def test_status_without_a_code(self, client, breaking):
        """An HTTP exception without a code of ours keeps its status."""
        breaking(Gone())

        with off_the_record():
            assert error(client.get("/")) == (410, "gone")

    def test_wrong_statement(self, client, app, breaking, monkeypatch):
        """A wrong statement gets 500, not 503."""

        def view():
            with app.app_context():
                db.session.add(Thing(name=None, price=1))
                db.session.flush()

        monkeypatch.setitem(app.view_functions, "system.show_index", view)

        assert error(client.get("/")) == (500, "internal_error")
        assert client.get(f"{API}/things").status_code == 200

    def test_connection_lost_midway(self, app, client, monkeypatch):
        """A connection that is lost in a transaction gets 503, and the next request works."""
        waits = {
            "postgresql": "SET idle_in_transaction_session_timeout = '100ms'",
            "mysql": "SET SESSION idle_transaction_timeout = 1",
        }
        with app.app_context():
            wait = waits.get(db.engine.dialect.name)
        if wait is None:
            pytest.skip("SQLite has no connection to lose")

        def view():
            db.session.execute(text(wait))
            db.session.execute(select(User.id))
            sleep(1.5)
            db.session.execute(select(User.id))

        monkeypatch.setitem(app.view_functions, "system.show_index", view)

        with off_the_record():
            assert error(client.get("/")) == (503, "database_unavailable")
        assert client.get(f"{API}/things").status_code == 200

    def test_connection_lost_at_the_end(self, app, client, monkeypatch):
        """A connection that is lost after the last statement does not change the response."""
        with app.app_context():
            way = ENDINGS.get(db.engine.dialect.name)
        if way is None:
            pytest.skip("SQLite has no connection to lose")

        def view():
            number = db.session.scalar(text(way[0]))
            with db.engine.connect() as other:
                other.execute(text(way[1].format(number)))
            sleep(0.5)
            return {"done": True}

        monkeypatch.setitem(app.view_functions, "system.show_index", view)

        with off_the_record():
            assert client.get("/").json == {"done": True}
        assert client.get(f"{API}/things").status_code == 200

    def test_reference_to_a_missing_row(self, app, client, monkeypatch):
        """A foreign key to a missing row gets 404 on every database."""

        def view():
            db.session.add(Thing(name="Lamp", price=Decimal(1), owner_id=999_999))
            db.session.commit()

        monkeypatch.setitem(app.view_functions, "system.show_index", view)

        with off_the_record():
            assert error(client.get("/")) == (404, "not_found")
        assert count(app, Thing) == 0

    def test_row_deleted_meanwhile(self, app, client, monkeypatch):
        """An update of a row that was deleted meanwhile gets 404."""

        def view():
            item = Thing(name="Lamp", price=Decimal(1))
            db.session.add(item)
            db.session.flush()
            db.session.execute(delete(Thing), execution_options={"synchronize_session": False})
            item.price = Decimal(2)
            db.session.commit()

        monkeypatch.setitem(app.view_functions, "system.show_index", view)

        with off_the_record():
            assert error(client.get("/")) == (404, "not_found")
        assert count(app, Thing) == 0

    def unavailable(self, config):
        """Yields the responses to requests with and without a token."""
        app = app_with_things(config)
        with app.app_context():
            grant = Grant(uuid.uuid4(), uuid.uuid4(), utcnow(), utcnow() + timedelta(days=1))
            tokens = issue_tokens(SimpleNamespace(id=1, is_admin=True), grant, fresh=True)
        client = app.test_client()
        as_caller = bearer(tokens["access_token"])
        yield client.get(f"{API}/things")
        yield client.get("/health/ready")
        yield client.post(f"{API}/auth/login", data=GOOD, content_type=JSON)
        yield client.post(REGISTER, data=GOOD, content_type=JSON)
        yield me(client, tokens["access_token"])
        yield refresh(client, tokens["refresh_token"])
        yield client.get(f"{API}/things", headers=as_caller)
        yield client.delete(f"{API}/users/2", headers=as_caller)
        yield client.post(f"{API}/auth/logout", headers=as_caller)
        yield client.post(f"{API}/auth/fresh-login", data=GOOD, content_type=JSON, headers=as_caller)
        with app.app_context():
            db.session.remove()
            db.engine.dispose()

    @pytest.mark.parametrize(
        "url",
        ["postgresql://nobody@127.0.0.1:1/x", "mysql://nobody@127.0.0.1:1/x", "sqlite:////nowhere/x.db", "sqlite://"],
    )
    def test_unavailable_database(self, url):
        """Without its database the API answers 503 with Retry-After, never 401 or 500."""
        config = TestingConfig()
        config.DATABASE_URL = url

        for response in self.unavailable(config):
            assert error(response) == (503, "database_unavailable")
            assert response.json["message"] == "The database is unavailable. Try again in a moment."
            assert int(response.headers["Retry-After"]) > 0
            assert "WWW-Authenticate" not in response.headers
            assert_closed(response)


class TestOrder:
    """The order of the errors, if several apply."""

    @pytest.mark.parametrize(
        ("method", "path", "caller", "options", "answer"),
        [
            ("PUT", "things", "nobody", {"data": "x" * 70_000}, (405, "method_not_allowed")),
            ("POST", "nowhere", "nobody", {"data": "x" * 70_000}, (404, "not_found")),
            ("POST", "things", "nobody", {"data": "x" * 70_000}, (413, "payload_too_large")),
            ("POST", "things", "nobody", {"data": "{"}, (401, "authorization_required")),
            ("POST", "things?x=%ff", "nobody", {"json": {}}, (401, "authorization_required")),
            ("POST", "things?x=%ff", "user", {"json": {"price": 1}}, (400, "bad_request")),
            ("POST", "auth/register?x=%ff", "nobody", {"json": {"username": 1}}, (400, "bad_request")),
            ("POST", "auth/register?x=1", "nobody", {"data": "{", "content_type": JSON}, (400, "bad_request")),
            ("GET", "things?x=1", "bad", {}, (401, "invalid_token")),
            ("PATCH", "users/1", "stale", {"data": "{"}, (403, "admin_required")),
            ("PATCH", "users/1", "stale admin", {"data": "{"}, (401, "fresh_token_required")),
            ("POST", "things", "stale", {"data": "{"}, (401, "fresh_token_required")),
            (
                "PATCH",
                "things/999999",
                "user",
                {"data": "{", "content_type": "text/plain"},
                (415, "unsupported_media_type"),
            ),
            ("PATCH", "things/999999", "user", {"data": "{", "content_type": JSON}, (400, "bad_request")),
            ("PATCH", "things/999999", "user", {"json": {"price": 1}}, (422, "validation_failed")),
            ("PATCH", "things/999999?x=1", "user", {"json": {"price": "1"}}, (422, "validation_failed")),
            ("PATCH", "things/999999", "user", {"json": {"price": "1"}}, (404, "not_found")),
        ],
    )
    def test_the_first_error_is_returned(self, client, user, admin, method, path, caller, options, answer):
        """The order is path, method, size, token, role, freshness, type, syntax, values, object."""
        tokens = {
            "user": user.access_token,
            "bad": "x.y.z",
            "stale": refresh(client, user.refresh_token).json["access_token"],
            "stale admin": refresh(client, admin.refresh_token).json["access_token"],
        }
        headers = bearer(tokens[caller]) if caller in tokens else {}

        assert error(client.open(f"{API}/{path}", method=method, headers=headers, **options)) == answer

    def test_ownership_comes_before_uniqueness(self, client, as_user, as_other, lamp):
        """Another user's rename gets 403 even if the name is taken."""
        client.post(f"{API}/things", headers=as_user, json={"name": "Chair", "price": "1"})

        response = client.patch(f"{API}/things/{lamp['id']}", headers=as_other, json={"name": "Chair"})

        assert error(response) == (403, "forbidden")
