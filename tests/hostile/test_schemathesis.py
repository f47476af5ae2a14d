"""Schemathesis generates requests from openapi.json and checks the answers against it.

`FUZZ_EXAMPLES` sets the number of requests per operation, caller and validity. By default it sends five.
The requests are the same in each run.
"""

import json
import os
from itertools import count
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis.specs.openapi.checks import positive_data_acceptance

from support.api import UNLIMITED, bearer, log_in, make_admin, migrated_app, sign_up
from support.databases import fresh_database

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5"))
QUIET = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

_names = count()
DOCUMENT = json.loads((Path(__file__).parents[2] / "openapi.json").read_text())
OPERATIONS = [
    (method, path) for path, operations in DOCUMENT["paths"].items() for method in operations if method != "parameters"
]
MODES = schemathesis.GenerationMode
# A schema cannot express the rules of these fields: letters after NFKC, common passwords, signed cursors.
BEYOND_A_SCHEMA = {"username", "password", "new_password", "cursor"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """An application on a separate database, because the requests change everything."""
    with fresh_database("sqlite", tmp_path_factory.mktemp("schemathesis")) as url, migrated_app(url) as app:
        app.config |= UNLIMITED
        yield app


@pytest.fixture(scope="module")
def described(served):
    return schemathesis.openapi.from_wsgi("/openapi.json", served)


def somebody(app):
    """A new administrator, because the previous case may have deleted the last one."""
    client, name = app.test_client(), f"admin{next(_names)}"
    sign_up(client, name)
    make_admin(app, name)
    return log_in(client, name)


def can_be_bad(method, path):
    """Whether the operation has a body, or a parameter outside the header."""
    operation = DOCUMENT["paths"][path][method]
    parameters = [*operation.get("parameters", ()), *DOCUMENT["paths"][path].get("parameters", ())]
    return "requestBody" in operation or any(parameter["in"] != "header" for parameter in parameters)


def ask_and_hold(app, operation, caller, mode):
    """Send the generated requests, and check the answers against the document."""
    is_refresh = any("refreshToken" in way for way in operation.definition.raw.get("security", ()))

    @QUIET
    @given(data=strategies.data())
    def ask(data):
        case = data.draw(operation.as_strategy(generation_mode=mode))
        headers = {}
        if caller == "admin":
            account = somebody(app)
            headers = bearer(account.refresh_token if is_refresh else account.access_token)
        response = case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])
        if mode is MODES.POSITIVE:
            assert response.status_code not in (400, 415), response.text
            if response.status_code == 422:
                told = response.json()["errors"]
                assert {name for fields in told.values() for name in fields} <= BEYOND_A_SCHEMA, told

    ask()


@pytest.mark.parametrize("caller", ["nobody", "admin"])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_valid_requests(served, described, method, path, caller):
    """A valid request gets a documented answer; only rules beyond a schema refuse it."""
    ask_and_hold(served, described[path][method], caller, MODES.POSITIVE)


@pytest.mark.parametrize("caller", ["nobody", "admin"])
@pytest.mark.parametrize(("method", "path"), [names for names in OPERATIONS if can_be_bad(*names)])
def test_invalid_requests(served, described, method, path, caller):
    """An invalid request gets a documented error."""
    ask_and_hold(served, described[path][method], caller, MODES.NEGATIVE)
