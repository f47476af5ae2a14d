from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database import BigId, Money, UTCDateTime, utcnow
from app.extensions import Base

NAME_LENGTH = 80
DESCRIPTION_LENGTH = 500


class Item(Base):
    """A thing with a price.  It outlives its owner."""

    __tablename__ = "items"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint("price >= 0", name="price_not_negative"),
        Index(None, "owner_id"),
        Base.__table_args__,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str | None] = mapped_column(String(DESCRIPTION_LENGTH))
    price: Mapped[Decimal] = mapped_column(Money)
    owner_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow, onupdate=utcnow)
