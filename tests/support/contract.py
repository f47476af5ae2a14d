"""Compare every response in the suite with the API document.

A test fails if it gets a response whose status is not documented, or whose body
does not match its schema. A run of the whole suite fails if an error of the
table never occurs, because then no test covers it.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import jsonschema_rs
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from app.web.codes import Code
from app.web.openapi import document

SEEN: set[str] = set()  # the codes of the errors that occurred

Operations = dict[str, dict[str, Any]]  # by rule, then by method
Validators = dict[tuple[str, str, int], jsonschema_rs.Validator]  # by rule, method and status
_documents: WeakKeyDictionary[Flask, tuple[dict[str, Any], Operations, Validators]] = WeakKeyDictionary()
_off = False


@contextmanager
def watching() -> Iterator[None]:
    """Check each response that a test client gets."""
    plain = FlaskClient.open

    def watched(client: FlaskClient, *args: Any, **kwargs: Any) -> TestResponse:
        response = plain(client, *args, **kwargs)
        if not _off:
            check(client.application, response)
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlaskClient, "open", watched)
        yield


@contextmanager
def off_the_record() -> Iterator[None]:
    """Suspend the check for responses that a test breaks on purpose."""
    global _off  # noqa: PLW0603 -- only one thread of a test sends requests
    _off = True
    try:
        yield
    finally:
        _off = False


def check(app: Flask, response: TestResponse) -> None:
    """Fail if the document does not allow this response."""
    body = response.get_json(silent=True)
    if response.status_code >= 400 and response.request.method != "HEAD":
        assert isinstance(body, dict), f"no JSON: {response.status_code} {response.content_type} {response.text[:200]}"
        SEEN.add(body["error"])
    request = response.request
    try:
        rule, _arguments = app.url_map.bind("localhost").match(request.path, request.method, return_rule=True)
    except HTTPException:
        return  # no operation: 404 or 405
    method = "get" if request.method == "HEAD" else request.method.lower()
    if method == "options" or rule.rule not in paths(app):
        return
    operation = paths(app)[rule.rule][method]
    answer = operation["responses"].get(str(response.status_code))
    assert answer, f"{request.method} {rule.rule}: the API document has no response {response.status_code}"
    answer = resolved(app, "responses", answer)
    for name, header in answer.get("headers", {}).items():
        found = resolved(app, "headers", header)
        assert name in response.headers or not found.get("required"), f"{request.method} {rule.rule}: no {name}"
    content = answer.get("content", {})
    if request.method != "HEAD":
        assert response.mimetype in content or not (content or response.data), f"{rule.rule}: {response.mimetype}"
    if body is not None:
        validator(app, rule.rule, method, response.status_code).validate(body)


def paths(app: Flask) -> Operations:
    """The operations of the application's API document."""
    if app not in _documents:
        with app.app_context():
            made = json.loads(json.dumps(document()))
        rules = {documented(rule.rule): rule.rule for rule in app.url_map.iter_rules()}
        unknown = made["paths"].keys() - rules.keys()
        assert not unknown, (
            f"The API document has {sorted(unknown)}, but no route has this path. "
            "Compare them with `flask routes`, and correct `documented` if it translates wrongly."
        )
        _documents[app] = made, {rules[path]: operations for path, operations in made["paths"].items()}, {}
    return _documents[app][1]


def documented(rule: str) -> str:
    """The path of a rule in the API document: `/users/{user_id}` for `/users/<int:user_id>`."""
    return re.sub(r"<(?:[^<>:]+:)?(\w+)>", r"{\1}", rule)


def resolved(app: Flask, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    """Follow a `$ref`; return an object without one unchanged."""
    return _documents[app][0]["components"][kind][value["$ref"].rpartition("/")[2]] if "$ref" in value else value


def validator(app: Flask, rule: str, method: str, status: int) -> jsonschema_rs.Validator:
    made, operations, validators = _documents[app]
    if (rule, method, status) not in validators:
        answer = resolved(app, "responses", operations[rule][method]["responses"][str(status)])
        schema = {**answer["content"]["application/json"]["schema"], "components": made["components"]}
        validators[rule, method, status] = jsonschema_rs.validator_for(schema, validate_formats=True)
    return validators[rule, method, status]


def never_seen() -> list[str]:
    """Errors that occur only in the table, or only in the suite."""
    return sorted({code.name for code in Code} ^ SEEN)
