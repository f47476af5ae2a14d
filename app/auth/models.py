import uuid
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, Index, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.data.base import Base
from app.data.types import BigId, UTCDateTime, utcnow

USER_AGENT_LENGTH = 255
IP_ADDRESS_LENGTH = 45  # an IPv6 address that embeds an IPv4 one
MAX_LEEWAY = timedelta(minutes=1)  # the greatest JWT_LEEWAY: for that long after its end a token is accepted
# A revoked token that is deleted while it lives is valid again. So a machine whose clock is ahead must not delete what
# another has revoked: the row outlives the token by more than clocks are ever wrong.
CLOCKS_ERR = timedelta(days=1)


class Session(Base):
    """A login: one row, however often its refresh token is exchanged.  No row, no session.

    `refresh_jti` is the refresh token that may be exchanged next; none, where
    the session cannot be renewed.  `previous_jti` is the one that was exchanged
    for it, at `rotated_at`.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        Index(None, "user_id"),
        Index(None, "expires_at"),
        Base.__table_args__,
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id", ondelete="CASCADE"))
    refresh_jti: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    previous_jti: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    rotated_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    last_used_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, info={"kept_for": MAX_LEEWAY})
    user_agent: Mapped[str | None] = mapped_column(String(USER_AGENT_LENGTH))
    ip_address: Mapped[str | None] = mapped_column(String(IP_ADDRESS_LENGTH))


class RevokedToken(Base):
    """A single token that was logged out, kept for a day longer than it would have lived."""

    __tablename__ = "revoked_tokens"
    __table_args__ = (Index(None, "expires_at"), Base.__table_args__)

    jti: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, info={"kept_for": MAX_LEEWAY + CLOCKS_ERR})


class FailedLogin(Base):
    """Attempts to log in to one account from one address that have failed or are under way."""

    __tablename__ = "failed_logins"
    __table_args__ = (Index(None, "expires_at"), Base.__table_args__)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    attempts: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, info={"kept_for": timedelta(0)})
