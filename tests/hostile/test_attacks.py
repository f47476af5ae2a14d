"""The catalogue of token attacks, under every algorithm."""

import json
import re
import shutil
from datetime import timedelta
from functools import cached_property
from itertools import count

import pytest
import time_machine
from attacks import Forge, Keys, make_key_set, read, recipes, watching_what_is_reached
from budget import within_budget

from app.data.base import db
from app.data.types import utcnow
from config import ProductionConfig, TestingConfig
from support.api import (
    API,
    PASSWORD,
    UNLIMITED,
    app_with_things,
    bearer,
    claims,
    create_tables,
    error,
    log_in,
    make_admin,
    me,
    refresh,
    sign_up,
)

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
DETERMINISTIC = ("HS256", "RS256", "EdDSA")  # signing the same claims twice gives the same token
EVERYWHERE = ("headers", "cookies", "json", "query_string")
ENDPOINTS = {
    "protected": ("GET", "users/me"),
    "write": ("PATCH", "users/me"),
    "optional": ("GET", "things"),
    "fresh": ("POST", "things"),
    "refresh": ("POST", "auth/refresh"),
    "logout": ("POST", "auth/logout/access"),
    "admin": ("GET", "users"),
}
COOKIES = {"access": "access_token_cookie", "refresh": "refresh_token_cookie"}
INSIDES = re.compile(r"Traceback|File \"|sqlalchemy|sqlite3|\b(SELECT|INSERT|UPDATE|DELETE) ")
MIN_SECRET_LENGTH = 16  # characters; an answer may contain shorter parts of a token by chance
NUMBERS = count()


def applies(recipe, algorithm):
    return recipe["server_alg"] == "*" or algorithm in recipe["server_alg"]


CASES = [
    pytest.param(algorithm, recipe, id=f"{algorithm}-{recipe['id']}")
    for algorithm in ALGORITHMS
    for recipe in recipes()
    if applies(recipe, algorithm)
]


class Target:
    """An application with one signing algorithm, and accounts to attack."""

    def __init__(self, algorithm, folder):
        self.folder, self.algorithm = folder, algorithm
        self.path = folder / "keys.json"
        self.has_key_set = algorithm != "HS256"
        kid = f"first-{algorithm}" if self.has_key_set else "secret"
        key = make_key_set(self.path, algorithm, kid) if self.has_key_set else None
        self.apps = []
        self.app = self.make_app()
        with self.app.app_context():
            create_tables()
        self.open_app = self.make_app(JWT_TOKEN_LOCATION=EVERYWHERE, ALLOW_TOKEN_IN_QUERY=True)
        self.client = self.app.test_client()
        shown = self.client.get("/.well-known/jwks.json").json["keys"]
        self.keys = Keys(algorithm, kid, key, TestingConfig.JWT_SECRET_KEY, shown[0] if shown else None)
        self.user, self.other = sign_up(self.client, "grace"), sign_up(self.client, "linus")
        sign_up(self.client, "ada")
        make_admin(self.app, "ada")
        self.admin = log_in(self.client, "ada")

    def make_app(self, **settings):
        config = TestingConfig()
        config.DATABASE_URL = f"sqlite:///{self.folder / 'attacked.db'}"
        config.JWT_KEYSET = str(self.path) if self.has_key_set else ""
        for name, value in (UNLIMITED | settings).items():
            setattr(config, name, value)
        self.apps.append(app_with_things(config))
        return self.apps[-1]

    def close(self):
        for app in self.apps:
            with app.app_context():
                db.session.remove()
                db.engine.dispose()

    def cookies(self, username):
        """A client that is logged in by cookies."""
        client = self.app.test_client()
        body = {"username": username, "password": PASSWORD}
        assert client.post(f"{API}/auth/login?use_cookies=true", json=body).status_code == 200
        return client

    @cached_property
    def csrf_of_another(self):
        return self.cookies("linus").get_cookie("csrf_access_token").value

    @cached_property
    def secrets(self):
        """The secret and the private members of every key, which no answer may show."""
        jwks = json.loads(self.path.read_text())["keys"] if self.has_key_set else []
        private = {jwk[name] for jwk in jwks for name in ("d", "p", "q", "dp", "dq", "qi") if name in jwk}
        return {TestingConfig.JWT_SECRET_KEY, *private}


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """Returns the target of an algorithm, which is made once."""
    made = {}

    def target(algorithm):
        if algorithm not in made:
            made[algorithm] = Target(algorithm, tmp_path_factory.mktemp(algorithm))
        return made[algorithm]

    yield target
    for one in made.values():
        one.close()


