import sys
from datetime import datetime
from typing import Any, BinaryIO
from uuid import UUID

import click
from marshmallow import Schema, ValidationError
from sqlalchemy import select

from app.auth.limits import unlock
from app.data.base import db
from app.data.errors import unique_or
from app.data.text import TextTooLongError
from app.sessions.service import end_session_of, end_sessions, list_living_sessions
from app.users.importing import UserFile
from app.users.models import User, username_key
from app.users.password_rules import resembles
from app.users.passwords import hash_password
from app.users.schemas import RESEMBLES, AccountSchema, NewPassword
from app.users.service import keep_an_admin, lock_admins, reset_password
from app.web.commands import Group, with_progress
from app.web.errors import ApiError, Code
from app.web.logs import escaped, log_event

users_cli = Group("users", help="Accounts.")


NOT_UTF_8 = "Names and passwords must be UTF-8 text."
LISTED_FAULTS = 20  # lines of a file
PAGE = 100  # sessions


def _check_text(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Refuse non-UTF-8 bytes, which arrive as lone surrogates (PEP 383)."""
    if not value.isprintable():
        raise click.ClickException(NOT_UTF_8)
    return value


PASSWORD = Schema.from_dict({"password": NewPassword(required=True)})()
_name = click.argument("name", callback=_check_text)


@users_cli.command("create")
@_name
@click.option("--admin", is_flag=True, help="Make the user an administrator.")
def create(name: str, *, admin: bool) -> None:
    """Create the user NAME.

    Asks for the password, or reads it from standard input.
    """
    account = _load(AccountSchema(), username=name, password=_read_password())
    user = User(username=account["username"], password_hash=hash_password(account["password"]), is_admin=admin)
    db.session.add(user)
    with unique_or(ApiError(Code.username_taken)):
        db.session.commit()
    log_event("user_created", user_id=user.id, is_admin=admin, by="command line")
    click.echo(f"Created {'administrator' if admin else 'user'} {user.username} (id {user.id}).")


def _load(schema: Schema, **values: str) -> Any:
    try:
        return schema.load(values)
    except ValidationError as error:
        faults = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in error.messages_dict.items())
        raise click.ClickException(faults) from error


def _read_password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        password = sys.stdin.readline().rstrip("\r\n")
        password.encode()  # in some locales wrong bytes arrive as lone surrogates
    except UnicodeError as error:
        raise click.ClickException(NOT_UTF_8) from error
    return password


@users_cli.command("password")
@_name
def set_password(name: str) -> None:
    """Set the password of NAME and end all their sessions.

    Asks for the password, or reads it from standard input.  An inactive user stays inactive.
    """
    user = _find_or_fail(name)
    db.session.remove()  # the operator types for longer than the database keeps a transaction open
    password = _load(PASSWORD, password=_read_password())["password"]
    if resembles(password, user.username):
        raise click.ClickException(f"password: {RESEMBLES}")
    if not reset_password(user.id, password):
        raise _no_user(name)
    db.session.commit()
    log_event("authn_password_change", user_id=user.id, by="command line")
    click.echo(f"{name} has a new password, and all their sessions have ended.")


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


@users_cli.command("sessions")
@_name
def list_sessions(name: str) -> None:
    """List the sessions of NAME, newest first.

    Each line has the id, the times of the login, of the last use and of the end, the network address and the client.
    """
    user = _find_or_fail(name)
    cursor: dict[str, str] = {}
    while True:
        page = list_living_sessions(user.id, {"limit": PAGE, **cursor}, current=None)
        for row in page.rows:
            times = "  ".join(_moment(row[column]) for column in ("created_at", "last_used_at", "expires_at"))
            click.echo(
                f"{row['id']}  {times}  {escaped(row['ip_address'] or '-'):15}  {escaped(row['user_agent'] or '-')}"
            )
        if page.next_cursor is None:
            return
        cursor = {"cursor": page.next_cursor}


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


@users_cli.command("logout")
@_name
@click.argument("session_id", required=False, type=click.UUID)
def log_out(name: str, session_id: UUID | None) -> None:
    """End all sessions of NAME, or only SESSION_ID."""
    user = _find_or_fail(name)
    if session_id is None:
        number = end_sessions(user.id)
        db.session.commit()
        log_event("session_ended", user_id=user.id, sessions="all", number=number, by="command line")
        click.echo(f"Ended {number} session(s) of {name}.")
        return
    if not end_session_of(user.id, session_id):
        raise click.ClickException(f"{name} has no session {session_id}. See `flask users sessions {name}`.")
    db.session.commit()
    log_event("session_ended", user_id=user.id, session_id=session_id, by="command line")
    click.echo(f"Ended the session {session_id} of {name}.")


@users_cli.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Check the file and import nothing.")
def import_users(file: BinaryIO, *, dry_run: bool) -> None:
    """Create the users of FILE with the password hashes of another application.

    FILE has one JSON object in each line: username and password_hash, and optionally is_admin and is_active.  The
    file - is standard input.  Hashes of Argon2, Werkzeug, passlib (PBKDF2) and bcrypt are renewed at the next login.
    If a line is wrong, no user is created.
    """
    content = UserFile()
    sum(with_progress(content.read(file), "Checked lines"))
    number = len(content.users)
    _refuse_faults(content)
    if dry_run:
        click.echo(f"The file is right. It has {number} user(s).")
        return
    with unique_or(click.ClickException("A name was taken during the import. Nothing is imported. Try again.")):
        sum(with_progress(content.insert(), "Created users", number))
        db.session.commit()
    admins = sum(user.is_admin for user in content.users.values())
    log_event("users_imported", number=number, admins=admins, by="command line")
    click.echo(f"Imported {number} user(s).")


def _refuse_faults(content: UserFile) -> None:
    for line, reason in content.faults[:LISTED_FAULTS]:
        click.echo(f"line {line}: {escaped(reason)}", err=True)
    if content.faults:
        raise click.ClickException(f"{len(content.faults)} line(s) are wrong. Nothing is imported.")
    if not content.users:
        raise click.ClickException("The file has no users. Nothing is imported.")


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
        raise _no_user(name)
    return user


def _no_user(name: str) -> click.ClickException:
    return click.ClickException(f"There is no user {name}. See `flask users list`.")


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
