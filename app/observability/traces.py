"""OpenTelemetry traces (TRACES).

The standard variables configure them (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER,
OTEL_SERVICE_NAME, …).

Spans are made by hand.  OpenTelemetry's instrumentations record queries, which may contain a
token, and database errors, which quote values.  Flask's fails on an untrusted host, and
SQLAlchemy's does not support 2.1.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import click
from flask import Flask, request
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, Tracer, format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext

from app.data.base import db
from app.web.logs import TRACE_ID
from app.web.typing import StartResponse, WSGIApplication, WSGIEnvironment

NO_ROUTE = "no route"
CARRIERS = {"traceparent": "HTTP_TRACEPARENT", "tracestate": "HTTP_TRACESTATE"}  # W3C Trace Context, section 3

_context = TraceContextTextMapPropagator()


def init_app(app: Flask) -> None:
    """Make a span per request and per statement.  Wraps the whole application."""
    command = click.get_current_context(silent=True)
    if command and command.info_name != "run":
        return  # a command would wait for the collector when it ends
    app.extensions["tracer_provider"] = provider = TracerProvider(resource=_resource(app))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer(app.name)
    app.wsgi_app = _traced(tracer, app.wsgi_app)  # type: ignore[method-assign, assignment]
    with app.app_context():
        _trace_statements(tracer, db.engine)


def _resource(app: Flask) -> Resource:
    ours = Resource({SERVICE_NAME: app.config["API_TITLE"].lower(), SERVICE_VERSION: app.config["API_VERSION"]})
    return ours.merge(OTELResourceDetector().detect())  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win


def _traced(tracer: Tracer, inner: WSGIApplication) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        parent = _context.extract({name: environ[key] for name, key in CARRIERS.items() if key in environ})
        with tracer.start_as_current_span(
            NO_ROUTE, parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            environ[TRACE_ID] = format_trace_id(span.get_span_context().trace_id)

            def start(status: str, *rest: Any) -> Callable[[bytes], object]:
                code = int(status.split(maxsplit=1)[0])
                span.set_attribute("http.response.status_code", code)
                if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    span.set_status(StatusCode.ERROR)
                if request.url_rule:  # the rule, because a client can invent any path
                    span.update_name(f"{request.method} {request.url_rule.rule}")
                    span.set_attributes({"http.request.method": request.method, "http.route": request.url_rule.rule})
                return start_response(status, *rest)

            return inner(environ, start)

    return application


def _trace_statements(tracer: Tracer, engine: Engine) -> None:
    """Record the SQL with placeholders.

    A failure sets the status, without its message.
    """

    @event.listens_for(engine, "before_cursor_execute")
    def _begin(_connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: Any) -> None:
        if get_current_span().is_recording():  # only statements of a request
            context.span = tracer.start_span(
                statement.split(maxsplit=1)[0],
                kind=SpanKind.CLIENT,
                attributes={"db.system.name": engine.dialect.name, "db.query.text": statement},
            )

    @event.listens_for(engine, "after_cursor_execute")
    def _end(_connection: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: Any) -> None:
        if hasattr(context, "span"):
            context.span.end()

    @event.listens_for(engine, "handle_error")
    def _fail(failure: ExceptionContext) -> None:
        span = getattr(failure.execution_context, "span", None)
        if span is not None:
            span.set_status(StatusCode.ERROR)
            span.end()
