import secrets
from decimal import Decimal

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import select

from app.data.base import db
from app.items.models import Item
from app.users.models import User, username_key
from app.users.passwords import hash_password
from app.web.commands import plain_errors

USERS = {"ada": True, "grace": False, "linus": False}  # name: is an administrator
ITEMS = {
    "Brass padlock": "19.90",
    "Door chain": "12.50",
    "Night latch": "34.00",
    "Skeleton key": "7.25",
    "Key ring": "3.10",
    "Letter slot": "15.00",
    "Peephole": "8.80",
    "Deadbolt": "42.00",
    "Hasp and staple": "6.40",
    "Strongbox": "129.00",
    "Latch spring": "1.95",
    "钥匙扣": "5.60",
}


@click.command("seed")
@with_appcontext
@plain_errors()
def seed() -> None:
    """Add sample users and items for development.  Refuses in production."""
    if not current_app.config["ALLOW_SEED"]:
        raise click.ClickException("Sample data is for development: APP_ENV is production.")
    owners = [_sample_user(name, is_admin=is_admin) for name, is_admin in USERS.items()]
    taken = set(db.session.scalars(select(Item.name).where(Item.name.in_(ITEMS))))
    new = [name for name in ITEMS if name not in taken]
    for position, name in enumerate(new):
        db.session.add(Item(name=name, price=Decimal(ITEMS[name]), owner_id=owners[position % len(owners)].id))
    db.session.commit()
    click.echo(f"Added {len(new)} item(s).")


def _sample_user(name: str, *, is_admin: bool) -> User:
    """The sample user.

    A new one gets a random password, which is printed once.
    """
    user = db.session.scalar(select(User).where(User.username_key == username_key(name)))
    if user is None:
        password = secrets.token_urlsafe(12)
        user = User(username=name, password_hash=hash_password(password), is_admin=is_admin)
        db.session.add(user)
        db.session.flush()
        click.echo(f"Added {'administrator' if is_admin else 'user'} {name}, password: {password}")
    return user
