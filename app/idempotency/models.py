from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.data.base import Base
from app.data.types import BigId, UTCDateTime


class IdempotencyKey(Base):
    """A request that was carried out, and what was answered to it.

    `key` is a hash of whose, which operation's and which key it is. The row is
    there from the beginning of the request's transaction, so that of two at
    once the second waits; `answer` is there at its end.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index(None, "user_id"),
        Index(None, "expires_at"),
        Base.__table_args__ | {"info": {"expires": timedelta(0)}},
    )

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id", ondelete="CASCADE"))
    fingerprint: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
