"""Changes of a user, and the checks before them.

The last administrator must remain, and a name must not be the password.
"""

from sqlalchemy import select, update

from app.auth.limits import counted_attempt, login_counters
from app.data.base import db
from app.data.statements import write
from app.sessions.service import end_sessions
from app.users.models import User, username_key
from app.users.passwords import MIN_PASSWORD_LENGTH, hash_password, hashing_slot, verify_password
from app.web.errors import ApiError, Code


def lock_admins() -> set[int]:
    """Lock all active administrators until the commit and return their ids.

    Updates the rows without changing them, because that locks them on every database.
    """
    active_admins = (User.is_admin, User.is_active)
    write(update(User).where(*active_admins).values(is_admin=User.is_admin, updated_at=User.updated_at))
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


def is_password(user_id: int, name: str, address: str | None) -> bool:
    """Whether a name, as given or case-folded, is the user's password.

    Counts as a login attempt, because a stolen token must not give free guesses.

    Raises:
        ApiError: 429 `too_many_attempts`, 503 `overloaded`.
    """
    if len(name) < MIN_PASSWORD_LENGTH:
        return False
    with hashing_slot():  # one slot for both hashes
        password_hash = db.session.scalar(select(User.password_hash).where(User.id == user_id))
        db.session.remove()  # give the connection back, because a hash takes long
        with counted_attempt(login_counters(user_id, "", address)):
            return any(verify_password(password_hash, spelling) for spelling in {name, username_key(name)})


def reset_password(user_id: int, password: str) -> bool:
    """Replace a user's password, and end every session.

    The user may be inactive, and stays so.

    Args:
        user_id: the user's id.
        password: as `NewPassword` accepts it.

    Returns:
        False if there is no such user any more.
    """
    changes = {"password_hash": hash_password(password), "password_version": User.password_version + 1}
    # The row stays locked until the commit.  A login that has read the old password waits, and then fails.
    if not write(update(User).where(User.id == user_id).values(updated_at=User.updated_at, **changes)):
        return False
    end_sessions(user_id)
    return True
