from decimal import Decimal

from sqlalchemy import delete, select, update

from app import create_app
from app.data.base import db
from app.items.models import Item
from app.users.models import User
from config import TestingConfig
from support.api import count, log_in
from support.commands import fails


class TestSeed:
    def test_adds_samples_once(self, app, client, runner):
        """The first run adds users and items, and a second run adds nothing."""
        first = runner.invoke(args=["seed"])
        rows = count(app, User), count(app, Item)
        second = runner.invoke(args=["seed"])

        assert (first.exit_code, second.exit_code) == (0, 0)
        assert rows == (3, 12) == (count(app, User), count(app, Item))
        assert second.output == "Added 0 item(s).\n"
        name, password = first.output.splitlines()[0].removeprefix("Added administrator ").split(", password: ")
        assert log_in(client, name, password).username == "ada"
        with app.app_context():
            assert None not in db.session.scalars(select(Item.owner_id)).all()

    def test_keeps_existing_rows(self, app, client, runner, user):
        """Existing users and changed samples stay, and a deleted sample is added again."""
        runner.invoke(args=["seed"])
        with app.app_context():
            db.session.execute(delete(Item).where(Item.name == "Deadbolt"))
            db.session.execute(update(Item).where(Item.name == "Peephole").values(price=Decimal("0.01")))
            db.session.commit()

        result = runner.invoke(args=["seed"])

        assert result.output == "Added 1 item(s).\n"
        assert log_in(client, "grace").id == user.id
        assert (count(app, User), count(app, Item)) == (3, 12)
        with app.app_context():
            assert db.session.scalar(select(Item.price).where(Item.name == "Peephole")) == Decimal("0.01")

    def test_never_in_production(self, app, runner):
        """`flask seed` fails in production and adds nothing."""
        app.config["ALLOW_SEED"] = False

        fails(runner.invoke(args=["seed"]), "production")
        assert count(app, User) == 0
        assert count(app, Item) == 0

    def test_without_tables(self, tmp_path):
        """The error names the setting and the command that creates the tables."""
        config = TestingConfig()
        config.DATABASE_URL = f"sqlite:///{tmp_path}/empty.db"
        app = create_app(config)

        fails(app.test_cli_runner().invoke(args=["seed"]), "DATABASE_URL", "flask db upgrade")
        with app.app_context():
            db.engine.dispose()
