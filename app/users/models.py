from datetime import datetime

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, validates

from app.data.base import Base
from app.data.text import folded
from app.data.types import BigId, UTCDateTime, utcnow

USERNAME_LENGTH = 64  # characters, after NFKC
KEY_LENGTH = 3 * USERNAME_LENGTH  # case folding makes at most three characters of one (Unicode, CaseFolding.txt)
HASH_LENGTH = 255  # characters


def username_key(username: str) -> str:
    """The name in NFKC, case-folded.

    Two spellings of one name have the same key.

    Raises:
        TextTooLongError: the text is too long to be a name.
    """
    return folded(username, "NFKC", USERNAME_LENGTH)


class User(Base):
    """An account.  The name is unique, ignoring case."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("username_key"), Base.__table_args__)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    username: Mapped[str] = mapped_column(String(USERNAME_LENGTH))
    username_key: Mapped[str] = mapped_column(String(KEY_LENGTH))
    password_hash: Mapped[str] = mapped_column(String(HASH_LENGTH))
    # Counts password changes, but not renewals of the hash.
    password_version: Mapped[int] = mapped_column(default=0, server_default="0")
    is_admin: Mapped[bool] = mapped_column(default=False)
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow, onupdate=utcnow)

    @validates("username")
    def _keep_key(self, _name: str, username: str) -> str:
        self.username_key = username_key(username)
        return username
