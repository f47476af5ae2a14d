"""`Blueprint`, tested with a small blueprint of the tests' own."""

import pytest
from marshmallow import Schema, ValidationError, fields, validates_schema

from app import BLUEPRINTS, create_app
from app.web.blueprint import Blueprint
from app.web.fields import MessageSchema
from config import TestingConfig
from support.api import error
from support.contract import documented


@pytest.fixture
def blp():
    return Blueprint("samples", __name__, url_prefix="/samples")


@pytest.fixture
def make_client(monkeypatch):
    """Makes a client of an application with one more blueprint."""

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
        """Every converter becomes a plain name, with and without arguments."""
        assert documented(rule) == path

    def test_text_in_a_path(self, blp, make_client):
        """Routes with text parameters answer and are in the API document."""

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


class AuthorSchema(Schema):
    username = fields.String(required=True)


class ArticleSchema(Schema):
    author = fields.Nested(AuthorSchema, required=True)
    tags = fields.List(fields.String())
    ratings = fields.Dict(keys=fields.String(), values=fields.Integer())

    @validates_schema
    def require_a_tag(self, article, **_kwargs):
        if article.get("tags") == []:
            raise ValidationError({"tags": "Empty."})


class TestErrorsWithinFields:
    @pytest.fixture
    def client(self, blp, make_client):
        @blp.post("")
        @blp.arguments(ArticleSchema)
        @blp.response(200, MessageSchema)
        def create_article(_new):
            return {"message": "It is done."}

        @blp.post("/many")
        @blp.arguments(ArticleSchema(many=True))
        @blp.response(200, MessageSchema)
        def create_articles(_new):
            return {"message": "It is done."}

        return make_client(blp)

    AUTHOR = {"username": "grace"}  # noqa: RUF012 -- nobody changes it

    @pytest.mark.parametrize(
        ("path", "body", "errors"),
        [
            ("", {}, {"author": ["Missing data for required field."]}),
            ("", {"author": {}}, {"author.username": ["Missing data for required field."]}),
            ("", {"author": 1}, {"author._schema": ["Invalid input type."]}),
            ("", {"author": {**AUTHOR, "x": 1}}, {"author.x": ["Unknown field."]}),
            ("", {"author": AUTHOR, "tags": ["a", 1]}, {"tags.1": ["Not a valid string."]}),
            ("", {"author": AUTHOR, "tags": []}, {"tags": ["Empty."]}),
            ("", {"author": AUTHOR, "ratings": {"a": "x"}}, {"ratings.a.value": ["Not a valid integer."]}),
            ("/many", [{"author": {}}], {"0.author.username": ["Missing data for required field."]}),
        ],
    )
    def test_have_paths(self, client, path, body, errors):
        """An error inside a field is listed under the path of that field."""
        response = client.post(f"/samples{path}", json=body)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"json": errors}

    def test_are_few(self, client):
        """The response lists at most twenty errors."""
        response = client.post("/samples", json={"author": self.AUTHOR, "tags": [1] * 1000})

        assert len(response.json["errors"]["json"]) == 20


class TestNoContent:
    def test_has_neither_body_nor_type(self, blp, make_client):
        """A 204 has no body, keeps the view's headers and is documented without content."""

        @blp.delete("")
        @blp.response(204)
        def delete_all():
            return None

        @blp.put("")
        @blp.response(204)
        def replace_all():
            return None, {"X-Replaced": "2"}

        client = make_client(blp)

        answers = client.delete("/samples"), client.put("/samples")

        assert [(answer.status_code, answer.data, answer.content_type) for answer in answers] == [(204, b"", None)] * 2
        assert answers[1].headers["X-Replaced"] == "2"
        documented_answers = client.get("/openapi.json").json["paths"]["/samples"]["delete"]["responses"]
        assert "content" not in documented_answers["204"]
