"""Requests made of the API document by Schemathesis: every answer is one that the document promises.

`FUZZ_EXAMPLES` says how many for each operation, kind of caller, and good or bad; without it few, always the same.
"""

import json
import os
from itertools import count
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis.specs.openapi.checks import positive_data_acceptance

from support.api import bearer, log_in, make_admin, migrated_app, sign_up
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
# Their rules are no pattern: letters of any script after NFKC, passwords that everybody tries, what we have signed.
BEYOND_A_SCHEMA = {"username", "password", "new_password", "cursor"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """An application over a database of its own: what is made up here is nobody else's."""
    with fresh_database("sqlite", tmp_path_factory.mktemp("schemathesis")) as url, migrated_app(url) as app:
        yield app


@pytest.fixture(scope="module")
def described(served):
    return schemathesis.openapi.from_wsgi("/openapi.json", served)


def somebody(app):
    """A new administrator each time: the case before may have logged the last one out, or deleted them."""
    client, name = app.test_client(), f"admin{next(_names)}"
    sign_up(client, name)
    make_admin(app, name)
    return log_in(client, name)


def can_be_bad(method, path):
    """Whether there is a body, or a parameter that is not any text."""
    operation = DOCUMENT["paths"][path][method]
    parameters = [*operation.get("parameters", ()), *DOCUMENT["paths"][path].get("parameters", ())]
    return "requestBody" in operation or any(parameter["in"] != "header" for parameter in parameters)


def ask_and_hold(app, operation, caller, mode):
    """Ask as generated, and hold the answer against the document."""
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
def test_what_is_good_is_taken(served, described, method, path, caller):
    """No crash, and no status, header or body beside the document; only what no schema can say is refused."""
    ask_and_hold(served, described[path][method], caller, MODES.POSITIVE)


@pytest.mark.parametrize("caller", ["nobody", "admin"])
@pytest.mark.parametrize(("method", "path"), [names for names in OPERATIONS if can_be_bad(*names)])
def test_what_is_bad_is_refused(served, described, method, path, caller):
    """With an error that the document promises."""
    ask_and_hold(served, described[path][method], caller, MODES.NEGATIVE)
