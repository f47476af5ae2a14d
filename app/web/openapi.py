"""The API document (OpenAPI 3.1), made from each view's decorators.

A decorator stores what it enforces with its view (`Blueprint.declare`).  This module turns these facts
into the operation's security, parameters and responses.  It documents nothing else.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from apispec import APISpec
from flask import Flask, current_app

from app.extensions import api
from app.web.codes import Code
from app.web.request import SAFE_METHODS

_ABOUT = {
    "info": {
        "description": (
            "Accounts, sessions and items. An access token lives for minutes. A refresh token renews it and can be "
            "exchanged once. An operation names the roles it needs in its security: `fresh` is a token from a "
            "password login, `admin` is an administrator's token. Every error has the shape of `Error`."
        ),
        "license": {"name": "MIT", "identifier": "MIT"},
    }
}
SETTINGS = {"OPENAPI_VERSION": "3.1.0", "API_SPEC_OPTIONS": _ABOUT}  # of flask-smorest

# Errors that every operation can answer with.
_ANYWHERE = (
    Code.bad_request,
    Code.request_timeout,
    Code.payload_too_large,
    Code.uri_too_long,
    Code.validation_failed,
    Code.headers_too_large,
    Code.internal_error,
)
_ERROR_HEADERS = {
    401: {"WWW-Authenticate": "Says what is wrong with the token (RFC 6750 section 3)."},
    429: {"Retry-After": "Seconds."},
    503: {"Retry-After": "Seconds."},
}
_REQUEST_ID = {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}
_ETAG = {"ETag": {"$ref": "#/components/headers/ETag"}}
_ETAGS = "One or more ETags, separated by commas, or `*`."
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": f"Answer 412 unless the object still has one of these ETags. {_ETAGS}",
    "schema": {"type": "string"},
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": f"If the object has one of these ETags, answer a read with 304 and a write with 412. {_ETAGS}",
    "schema": {"type": "string"},
}

CREATED_HEADERS = {
    "Location": {
        "description": "The path of the new object.",
        "schema": {"type": "string"},
        "required": True,
        "example": "/api/v1/items/7",
    },
}
_PLAIN = {"integer": 1, "number": 1, "boolean": True, "string": "…"}


class Token(NamedTuple):
    """The token that a guard requires."""

    refresh: bool = False
    optional: bool = False
    roles: tuple[str, ...] = ()  # OpenAPI 3.1, Security Requirement Object


def describe(doc: dict[str, Any], facts: Mapping[str, Any], *, app: Flask, spec: APISpec, method: str) -> None:
    """Add the facts of a view to its operation."""
    codes = [*_ANYWHERE, *facts.get("codes", ())]
    token: Token | None = facts.get("token")
    if token is not None:
        ways, by_cookie = _security(token, app, method)
        if ways:
            doc["security"] = ways
        else:  # OpenAPI cannot describe a token in the body, and an empty list would mean 'no token'
            doc["description"] = f"{doc.get('description', '')} The token goes into the body."
        if by_cookie and method.upper() not in SAFE_METHODS:
            codes.append(Code.csrf_failed)
    success = next(iter(doc["responses"].values()))
    success.setdefault("headers", {}).update({**_REQUEST_ID, **facts.get("headers", {})})
    parameters = [*doc.get("parameters", ()), *facts.get("parameters", ())]
    if facts.get("conditional"):
        if method != "post":  # a new object has no earlier ETag
            codes.append(Code.precondition_failed)
            parameters += [_IF_MATCH, _IF_NONE_MATCH]
        if method != "delete":
            success["headers"].update(_ETAG)
        if method == "get":
            doc["responses"][304] = {"description": "Not modified.", "headers": {**_REQUEST_ID, **_ETAG}}
    if parameters:
        doc["parameters"] = parameters
    doc["operationId"] = facts["name"]
    doc["responses"].update(_errors(codes, spec))


def _security(token: Token, app: Flask, method: str) -> tuple[list[dict[str, list[str]]], bool]:
    kind, roles = "refresh" if token.refresh else "access", list(token.roles)
    known: dict[str, Any] = app.extensions["openapi"].components.security_schemes
    ways: list[dict[str, list[str]]] = [{}] if token.optional else []
    ways += [{name: roles} for name in (f"{kind}Token", f"{kind}Query") if name in known]
    by_cookie = f"{kind}Cookie" in known
    if by_cookie:
        csrf = {} if method.upper() in SAFE_METHODS else {f"{kind}Csrf": list[str]()}
        ways.append({f"{kind}Cookie": roles, **csrf})
    return ways, by_cookie


def _errors(codes: Iterable[Code], spec: APISpec) -> dict[int, dict[str, str]]:
    """One response per status.  Operations with the same codes share it."""
    by_status: dict[int, list[Code]] = {}
    for code in Code:  # in the order of the table
        if code in codes:
            by_status.setdefault(code.status, []).append(code)
    for status, status_codes in by_status.items():
        name = _response_name(status_codes)
        if name not in spec.components.responses:
            spec.components.response(name, _error_response(status, status_codes))
    return {status: {"$ref": f"#/components/responses/{_response_name(these)}"} for status, these in by_status.items()}


def _response_name(codes: list[Code]) -> str:
    return ".".join(code.name for code in codes)


def _error_response(status: int, codes: list[Code]) -> dict[str, Any]:
    narrowed = {
        "type": "object",
        "properties": {
            "error": {"type": "string", "enum": [code.name for code in codes]},
            "status": {"type": "integer", "const": status},
        },
        "required": ["error", "status"],
    }
    schema: dict[str, Any] = {"allOf": [{"$ref": "#/components/schemas/Error"}, narrowed]}
    if status == Code.validation_failed.status:
        schema["required"] = ["errors"]
    headers = {name: {"description": text, "schema": {"type": "string"}, "required": True}
               for name, text in _ERROR_HEADERS.get(status, {}).items()}  # fmt: skip
    return {
        "description": "\n".join(f"- `{code.name}`: {code.when}" for code in codes),
        "headers": {**_REQUEST_ID, **headers},
        "content": {
            "application/json": {
                "schema": schema,
                "examples": {code.name: {"$ref": f"#/components/examples/{code.name}"} for code in codes},
            }
        },
    }


def prepare(app: Flask, schemes: Mapping[str, dict[str, str]]) -> None:
    """Register the components that operations refer to.

    Runs before the blueprints are registered.

    Args:
        app: the application.
        schemes: the ways to send a token, by name (OpenAPI 3.1, Security Scheme Object).
    """
    app.extensions["openapi"] = api.spec  # `api` itself belongs to the application that was made last
    components = api.spec.components
    for name, scheme in schemes.items():
        components.security_scheme(name, scheme)
    components.header(
        "X-Request-ID",
        {"description": "The id that the client sent, or a new one.", "schema": {"type": "string"}, "required": True},
    )
    components.header(
        "ETag",
        {
            "description": "Changes with the object.",
            "schema": {"type": "string"},
            "required": True,
            "example": '"4f1c…"',
        },
    )
    for code in Code:
        components.example(code.name, {"value": _example_of_error(code)})


def _example_of_error(code: Code) -> dict[str, Any]:
    body: dict[str, Any] = {
        "error": code.name,
        "message": code.message,
        "status": code.status,
        "request_id": "3f1c2b9e-6d0a-4c59-9a3e-0c1d2e3f4a5b",
    }
    if code is Code.validation_failed:
        body["errors"] = {"json": {"username": ["Shorter than minimum length 3."]}}
    if code is Code.idempotency_key_reused:
        body["errors"] = {"headers": {"Idempotency-Key": ["It came before, with another body."]}}
    return body


def document() -> dict[str, Any]:
    """The document of this application, made at the first use.

    Each body has an example.
    """
    extensions = current_app.extensions
    if "document" not in extensions:
        extensions["document"] = _make_document(cast("APISpec", extensions["openapi"]))
    return cast("dict[str, Any]", extensions["document"])


def _make_document(spec: APISpec) -> dict[str, Any]:
    made: dict[str, Any] = spec.to_dict()
    schemas = made["components"]["schemas"]
    schemas.pop("PaginationMetadata", None)  # flask-smorest adds it; our pages have a schema of their own
    for operations in made["paths"].values():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            for body in (operation.get("requestBody", {}), *operation["responses"].values()):
                for media in body.get("content", {}).values():
                    if "example" not in media and {"$ref", "oneOf"} & media.get("schema", {}).keys():
                        media["example"] = _example(media["schema"], schemas)
    return made


def _example(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """A value of the schema, made from examples or plain values."""
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "oneOf" in schema:
        return _example(schema["oneOf"][0], schemas)
    if "examples" in schema:
        return schema["examples"][0]
    kind = schema.get("type")
    if kind == "array":
        return [_example(schema["items"], schemas)]
    if kind == "object":
        return {name: _example(field, schemas) for name, field in schema.get("properties", {}).items()}
    return _PLAIN.get(kind if isinstance(kind, str) else "")
