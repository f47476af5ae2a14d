import uuid
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ForeignKey, Index, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.data.base import Base
from app.data.types import BigId, UTCDateTime, utcnow

USER_AGENT_LENGTH = 255
IP_ADDRESS_LENGTH = 45  # an IPv6 address with an embedded IPv4 address
MAX_LEEWAY = timedelta(minutes=1)  # the largest JWT_LEEWAY: an expired token is accepted for that long
# A revoked token becomes valid again if its row is deleted too early.  So the row outlives the token by more than the
# clocks of two machines differ.
CLOCKS_ERR = timedelta(days=1)


class Session(Base):
    """One row per session, from login to logout.

    Without its row, its tokens are invalid.
    `refresh_jti` is the refresh token that may be exchanged next, or null if the session cannot be
    renewed.  `previous_jti` is the token before it, exchanged at `rotated_at` by a client at `rotated_from`.
    A session ends at `expires_at`, or earlier if it is not refreshed for `SESSION_IDLE`.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        Index(None, "user_id"),
        Index(None, "expires_at"),
        Index(None, "last_used_at"),
        Base.__table_args__,
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id", ondelete="CASCADE"))
    refresh_jti: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    previous_jti: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    rotated_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    rotated_from: Mapped[str | None] = mapped_column(String(IP_ADDRESS_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    last_used_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow, info={"kept_for": "SESSION_IDLE"})
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, info={"kept_for": MAX_LEEWAY})
    user_agent: Mapped[str | None] = mapped_column(String(USER_AGENT_LENGTH))
    ip_address: Mapped[str | None] = mapped_column(String(IP_ADDRESS_LENGTH))


class RevokedToken(Base):
    """A revoked token.  The row outlives the token by a day."""

    __tablename__ = "revoked_tokens"
    __table_args__ = (Index(None, "expires_at"), Base.__table_args__)

    jti: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, info={"kept_for": MAX_LEEWAY + CLOCKS_ERR})


class FailedLogin(Base):
    """A counter of failed and pending attempts: logins, registrations or new names.

    The times of the window are seconds since 1970, because each database adds an interval to a time differently.
    """

    __tablename__ = "failed_logins"
    __table_args__ = (Index(None, "expires_at"), Base.__table_args__)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    attempts: Mapped[int]
    window_seconds: Mapped[int] = mapped_column(server_default="0")
    growth: Mapped[int] = mapped_column(server_default="0")
    resets_at: Mapped[int] = mapped_column(BigInteger, server_default="0")
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, info={"kept_for": timedelta(0)})
