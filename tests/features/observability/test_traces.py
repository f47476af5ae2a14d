"""The content of spans, and the secrets that they must not contain."""

import json
import logging

import click
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id
from sqlalchemy import text

from app import API_TITLE
from app.data.base import db
from app.observability import traces
from app.web.logs import _formatter
from support.api import API, PASSWORD, sign_up

KNOWN = {"http.request.method", "http.route", "http.response.status_code", "db.system.name", "db.query.text"}


@pytest.fixture
def exported(monkeypatch):
    """The exported spans, in memory."""
    memory = InMemorySpanExporter()
    monkeypatch.setattr(traces, "OTLPSpanExporter", lambda: memory)
    monkeypatch.setattr(traces, "BatchSpanProcessor", SimpleSpanProcessor)
    return memory


@pytest.fixture
def traced(another, exported):
    return another(TRACES=True)


@pytest.fixture
def visitor(traced):
    return traced.test_client()


def named(exported, name):
    return [span for span in exported.get_finished_spans() if span.name == name]


def test_a_request_and_its_statements(visitor, exported):
    """A request is a span with a child span per statement, without values."""
    user = sign_up(visitor, "grace")
    exported.clear()
    visitor.get(f"{API}/users/{user.id}", headers=user.headers)

    statement, request = exported.get_finished_spans()
    assert request.name == f"GET {API}/users/<int:user_id>"
    assert request.kind is SpanKind.SERVER
    assert request.attributes["http.response.status_code"] == 200
    assert (statement.name, statement.kind) == ("SELECT", SpanKind.CLIENT)
    assert statement.attributes["db.query.text"].startswith("SELECT users.id, users.username")
    assert statement.parent.span_id == request.context.span_id


def test_no_secret_is_in_any_span(another, exported):
    """No span contains a secret, a typed name or a value, also after errors."""
    visitor = another(
        TRACES=True, JWT_TOKEN_LOCATION=("headers", "query_string"), TRUSTED_HOSTS=("localhost",)
    ).test_client()
    user = sign_up(visitor, "grace-hopper")
    visitor.get(f"{API}/users/me?jwt={user.access_token}")
    visitor.get(f"{API}/things?q=something-secret&jwt={user.access_token}")
    visitor.post(f"{API}/auth/register", json={"username": "grace-hopper", "password": PASSWORD})
    visitor.post(f"{API}/auth/login", json={"username": "grace-hopper", "password": "another-secret"})
    visitor.get("/something-secret")
    visitor.get("/", headers={"Host": "something-secret.example"})

    spans = exported.get_finished_spans()
    told = "".join(span.to_json() for span in spans)
    assert len([span for span in spans if span.kind is SpanKind.SERVER]) == 7
    for secret in ("grace", "something-secret", "another-secret", PASSWORD, user.access_token, user.refresh_token):
        assert secret not in told
    assert {name for span in spans for name in span.attributes} == KNOWN
    assert [event for span in spans for event in span.events] == []
    [refused] = [span for span in named(exported, "INSERT") if span.status.status_code is StatusCode.ERROR]
    assert refused.status.description is None


def test_errors_are_marked(traced, visitor, exported, monkeypatch):
    """The span of a 500 is an error; that of a 404 is not."""
    monkeypatch.setitem(traced.view_functions, "system.show_index", lambda: 1 / 0)
    visitor.get("/")
    visitor.get("/nowhere")

    [crash], [refusal] = named(exported, "GET /"), named(exported, "no route")
    assert crash.status.status_code is StatusCode.ERROR
    assert refusal.status.status_code is StatusCode.UNSET


def test_traceparent(visitor, exported):
    """A valid `traceparent` continues a trace (W3C Trace Context); an invalid one does not."""
    visitor.get("/health/live", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    visitor.get("/health/live", headers={"traceparent": "nonsense"})

    first, second = named(exported, "GET /health/live")
    assert format_trace_id(first.context.trace_id) == "a" * 32
    assert second.parent is None


def test_the_log_line_names_the_trace(visitor, exported, caplog):
    """Every log line of a request has its trace id, also those of events."""
    sign_up(visitor, "grace")

    [span] = named(exported, f"POST {API}/auth/register")
    lines = [json.loads(_formatter("json").format(r)) for r in caplog.records if r.levelno >= logging.INFO]
    assert {line["trace_id"] for line in lines if line["logger"].startswith("app.")} == {
        format_trace_id(span.context.trace_id)
    }


def test_a_statement_outside_a_request_has_no_span(traced, exported):
    """A statement outside a request has no span."""
    with traced.app_context():
        db.session.execute(text("SELECT 1"))

    assert exported.get_finished_spans() == ()


def test_the_service_has_a_name(another, exported, monkeypatch):
    """The service name is `latchkey`, unless OTEL_SERVICE_NAME sets another one."""

    def name():
        return another(TRACES=True).extensions["tracer_provider"].resource.attributes["service.name"]

    assert name() == API_TITLE.lower()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert name() == "shop"


def test_a_command_is_not_traced(another):
    """A command is not traced, because it would wait for the collector."""
    with click.Context(click.Command("users")):
        app = another(TRACES=True)

    assert "tracer_provider" not in app.extensions
