from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, validates

from app.data.base import Base
from app.data.text import folded
from app.data.types import BigId, Money, UTCDateTime, exact_text, utcnow

NAME_LENGTH = 80
KEY_LENGTH = 3 * NAME_LENGTH  # case folding turns a character into at most three (Unicode, CaseFolding.txt)
DESCRIPTION_LENGTH = 500


def name_key(name: str) -> str:
    """The name in NFC, case-folded, for the search."""
    return folded(name, "NFC", NAME_LENGTH)


class Item(Base):
    """A thing with a price.  It stays when its owner is deleted."""

    __tablename__ = "items"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint("price >= 0", name="price_not_negative"),
        # One for each of ORDERS; `id` already has an index.
        Index(None, "name", "name_key"),  # a search in this order reads no rows but those that it finds
        Index(None, "price", "id"),
        Index(None, "created_at", "id"),
        # One for each of ORDERS within the items of one owner.
        Index(None, "owner_id", "id"),
        Index(None, "owner_id", "name"),
        Index(None, "owner_id", "price", "id"),
        Index(None, "owner_id", "created_at", "id"),
        Base.__table_args__,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(exact_text(NAME_LENGTH))
    name_key: Mapped[str] = mapped_column(String(KEY_LENGTH), server_default=text("''"))
    description: Mapped[str | None] = mapped_column(String(DESCRIPTION_LENGTH))
    price: Mapped[Decimal] = mapped_column(Money)
    owner_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow, onupdate=utcnow)

    @validates("name")
    def _keep_key(self, _name: str, name: str) -> str:
        self.name_key = name_key(name)
        return name


_items = Item.__table__.c  # columns make rows, not objects
# The orders of the listing.  The last column of each is unique; an index has the same columns.
ORDERS: dict[str, tuple[Any, ...]] = {
    "id": (_items.id,),
    "name": (_items.name,),
    "price": (_items.price, _items.id),
    "created_at": (_items.created_at, _items.id),
}
