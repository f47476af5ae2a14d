"""What `Blueprint` promises to routes of any resource, shown on a small blueprint of the tests' own."""

import pytest

from app import BLUEPRINTS, create_app
from app.web.blueprint import Blueprint
from app.web.fields import MessageSchema
from config import TestingConfig
from support.contract import documented


@pytest.fixture
def blp():
    return Blueprint("samples", __name__, url_prefix="/samples")


@pytest.fixture
def make_client(monkeypatch):
    """Makes a client of an application that has one more blueprint."""

    def make_client(blp):
        monkeypatch.setattr("app.BLUEPRINTS", (*BLUEPRINTS, blp))
        return create_app(TestingConfig()).test_client()

    return make_client


class TestPathParameters:
    @pytest.mark.parametrize(
        ("rule", "path"),
        [
            ("/a", "/a"),
            ("/<name>/b", "/{name}/b"),
            ("/<int:item_id>", "/{item_id}"),
            ("/<uuid:a>/<path:b>", "/{a}/{b}"),
            ("/<string(length=2):code>", "/{code}"),
        ],
    )
    def test_documented_path(self, rule, path):
        """Every converter is translated, with and without arguments."""
        assert documented(rule) == path

    def test_text_in_a_path(self, blp, make_client):
        """Routes with text parameters pass the watch over the API document."""

        @blp.get("/<username>")
        @blp.response(200, MessageSchema)
        def show_name(username):
            return {"message": username}

        @blp.get("/in/<string(length=2):code>")
        @blp.response(200, MessageSchema)
        def show_code(code):
            return {"message": code}

        client = make_client(blp)

        assert client.get("/samples/grace").json == {"message": "grace"}
        assert client.get("/samples/in/fr").json == {"message": "fr"}
        assert {"/samples/{username}", "/samples/in/{code}"} <= client.get("/openapi.json").json["paths"].keys()
