"""Protects the last active administrator."""

from sqlalchemy import select, update

from app.data.base import db
from app.data.statements import execute_write
from app.users.models import User
from app.web.errors import ApiError, Code


def lock_admins() -> set[int]:
    """Lock all active administrators until the commit and return their ids.

    Updates the rows without changing them, because that locks them on every database.
    """
    active_admins = (User.is_admin, User.is_active)
    execute_write(update(User).where(*active_admins).values(is_admin=User.is_admin, updated_at=User.updated_at))
    return set(db.session.scalars(select(User.id).where(*active_admins)))


def keep_an_admin(admins: set[int], *, without: int) -> None:
    """Make sure that an active administrator remains.

    Args:
        admins: the result of `lock_admins` in this transaction.
        without: the id of the user to demote, deactivate or delete.

    Raises:
        ApiError: 409 `last_admin`.
    """
    if admins == {without}:
        raise ApiError(Code.last_admin)
