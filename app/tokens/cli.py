"""`flask keys`: make, activate and retire the keys that sign tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from flask import current_app

from app.data.types import utcnow
from app.tokens.key_changes import activate_key, generate_key, retire_key
from app.tokens.key_set import KINDS, SECRET_KID, KeySetError, read_key_set
from app.web.commands import Group
from app.web.logs import log_event

Result = TypeVar("Result")

keys_cli = Group("keys", help="The signing keys, in the file that JWT_KEYSET names.")
_kid = click.argument("kid")


def _path() -> Path:
    path = current_app.config["JWT_KEYSET"]
    if not path:
        raise click.ClickException("JWT_KEYSET is not set. Set it to a file such as instance/keys.json.")
    return Path(path)


def _change(change: Callable[..., Result], *args: Any) -> Result:
    path = _path()
    try:
        return change(path, *args)
    except KeySetError as error:
        raise click.ClickException(f"{path}: {error}.") from error
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written ({error.strerror}).") from error


@keys_cli.command("generate")
@click.option(
    "--algorithm",
    required=True,
    type=click.Choice(list(KINDS)),
    help="Use EdDSA unless a consumer of the tokens needs another one.",
)
def generate(algorithm: str) -> None:
    """Add a key.

    It only verifies until you activate it, but the first key signs at once.
    """
    kid, signs = _change(generate_key, algorithm, utcnow())
    log_event("key_generated", kid=kid, algorithm=algorithm)
    click.echo(kid)
    if not signs:
        click.echo(f"The key only verifies. Once every machine has the file, run: flask keys activate {kid}", err=True)


@keys_cli.command("list")
def list_keys() -> None:
    """List the keys: kid, algorithm, signs or verifies."""
    key_set = _change(read_key_set)
    for key in key_set.keys.values():
        click.echo(f"{key.kid}  {key.algorithm:5}  {'signs' if key.kid == key_set.signing_kid else 'verifies'}")
    if key_set.signing_kid == SECRET_KID:
        click.echo(f"{SECRET_KID}  HS256  signs (JWT_SECRET_KEY)")


@keys_cli.command("activate")
@_kid
def activate(kid: str) -> None:
    """Sign with the key KID from now on.

    The previous key still verifies.
    """
    _change(activate_key, kid)
    log_event("key_activated", kid=kid)
    days = current_app.config["JWT_REFRESH_TOKEN_EXPIRES"] / 86_400
    click.echo(f"{kid} signs. Tokens of the previous key live for at most {days:g} day(s); retire it after that.")


@keys_cli.command("retire")
@_kid
def retire(kid: str) -> None:
    """Remove the key KID.  All tokens that it signed become invalid."""
    _change(retire_key, kid)
    log_event("key_retired", kid=kid)
    click.echo(f"Removed {kid}. All tokens that it signed are invalid.")
