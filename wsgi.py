"""Where servers and the `flask` command find the application."""

import sys

import click

from app import create_app
from app.system.doctor import create_patient
from app.tokens.key_set import KeySetError
from app.tokens.keys import load_keys
from app.users.password_rules import load_list
from config import ConfigError, load_config

# A command may run without keys, which `flask keys` makes; whoever serves may not.
_context = click.get_current_context(silent=True)
serves = _context is None or _context.info_name == "run"

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
