"""Checks before a user changes: the last administrator, and the password as a name."""

from sqlalchemy import select, update

from app.data.base import db
from app.data.statements import execute_write
from app.users.models import User, username_key
from app.users.passwords import place_for_hashing, verify_password
from app.web.errors import ApiError, Code


def lock_admins() -> set[int]:
    """The ids of the active administrators, none of whom can be demoted, deactivated or deleted until the commit.

    Writing what stands there already locks the rows on every database; reading them would not.
    """
    active_admins = (User.is_admin, User.is_active)
    execute_write(update(User).where(*active_admins).values(is_admin=User.is_admin, updated_at=User.updated_at))
    return set(db.session.scalars(select(User.id).where(*active_admins)))


def keep_an_admin(admins: set[int], *, without: int) -> None:
    """Make sure that an active administrator is left without this user.

    Args:
        admins: as `lock_admins` found them, in this transaction.
        without: the id of the user who is to go.

    Raises:
        ApiError: 409 `last_admin`.
    """
    if admins == {without}:
        raise ApiError(Code.last_admin)


def is_password(user_id: int, name: str) -> bool:
    """Whether a name, as given or without case, is the user's password.  It counts as no login.

    Raises:
        ApiError: 503 `overloaded`.
    """
    with place_for_hashing():  # for both hashes
        password_hash = db.session.scalar(select(User.password_hash).where(User.id == user_id))
        db.session.remove()  # a hash takes long: meanwhile the connection is another request's
        return any(verify_password(password_hash, spelling) for spelling in {name, username_key(name)})
