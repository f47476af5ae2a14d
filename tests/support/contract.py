"""The API document, held against every answer that the suite gets.

An answer whose status is not in the document, or whose body is not of its
schema, fails the test that got it. And every error of the table must come
somewhere in the suite: one that never comes is a promise that nobody has tried.
"""

import json
import re
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import jsonschema_rs
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException

from app.web.codes import Code
from app.web.openapi import document

SEEN = set()  # the codes of errors that came
_documents = WeakKeyDictionary()  # for each application its document, and the validators that were made of it
_off = False


@contextmanager
def watching():
    """Hold each answer that a test client gets against the document."""
    plain = FlaskClient.open

    def watched(client, *args, **kwargs):
        response = plain(client, *args, **kwargs)
        if not _off:
            check(client.application, response)
        return response

    FlaskClient.open = watched
    try:
        yield
    finally:
        FlaskClient.open = plain


@contextmanager
def off_the_record():
    """For what a test breaks on purpose: no document tells of it."""
    global _off  # noqa: PLW0603 -- a test has one thread that asks
    _off = True
    try:
        yield
    finally:
        _off = False


def check(app, response):
    """Fail, where the document does not say that this may be answered."""
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
    assert answer, f"{request.method} {rule.rule} may not answer {response.status_code}, by the API document"
    answer = resolved(app, "responses", answer)
    for name, header in answer.get("headers", {}).items():
        told = resolved(app, "headers", header)
        assert name in response.headers or not told.get("required"), f"{request.method} {rule.rule}: no {name}"
    content = answer.get("content", {})
    if request.method != "HEAD":
        assert response.mimetype in content or not (content or response.data), f"{rule.rule}: {response.mimetype}"
    if body is not None:
        validator(app, rule.rule, method, response.status_code).validate(body)


def paths(app):
    """The operations of the document, by the rules of the application."""
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


def documented(rule):
    """The path of a rule in the API document: `/users/{user_id}` for `/users/<int:user_id>`."""
    return re.sub(r"<(?:[^<>:]+:)?(\w+)>", r"{\1}", rule)


def resolved(app, kind, told):
    """What a reference leads to, and whatever is none as it is."""
    return _documents[app][0]["components"][kind][told["$ref"].rpartition("/")[2]] if "$ref" in told else told


def validator(app, rule, method, status):
    made, operations, validators = _documents[app]
    if (rule, method, status) not in validators:
        answer = resolved(app, "responses", operations[rule][method]["responses"][str(status)])
        schema = {**answer["content"]["application/json"]["schema"], "components": made["components"]}
        validators[rule, method, status] = jsonschema_rs.validator_for(schema, validate_formats=True)
    return validators[rule, method, status]


def never_seen():
    """The errors of the table that no test met, and those that a test met and the table has not."""
    return sorted({code.name for code in Code} ^ SEEN)