class Attack:
    """One recipe and its target."""

    def __init__(self, target, recipe):
        self.target, self.recipe = target, recipe
        self.app = target.open_app if recipe.get("settings") else target.app
        self.client = self.app.test_client()
        self.user = target.user
        self.shift = timedelta()
        self.tokens = {}
        self.good = []  # access tokens that must work after the attack

    def prepare(self):
        """Get the valid tokens, and run the actions that come before the attack."""
        if self.recipe.get("before"):
            self.user = sign_up(self.client, f"user{next(NUMBERS)}")
        self.tokens = {
            "access": self.user.access_token,
            "refresh": self.user.refresh_token,
            "previous": self.user.access_token,
            "other": self.target.other.access_token,
            "admin": self.target.admin.access_token,
        }
        base = self.recipe["base"]
        if base == "second_session":
            self.tokens[base] = log_in(self.client, self.user.username).access_token
        elif base == "access_stale":
            login = log_in(self.client, self.user.username)
            self.tokens[base] = refresh(self.client, login.refresh_token).json["access_token"]
        elif base.startswith("cookie_"):
            self.client = self.target.cookies(self.user.username)
            for kind, name in COOKIES.items():
                self.tokens[f"cookie_{kind}"] = self.client.get_cookie(name).value
        for action in self.recipe.get("before", []):
            getattr(self, f"_{action}")()
        self.good.append(self.target.user.access_token)
        if not self.recipe.get("before") and base in self.tokens and read(self.tokens[base])[1]["type"] == "access":
            self.good.append(self.tokens[base])

    def _own_session(self):
        pass

    def _post(self, path, token):
        assert self.client.post(f"{API}/{path}", headers=bearer(token)).status_code == 200

    def _logout_access(self):
        self._post("auth/logout/access", self.user.access_token)

    def _logout_session(self):
        self._post("auth/logout", self.user.access_token)

    def _logout_refresh(self):
        self._post("auth/logout/refresh", self.user.refresh_token)

    def _logout_everywhere(self):
        second = log_in(self.client, self.user.username)
        assert self.client.delete(f"{API}/auth/sessions", headers=second.headers).status_code == 200

    def _login_again_same_second(self):
        self.good.append(log_in(self.client, self.user.username).access_token)

    def _change_password(self):
        body = {"current_password": PASSWORD, "new_password": "another long one"}
        assert self.client.put(f"{API}/auth/password", json=body, headers=self.user.headers).status_code == 200

    def _change_user(self, **changes):
        path = f"{API}/users/{self.user.id}"
        assert self.client.patch(path, json=changes, headers=self.target.admin.headers).status_code == 200

    def _deactivate_user(self):
        self._change_user(is_active=False)

    def _promote(self):
        self._change_user(is_admin=True)

    def _delete_user(self):
        path = f"{API}/users/{self.user.id}"
        assert self.client.delete(path, headers=self.target.admin.headers).status_code == 200

    def _register_new_user(self):
        sign_up(self.client, f"user{next(NUMBERS)}")

    def _rotate(self):
        self.tokens["successor"] = refresh(self.client, self.user.refresh_token).json["refresh_token"]

    def _rotate_then_wait_grace(self):
        self._rotate()
        self.shift = timedelta(seconds=11)

    def _reuse_detected(self):
        self._rotate()
        with time_machine.travel(utcnow() + timedelta(seconds=11)):
            assert error(refresh(self.client, self.user.refresh_token)) == (401, "token_reused")

    def _keys_generate(self):
        """Use a separate key set, so that later recipes start with the original key."""
        path = self.target.folder / f"{self.recipe['id']}.json"
        shutil.copy(self.target.path, path)
        self.app = self.target.make_app(JWT_KEYSET=str(path))
        self._flask("keys", "generate", "--algorithm", self.target.algorithm)
        kids = {jwk["kid"] for jwk in json.loads(path.read_text())["keys"]}
        [self.kid] = kids - {self.target.keys.kid}

    def _keys_activate(self):
        self._flask("keys", "activate", self.kid)
        self.app = self.target.make_app(JWT_KEYSET=self.app.config["JWT_KEYSET"])  # like after a restart
        self.client = self.app.test_client()
        again = log_in(self.client, self.user.username)
        assert read(again.access_token)[0]["kid"] == self.kid

    def _flask(self, *args):
        result = self.app.test_cli_runner().invoke(args=args)
        assert result.exit_code == 0, result.output

    def forge(self):
        base = self.tokens.get(self.recipe["base"])
        return Forge(self.target.keys, base, self.tokens)

    def send(self, token):
        send = self.recipe["send"]
        method, path = ENDPOINTS[send["endpoint"]]
        request = {"method": send.get("method", method), "path": f"{API}/{path}", "headers": {}}
        if send["endpoint"] == "write":
            request["json"] = {"username": self.user.username}
        elif send["endpoint"] == "fresh":
            request["json"] = {"name": f"Item {next(NUMBERS)}", "price": "1"}
        for part in send.get("parts", [send]):
            getattr(self, f"_by_{part['in']}")(part, token, request)
        with time_machine.travel(utcnow() + self.shift):
            return self.client.open(**request)

    def named_by(self, forge):
        """The files that the token's header names."""
        names = [value for value in forge.header.values() if isinstance(value, str)]
        return {name.removeprefix("file://") for name in names}

    def _fill(self, text, token):
        return text.replace("${token}", str(token)).replace("${other}", self.tokens["other"])

    def _by_none(self, _send, _token, _request):
        pass

    def _by_header(self, send, token, request):
        request["headers"]["Authorization"] = self._fill(send["template"], token)

    def _by_raw_headers(self, send, token, request):
        request["headers"].update({name: self._fill(value, token) for name, value in send["headers"]})

    def _by_query(self, send, token, request):
        request["path"] += f"?{send['name']}={self._fill(send['template'], token)}"

    def _by_json(self, _send, token, request):
        request["json"] = {"access_token": token}

    def _by_json_refresh(self, _send, token, request):
        request["data"], request["content_type"] = json.dumps({"refresh_token": token}), "application/json"

    def _by_raw_json(self, send, token, request):
        request["data"], request["content_type"] = self._fill(send["body"], token), "application/json"

    def _by_cookie(self, send, token, request):
        kind = "refresh" if send["endpoint"] == "refresh" else "access"
        csrf = self.client.get_cookie(f"csrf_{kind}_token").value
        values = {
            "match": csrf,
            "match ": f"{csrf} ",
            "other": self.target.csrf_of_another,
            "refresh": self.client.get_cookie("csrf_refresh_token").value,
            "jwt": token,
            "upper": csrf.upper(),
        }
        sent = send.get("csrf", "missing")
        if isinstance(sent, dict):
            text, times = sent["$repeat"]
            sent = text * times
        if sent != "missing":
            request["headers"]["X-CSRF-TOKEN"] = values.get(sent, sent)
        self._set_cookies(request, f"csrf_{kind}_token={csrf}; {COOKIES[kind]}={token}")

    def _by_cookie_twice(self, _send, token, request):
        name = COOKIES["access"]
        self._set_cookies(request, f"{name}={token}; {name}={self.tokens['other']}")

    def _set_cookies(self, request, text):
        """Send the text unchanged.  A client with a cookie jar would quote invalid cookies."""
        self.client = self.app.test_client(use_cookies=False)
        request["headers"]["Cookie"] = text

    def _by_header_and_cookie(self, send, token, request):
        if not self.recipe["base"].startswith("cookie_"):
            self.client = self.target.cookies(self.user.username)
        self._by_header(send, token, request)


