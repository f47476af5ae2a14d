"""The number of database statements of every route."""

from datetime import timedelta

import pytest

from app.data import expiry
from app.data.base import Base
from support.api import bearer
from support.routes import CALLERS, MATRIX, assert_same, filled_in, routes, tables
from support.statements import statements

# The number for a success by the first caller who may: a user, an administrator or a refresh token.  It includes the
# query for the caller.
# Change the number here if a view sends more or fewer statements.
STATEMENTS = tables("STATEMENTS")
EXPLICIT = ("raise", "write_only")  # ways to load a relationship that never load it on access


def test_every_route_has_a_number(app):
    """Every route has a number, and every number a route."""
    assert_same(routes(app), STATEMENTS, 0)


def test_nothing_is_loaded_by_itself():
    """No attribute of a model sends a statement when it is read."""
    for mapper in Base.registry.mappers:
        assert [link for link in mapper.relationships if link.lazy not in EXPLICIT] == [], mapper
        assert [column for column in mapper.column_attrs if column.deferred] == [], mapper


@pytest.fixture
def caller(method, path):
    """The first caller who succeeds."""
    may = dict(zip(CALLERS, MATRIX[method, path][1:], strict=True))
    return next(caller for caller in ("user", "admin", "refresh") if may[caller].startswith("2"))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("method", "path"), MATRIX)
def test_costs(app, client, user, request, monkeypatch, caller, method, path):
    """A success sends the number of statements in the table."""
    address, body = filled_in(path, client, user), MATRIX[method, path][0]
    if callable(body):
        body = body(client, user)
    headers = bearer(user.refresh_token) if caller == "refresh" else request.getfixturevalue(caller).headers
    monkeypatch.setattr(expiry, "PRUNE_EVERY", timedelta.max)  # the first request of a second sends more
    app.extensions["passwords"].dearest.is_search_due()  # the first login of a process sends more

    with statements(app) as sent:
        response = client.open(address, method=method, headers=headers, json=body)

    assert response.status_code < 300, response.text
    assert len(sent) == STATEMENTS.get((method, path)), sent
