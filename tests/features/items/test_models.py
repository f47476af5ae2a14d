from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from app.data.base import db
from app.data.errors import is_unavailable
from app.items.models import Item


@pytest.mark.parametrize(
    "rows",
    [
        [{"name": "Lamp", "price": "1"}, {"name": "Lamp", "price": "2"}],
        [{"name": "Lamp", "price": "-0.01"}],
        [{"name": "Lamp", "price": "1", "owner_id": 999}],
    ],
    ids=["one name twice", "a negative price", "an unknown owner"],
)
def test_the_database_refuses(app, rows):
    """The database enforces unique names, prices of at least 0 and existing owners."""
    with app.app_context():
        db.session.add_all(Item(**row | {"price": Decimal(row["price"])}) for row in rows)

        with pytest.raises((IntegrityError, OperationalError)) as refusal:
            db.session.commit()

        assert not is_unavailable(refusal.value)
