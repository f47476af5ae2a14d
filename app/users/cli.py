import sys

import click
from marshmallow import ValidationError
from sqlalchemy import select

from app.auth.limits import unlock
from app.data.base import db
from app.data.errors import unique_or
from app.data.text import TextTooLongError
from app.sessions.service import end_sessions
from app.users.models import User, username_key
from app.users.passwords import hash_password
from app.users.schemas import AccountSchema
from app.users.service import keep_an_admin, lock_admins
from app.web.commands import Group
from app.web.errors import ApiError, Code
from app.web.logs import log_event

users_cli = Group("users", help="Accounts.")


NOT_UTF_8 = "Names and passwords must be UTF-8 text."


def _check_text(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Refuse non-UTF-8 bytes, which arrive as lone surrogates (PEP 383)."""
    if not value.isprintable():
        raise click.ClickException(NOT_UTF_8)
    return value


_name = click.argument("name", callback=_check_text)


@users_cli.command("create")
@_name
@click.option("--admin", is_flag=True, help="Make the user an administrator.")
def create(name: str, *, admin: bool) -> None:
    """Create the user NAME.

    Asks for the password, or reads it from standard input.
    """
    try:
        account = AccountSchema().load({"username": name, "password": _read_password()})
    except ValidationError as error:
        faults = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in error.messages_dict.items())
        raise click.ClickException(faults) from error
    user = User(username=account["username"], password_hash=hash_password(account["password"]), is_admin=admin)
    db.session.add(user)
    with unique_or(ApiError(Code.username_taken)):
        db.session.commit()
    log_event("user_created", user_id=user.id, is_admin=admin, by="command line")
    click.echo(f"Created {'administrator' if admin else 'user'} {user.username} (id {user.id}).")


def _read_password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        password = sys.stdin.readline().rstrip("\r\n")
        password.encode()  # in some locales wrong bytes arrive as lone surrogates
    except UnicodeError as error:
        raise click.ClickException(NOT_UTF_8) from error
    return password


@users_cli.command("promote")
@_name
def promote(name: str) -> None:
    """Make NAME an administrator, from their next token on."""
    _change(name, is_admin=True)
    click.echo(f"{name} is an administrator from the next login or refresh on.")


@users_cli.command("demote")
@_name
def demote(name: str) -> None:
    """Make NAME an ordinary user, at once."""
    _change(name, is_admin=False)
    click.echo(f"{name} is no longer an administrator.")


@users_cli.command("activate")
@_name
def activate(name: str) -> None:
    """Let NAME log in again."""
    _change(name, is_active=True)
    click.echo(f"{name} may log in.")


@users_cli.command("deactivate")
@_name
def deactivate(name: str) -> None:
    """End all sessions of NAME and refuse new logins."""
    _change(name, is_active=False)
    click.echo(f"{name} is deactivated, and all their sessions have ended.")


@users_cli.command("unlock")
@_name
def unlock_user(name: str) -> None:
    """Reset the limits of NAME: failed logins and changes of the name."""
    user = _find_or_fail(name)
    unlock(user.id)
    log_event("authn_login_unlock", user_id=user.id, by="command line")
    click.echo(f"{name} may try to log in again.")


@users_cli.command("list")
def list_users() -> None:
    """List the users: id, name, admin, inactive."""
    rows = db.session.execute(select(User.id, User.username, User.is_admin, User.is_active).order_by(User.id))
    for row in rows.yield_per(1000):
        marks = ("admin " if row.is_admin else "") + ("" if row.is_active else "inactive")
        click.echo(f"{row.id:>8}  {row.username}  {marks}".rstrip())


def _find(name: str) -> User | None:
    try:
        key = username_key(name)
    except TextTooLongError:
        return None
    return db.session.scalar(select(User).where(User.username_key == key))


def _find_or_fail(name: str) -> User:
    user = _find(name)
    if user is None:
        raise click.ClickException(f"There is no user {name}. See `flask users list`.")
    return user


def _change(name: str, **changes: bool) -> None:
    user = _find_or_fail(name)
    if False in changes.values():
        keep_an_admin(lock_admins(), without=user.id)
    for attribute, value in changes.items():
        setattr(user, attribute, value)
    if not user.is_active:
        end_sessions(user.id)
    db.session.commit()
    log_event("authz_change", user_id=user.id, by="command line", **changes)
    if not user.is_active:
        log_event("session_ended", user_id=user.id, by="command line", sessions="all")