@pytest.mark.parametrize(("algorithm", "recipe"), CASES)
def test_an_attack(target, algorithm, recipe, caplog):
    """An attack gets the answer of the catalogue, and the valid tokens still work."""
    attack = Attack(target(algorithm), recipe)
    with time_machine.travel(utcnow(), tick=False):  # the preparation happens within one second
        attack.prepare()
    forge = attack.forge()
    token = forge.run(recipe["steps"])
    caplog.clear()
    with watching_what_is_reached() as reached:
        response = within_budget(lambda: attack.send(token))

    judge(attack, token, response)
    judge_log(recipe, token, caplog)
    files = attack.named_by(forge)
    assert [(event, what) for event, what in reached if event != "open" or what in files] == []
    for good in attack.good:
        assert me(attack.target.client, good).status_code == 200


def judge(attack, token, response):
    recipe, expected, status = attack.recipe, attack.recipe["expect"], response.status_code
    assert status in expected["status"], (recipe["why"], response.text[:300])
    assert ("WWW-Authenticate" in response.headers) is (status == 401)
    assert INSIDES.search(response.text) is None
    assert not any(secret in response.text for secret in attack.target.secrets)
    if status >= 400:
        if recipe["send"].get("method") != "HEAD":
            _status, code = error(response)
            assert code in expected.get("error", [code])
        shown = [part for part in str(token).split(".") if len(part) >= MIN_SECRET_LENGTH and part in response.text]
        assert shown == []
    if recipe.get("assert_body_empty"):
        assert response.data == b""
    if recipe.get("assert_user") == "base":
        assert response.json["id"] == attack.user.id
    if recipe.get("assert_jti") == "first_successor":
        first, second = attack.tokens["successor"], response.json["refresh_token"]
        assert claims(second)["jti"] == claims(first)["jti"]
        assert second == first or attack.target.algorithm not in DETERMINISTIC
    if "assert_log_absent" in recipe:
        assert response.headers["Cache-Control"] == "no-store"


