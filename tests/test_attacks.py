"""The catalogue of token attacks, under every algorithm: none gets in, none is a 5xx, and good tokens go on."""

import json
from datetime import timedelta
from itertools import count
from unittest.mock import patch

import flask_migrate
import pytest
import time_machine
from attacks import Forge, Keys, recipes
from conftest import API, PASSWORD, bearer, error, log_in, make_admin, refresh, sign_up

from app import create_app
from app.auth.key_set import KINDS, activate_key, generate_key
from app.database import utcnow
from app.extensions import db
from config import TestingConfig

EVERYWHERE = ("headers", "cookies", "json", "query_string")
ENDPOINTS = {
    "protected": ("GET", "users/me"),
    "write": ("PATCH", "users/me"),
    "optional": ("GET", "items"),
    "fresh": ("POST", "items"),
    "refresh": ("POST", "auth/refresh"),
    "logout": ("POST", "auth/logout/access"),
    "admin": ("GET", "users"),
}
COOKIES = {"access": ("access_token_cookie", "/"), "refresh": ("refresh_token_cookie", f"{API}/auth")}
NUMBERS = count()


def applies(recipe, algorithm):
    return recipe["server_alg"] == "*" or algorithm in recipe["server_alg"]


CASES = [
    pytest.param(algorithm, recipe, id=f"{algorithm}-{recipe['id']}")
    for algorithm in KINDS
    for recipe in recipes()
    if applies(recipe, algorithm)
]


class Target:
    """An application that signs by one algorithm, with accounts to attack."""

    def __init__(self, algorithm, folder):
        self.folder, self.algorithm = folder, algorithm
        self.path = folder / "keys.json"
        self.secret = TestingConfig.JWT_SECRET_KEY
        jwk = None
        if algorithm != "HS256":
            generate_key(self.path, algorithm, utcnow())
            [jwk] = json.loads(self.path.read_text())["keys"]
        self.keys = Keys(jwk, self.secret)
        self.app = self.make_app()
        with self.app.app_context():
            flask_migrate.upgrade()
        self.open_app = self.make_app(JWT_TOKEN_LOCATION=EVERYWHERE)
        self.client = self.app.test_client()
        self.user, self.other = sign_up(self.client, "grace"), sign_up(self.client, "linus")
        sign_up(self.client, "ada")
        make_admin(self.app, "ada")
        self.admin = log_in(self.client, "ada")

    def make_app(self, **settings):
        config = TestingConfig()
        config.DATABASE_URL = f"sqlite:///{self.folder / 'attacked.db'}"
        config.JWT_KEYSET = str(self.path) if self.algorithm != "HS256" else ""
        config.LOGIN_ATTEMPTS = 100
        for name, value in settings.items():
            setattr(config, name, value)
        return create_app(config)

    def close(self):
        for app in (self.app, self.open_app):
            with app.app_context():
                db.engine.dispose()

    def cookies(self, username):
        """A client that is logged in by cookies."""
        client = self.app.test_client()
        body = {"username": username, "password": PASSWORD}
        assert client.post(f"{API}/auth/login?use_cookies=true", json=body).status_code == 200
        return client


@pytest.fixture(scope="module")
def target(request, tmp_path_factory):
    """The target of the algorithm that the test names; the next algorithm has one of its own."""
    made = {}

    def target(algorithm):
        if algorithm not in made:
            made[algorithm] = Target(algorithm, tmp_path_factory.mktemp(algorithm))
        return made[algorithm]

    yield target
    for one in made.values():
        one.close()


class Attack:
    """One recipe against one target."""

    def __init__(self, target, recipe):
        self.target, self.recipe = target, recipe
        self.app = target.open_app if recipe.get("settings") else target.app
        self.client = self.app.test_client()
        self.user = target.user
        self.shift = timedelta()
        self.own = bool(recipe.get("before"))
        self.tokens = {}

    def prepare(self):
        """The good tokens, and then what happens on the server before the attack."""
        if self.own:
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
            for kind, (name, path) in COOKIES.items():
                self.tokens[f"cookie_{kind}"] = self.client.get_cookie(name, path=path).value
        for action in self.recipe.get("before", []):
            getattr(self, f"_{action}")()

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
        log_in(self.client, self.user.username)

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
        self.kid, _signs = generate_key(self.target.path, self.target.algorithm, utcnow())

    def _keys_activate(self):
        activate_key(self.target.path, self.kid)

    def token(self):
        base = self.tokens.get(self.recipe["base"])
        return Forge(self.target.keys, base, self.tokens).run(self.recipe["steps"])

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
        name, path = COOKIES[kind]
        self.client.set_cookie(name, token, path=path)
        values = {
            "match": csrf,
            "match ": f"{csrf} ",
            "other": self.target.cookies("linus").get_cookie("csrf_access_token").value,
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

    def _by_cookie_twice(self, _send, token, request):
        name = COOKIES["access"][0]
        self.client = self.app.test_client(use_cookies=False)
        request["headers"]["Cookie"] = f"{name}={token}; {name}={self.tokens['other']}"

    def _by_header_and_cookie(self, send, token, request):
        if not self.recipe["base"].startswith("cookie_"):
            self.client = self.target.cookies(self.user.username)
        self._by_header(send, token, request)


@pytest.mark.parametrize(("algorithm", "recipe"), CASES)
def test_an_attack(target, algorithm, recipe, caplog):
    """It is answered as the catalogue says, and the untouched token still works."""
    attacked = target(algorithm)
    attack = Attack(attacked, recipe)
    with patch("socket.socket.connect", side_effect=AssertionError("nothing that a token names is ever fetched")):
        attack.prepare()
        token = attack.token()
        response = attack.send(token)

    judge(recipe, response, token, attack, caplog)
    assert attacked.client.get(f"{API}/users/me", headers=attacked.user.headers).status_code == 200


def judge(recipe, response, token, attack, caplog):
    expected = recipe["expect"]
    assert response.status_code in expected["status"], (recipe["why"], response.text[:300])
    if response.status_code >= 400 and recipe["send"].get("method", "GET") != "HEAD" and response.data:
        status, code = error(response)
        assert code in expected.get("error", [code])
        assert ("WWW-Authenticate" in response.headers) is (status == 401)
        assert not isinstance(token, str) or len(token) < 20 or token not in response.text
    if recipe.get("assert_body_empty"):
        assert response.data == b""
    if recipe.get("assert_user") == "base":
        assert response.json["id"] == attack.user.id
    if "assert_jti" in recipe:
        assert response.json["refresh_token"] == attack.tokens["successor"] or attack.target.algorithm == "ES256"
    if "assert_log_absent" in recipe:
        assert token not in caplog.text
        assert response.headers["Cache-Control"] == "no-store"


def test_the_catalogue_is_whole():
    """Every recipe is run under at least one of our algorithms."""
    used = {case.values[1]["id"] for case in CASES}

    assert used == {recipe["id"] for recipe in recipes()}
    assert len(used) > 250
