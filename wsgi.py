"""Where servers and the `flask` command find the application."""

import os
import sys
from pathlib import Path

import click
from flask.helpers import get_load_dotenv

from app import create_app
from app.system.doctor import create_patient
from app.tokens.key_set import KeySetError
from app.tokens.keys import load_keys
from app.users.password_rules import load_list
from config import ConfigError, load_config

# A command may run without keys, which `flask keys` makes; whoever serves may not.
_context = click.get_current_context(silent=True)
serves = _context is None or _context.info_name == "run"

# The `flask` command has read `.env`, which is for development.  It would use another database than the server.
_reads_dotenv = _context is not None and get_load_dotenv() and Path(__file__).with_name(".env").exists()
if _reads_dotenv and os.environ.get("APP_ENV") == "production":
    sys.exit("cannot start: .env: is for development; remove it, or set FLASK_SKIP_DOTENV=1 to ignore it")

try:
    app = create_app(load_config())
    if serves:
        load_keys(app)
        load_list(app.config["PASSWORD_LIST"])
except ConfigError as error:
    if serves or "doctor" not in sys.argv:
        sys.exit(f"cannot start: {error}")
    app = create_patient(error.problems)
except KeySetError as error:
    sys.exit(f"cannot start: JWT_KEYSET: {error}")
