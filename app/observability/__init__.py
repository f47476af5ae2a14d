"""Metrics and traces, loaded only if a setting asks for them.

This package is optional, so only `app/__init__.py` imports it.
docs/make-it-yours.md says how to delete it.
"""

from importlib import import_module

from flask import Flask

# Setting → module.  Traces come first, so that requests for the metrics are not traced.
EXTRAS = {"TRACES": "app.observability.traces", "METRICS_PORT": "app.observability.metrics"}


def init_app(app: Flask) -> None:
    """Load the modules that the settings ask for.

    Runs last, because they wrap everything else.
    """
    for setting, module in EXTRAS.items():
        if app.config[setting]:
            import_module(module).init_app(app)
