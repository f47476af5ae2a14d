import sys

import click
from marshmallow import Schema, ValidationError
from sqlalchemy import select

from app.auth.service import end_sessions
from app.cli import Group
from app.database import unique_or
from app.errors import ApiError, Code
from app.extensions import db
from app.users.models import User, username_key
from app.users.passwords import hash_password
from app.users.schemas import NewPassword, Username
from app.users.service import keep_an_admin

users_cli = Group("users", help="Accounts.")


class _AccountSchema(Schema):
    username = Username(required=True)
    password = NewPassword(required=True)


@users_cli.command("create")
@click.argument("name")
@click.option("--admin", is_flag=True, help="Make it an administrator.")
def create(name: str, *, admin: bool) -> None:
    """Create the user NAME.  Asks for the password, or reads it from standard input."""
    try:
        account = _AccountSchema().load({"username": name, "password": _read_password()})
    except ValidationError as error:
        faults = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in error.messages_dict.items())
        raise click.ClickException(faults) from error
    user = User(username=account["username"], password_hash=hash_password(account["password"]), is_admin=admin)
    db.session.add(user)
    with unique_or(ApiError(Code.username_taken)):
        db.session.commit()
    click.echo(f"Created {'administrator' if admin else 'user'} {user.username} (id {user.id}).")


def _read_password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


@users_cli.command("promote")
@click.argument("name")
def promote(name: str) -> None:
    """Make NAME an administrator, as of their next token."""
    _change(name, is_admin=True)
    click.echo(f"{name} is an administrator now; their next login or refresh says so.")


@users_cli.command("demote")
@click.argument("name")
def demote(name: str) -> None:
    """Make NAME an ordinary user, at once."""
    _change(name, is_admin=False)
    click.echo(f"{name} is no administrator any more.")


@users_cli.command("activate")
@click.argument("name")
def activate(name: str) -> None:
    """Let NAME log in again."""
    _change(name, is_active=True)
    click.echo(f"{name} may log in.")


@users_cli.command("deactivate")
@click.argument("name")
def deactivate(name: str) -> None:
    """Keep NAME out: their tokens die, and they cannot log in."""
    _change(name, is_active=False)
    click.echo(f"{name} is deactivated, and every session of theirs is over.")


@users_cli.command("list")
def list_users() -> None:
    """List the users: id, name, what they are."""
    rows = db.session.execute(select(User.id, User.username, User.is_admin, User.is_active).order_by(User.id))
    for row in rows.yield_per(1000):
        marks = ("admin " if row.is_admin else "") + ("" if row.is_active else "inactive")
        click.echo(f"{row.id:>8}  {row.username}  {marks}".rstrip())


def _change(name: str, **changes: bool) -> None:
    user = db.session.scalar(select(User).where(User.username_key == username_key(name)))
    if user is None:
        raise click.ClickException(f"There is no user {name}: see `flask users list`.")
    if False in changes.values():
        keep_an_admin(without=user.id)
    for attribute, value in changes.items():
        setattr(user, attribute, value)
    if not user.is_active:
        end_sessions(user.id)
    db.session.commit()
