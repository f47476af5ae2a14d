"""May this administrator go?"""

from sqlalchemy import select, update

from app.data.base import db
from app.data.statements import write
from app.users.models import User
from app.web.errors import ApiError, Code


def lock_admins() -> set[int]:
    """The ids of the active administrators, none of whom can be demoted, deactivated or deleted until the commit.

    Writing what stands there already locks the rows on every database; reading them would not.
    """
    active_admins = (User.is_admin, User.is_active)
    write(update(User).where(*active_admins).values(is_admin=User.is_admin, updated_at=User.updated_at))
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