def judge_log(recipe, token, caplog):
    """Search all fields of the log lines, because the JSON format shows them."""
    if "assert_log_absent" in recipe:
        absent = recipe["assert_log_absent"].replace("${token}", token)
        lines = [str(vars(record)) for record in caplog.records]
        assert any(f"{API}/users/me" in line for line in lines)
        assert not any(absent in line for line in lines)


@pytest.mark.parametrize(
    "recipe", [one for one in recipes() if one["id"].startswith("weak-")], ids=lambda one: one["id"]
)
def test_production_refuses_a_guessable_key(recipe):
    """Production refuses each JWT_SECRET_KEY that the catalogue guesses."""
    [guess] = [step["key"] for step in recipe["steps"] if step["op"] == "sign"]
    config = ProductionConfig()
    config.JWT_SECRET_KEY = Keys("HS256", "secret", None, "", None).named(guess).decode()

    assert "JWT_SECRET_KEY" in config.problems()


def test_every_recipe_runs():
    """Every recipe runs under at least one algorithm."""
    used = {case.values[1]["id"] for case in CASES}

    assert used == {recipe["id"] for recipe in recipes()}
    assert len(used) > 250


def test_the_catalogue_is_consistent():
    """Each MUST recipe expects only 4xx, and each control recipe only 2xx."""
    for recipe in recipes():
        statuses = recipe["expect"]["status"]
        if recipe["level"] == "MUST":
            assert all(400 <= status < 500 for status in statuses), recipe["id"]
        elif recipe["level"] == "control":
            assert all(200 <= status < 300 for status in statuses), recipe["id"]
