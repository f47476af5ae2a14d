"""What is loaded only where the settings ask for it: its packages need not be there otherwise."""

from importlib import import_module

from flask import Flask

# The setting that asks for it, and the module.  In this order: the address of the metrics is outside of any trace.
EXTRAS = {"TRACES": "app.observability.traces", "METRICS_PORT": "app.observability.metrics"}


def init_app(app: Flask) -> None:
    """Load what is asked for.  After all else, because it watches all of it."""
    for setting, module in EXTRAS.items():
        if app.config[setting]:
            import_module(module).init_app(app)
