"""Where servers and the `flask` command find the application."""

import sys

from app import create_app
from config import ConfigError, load_config

try:
    app = create_app(load_config())
except ConfigError as error:
    sys.exit(f"latchkey cannot start: {error}")
