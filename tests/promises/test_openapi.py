"""The API document: valid, committed, and in agreement with the code."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from app import create_app
from app.web.codes import Code
from config import TestingConfig
from support import contract
from support.api import API, app_with_things, error

ROOT = Path(__file__).parents[2]


def document(make=create_app, **settings):
    """The document of an application with these settings."""
    config = TestingConfig()
    for name, value in settings.items():
        setattr(config, name, value)
    return make(config).test_client().get("/openapi.json").json


DOCUMENT = document(app_with_things)
OPERATIONS = {
    (method, path): operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if method != "parameters"
}
BEARER = [{"accessToken": []}]


def resolved(thing):
    """The object that a reference points to."""
    while "$ref" in thing:
        _hash, _components, kind, name = thing["$ref"].split("/")
        thing = DOCUMENT["components"][kind][name]
    return thing


def security(method, path):
    return OPERATIONS[method, API + path].get("security")


class TestDocument:
    def test_is_valid(self):
        """The validator of the specification accepts the document."""
        validate(DOCUMENT)

        assert DOCUMENT["openapi"] == "3.1.0"

    def test_is_the_committed_one(self):
        """`openapi.json` is the output of `flask openapi write`."""
        assert document() == json.loads((ROOT / "openapi.json").read_text())

    def test_conditional_request(self):
        """A known ETag gets 304, and an unknown parameter 422."""
        client = create_app(TestingConfig()).test_client()
        tag = client.get("/openapi.json").headers["ETag"]

        assert client.get("/openapi.json", headers={"If-None-Match": tag}).status_code == 304
        assert error(client.get("/openapi.json?x=1")) == (422, "validation_failed")

    def test_every_component_is_used(self):
        """Every component is used, except the example of a 405."""
        text = json.dumps(DOCUMENT)
        unused = [
            f"{kind}/{name}"
            for kind, components in DOCUMENT["components"].items()
            for name in components
            if kind != "securitySchemes" and f'"#/components/{kind}/{name}"' not in text
        ]

        assert unused == [f"examples/{Code.method_not_allowed.name}"]  # no operation returns it


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
class TestOperation:
    def test_has_a_summary_and_an_id(self, method, path):
        """Each operation has a summary and a unique operationId."""
        operation = OPERATIONS[method, path]

        assert operation["summary"]
        assert [other.get("operationId") for other in OPERATIONS.values()].count(operation["operationId"]) == 1

    def test_names_every_error(self, method, path):
        """Each error has the error schema, its codes and an example of each."""
        failures = {int(s): resolved(r) for s, r in OPERATIONS[method, path]["responses"].items() if int(s) >= 400}

        assert {400, 408, 413, 414, 422, 431, 500} <= failures.keys()
        for status, response in failures.items():
            content = response["content"]["application/json"]
            shape, narrowed = content["schema"]["allOf"]
            assert shape == {"$ref": "#/components/schemas/Error"}
            codes = narrowed["properties"]["error"]["enum"]
            assert {Code[code].status for code in codes} == {status}
            assert content["examples"].keys() == set(codes)
            validator = jsonschema_rs.validator_for({**content["schema"], "components": DOCUMENT["components"]})
            for example in content["examples"].values():
                validator.validate(resolved(example)["value"])
            assert ("WWW-Authenticate" in response["headers"]) is (status == 401)
            assert ("Retry-After" in response["headers"]) is (status in (429, 503))
            assert "X-Request-ID" in response["headers"]

    def test_shows_examples_that_are_valid(self, method, path):
        """The examples of requests and responses match their schemas."""
        operation = OPERATIONS[method, path]
        bodies = [operation.get("requestBody", {}), *(r for s, r in operation["responses"].items() if int(s) < 300)]

        for body in bodies:
            for kind, media in body.get("content", {}).items():
                if kind == "application/json" and path != "/openapi.json":
                    schema = {**media["schema"], "components": DOCUMENT["components"]}
                    jsonschema_rs.validator_for(schema, validate_formats=True).validate(media["example"])
                    assert "…" not in json.dumps(media["example"], ensure_ascii=False).replace('…"', "")


class TestBodies:
    def test_optional_bodies(self):
        """Only the bodies of a refresh and of a refresh logout are optional."""
        bodies = {path: op["requestBody"]["required"] for (_, path), op in OPERATIONS.items() if "requestBody" in op}

        assert {path for path, required in bodies.items() if not required} == {
            f"{API}/auth/refresh",
            f"{API}/auth/logout/refresh",
        }

    def test_of_a_422(self):
        """A 422 has `errors` with lists of texts."""
        response = OPERATIONS["post", f"{API}/auth/login"]["responses"]["422"]
        schema = {**resolved(response)["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}
        body = {"error": "validation_failed", "message": "…", "status": 422, "request_id": "…"}

        is_valid = jsonschema_rs.validator_for(schema).is_valid
        assert is_valid(body | {"errors": {"json": {"username": ["Unknown field."]}}})
        assert not is_valid(body)
        assert not is_valid(body | {"errors": {"json": {"username": "Unknown field."}}})


class TestSecurity:
    """The security of each operation, which its guard documents."""

    def test_of_a_read(self):
        """A read needs a token in the header or a cookie, without a CSRF value."""
        assert security("get", "/users/me") == [{"accessToken": []}, {"accessCookie": []}]

    def test_of_a_write(self):
        """A write with a cookie needs the CSRF value too."""
        assert security("patch", "/things/{thing_id}") == [{"accessToken": []}, {"accessCookie": [], "accessCsrf": []}]

    def test_of_each_guard(self):
        """Each guard documents its kind of token and its scopes."""
        assert security("get", "/things") == [{}, {"accessToken": []}, {"accessCookie": []}]
        assert security("post", "/things")[0] == {"accessToken": ["fresh"]}
        assert security("delete", "/things/{thing_id}")[0] == {"accessToken": ["admin"]}
        assert security("delete", "/users/{user_id}")[0] == {"accessToken": ["admin", "fresh"]}
        assert security("post", "/auth/refresh") == [{"refreshToken": []}, {"refreshCookie": [], "refreshCsrf": []}]
        assert security("post", "/auth/login") is None

    def test_error_codes(self):
        """Each operation documents exactly the 401 and 403 codes that it can return."""

        def codes(method, path, status):
            response = resolved(OPERATIONS[method, API + path]["responses"][status])
            return set(response["content"]["application/json"]["schema"]["allOf"][1]["properties"]["error"]["enum"])

        dead = {"invalid_token", "token_expired", "token_revoked"}
        assert codes("get", "/users/me", "401") == dead | {"authorization_required"}
        assert codes("post", "/things", "401") == dead | {"authorization_required", "fresh_token_required"}
        assert codes("post", "/auth/refresh", "401") == dead | {"authorization_required", "token_reused"}
        assert codes("post", "/auth/login", "401") == {"invalid_credentials"}
        assert codes("delete", "/things/{thing_id}", "403") == {"csrf_failed", "admin_required"}
        assert codes("get", "/users/{user_id}", "403") == {"forbidden"}
        assert "403" not in OPERATIONS["get", f"{API}/users/me"]["responses"]

    def test_follows_the_settings(self):
        """The schemes follow the token locations and the names of the cookies."""
        header_only = document(JWT_TOKEN_LOCATION=("headers",))
        assert header_only["components"]["securitySchemes"].keys() == {"accessToken", "refreshToken"}
        assert header_only["paths"][f"{API}/auth/logout"]["post"]["security"] == BEARER
        assert "403" not in header_only["paths"][f"{API}/auth/logout"]["post"]["responses"]

        schemes = document(SECURE_COOKIES=True)["components"]["securitySchemes"]
        assert schemes["accessCookie"]["name"] == "__Host-access_token_cookie"
        assert schemes["refreshCookie"]["name"] == "__Host-refresh_token_cookie"

        queries = document(JWT_TOKEN_LOCATION=("query_string",))
        assert queries["paths"][f"{API}/users/me"]["get"]["security"] == [{"accessQuery": []}]
        assert queries["components"]["securitySchemes"]["accessQuery"]["name"] == "jwt"

        bodies = document(JWT_TOKEN_LOCATION=("json",))["paths"][f"{API}/users/me"]["patch"]
        assert "security" not in bodies  # `[]` would mean that no token is needed
        assert "The token goes into the body." in bodies["description"]


class TestContract:
    """`tests/support/contract.py`, which compares each response in the suite with the document."""

    @pytest.mark.parametrize(
        "answer",
        [
            ("<h1>Oops</h1>", 500),
            ("<h1>Oops</h1>", 200),
            ({"error": "internal_error", "message": "", "status": 418, "request_id": ""}, 418),
            ({"status": "fine", "more": 1}, 200),
            ({"error": "oops", "message": "", "status": 500, "request_id": ""}, 500),
        ],
    )
    def test_undocumented_response_fails(self, answer):
        """An undocumented page, status, field or code fails the test."""
        app = create_app(TestingConfig())
        assert app.test_client().get("/health/live").status_code == 200
        app.view_functions["system.show_live"] = lambda: answer

        with pytest.raises((AssertionError, ValueError)):
            app.test_client().get("/health/live")
        contract.SEEN.discard("oops")


class TestErrorsPage:
    PAGE = ROOT / "docs" / "errors.md"

    def test_is_up_to_date(self, runner, tmp_path):
        """`docs/errors.md` is the output of `flask errors write`."""
        runner.invoke(args=["errors", "write", str(tmp_path / "errors.md")])

        assert (tmp_path / "errors.md").read_text() == self.PAGE.read_text()

    @pytest.mark.parametrize("code", Code)
    def test_has_a_row_for_each_code(self, code):
        """Each code has one row with its status, cause and remedy."""
        assert self.PAGE.read_text().count(f"| {code.status} | `{code.name}` | {code.when} | {code.remedy} |") == 1

    def test_missing_folder(self, runner):
        """A missing folder makes both commands fail with one line."""
        for command in ("openapi", "errors"):
            result = runner.invoke(args=[command, "write", "/nowhere/x"])
            assert result.exit_code == 1
            assert result.output.count("\n") == 1
            assert "cannot be written" in result.output
