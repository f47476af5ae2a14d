"""Forged and malformed tokens, and the cache of verified tokens."""

import base64
import hmac
import json
from dataclasses import replace
from types import SimpleNamespace
from uuid import uuid4

import jwt
import pytest
import time_machine
from flask_jwt_extended import create_access_token, create_refresh_token, get_jwt, get_jwt_identity, jwt_required

from app import API_TITLE, create_app
from app.data.base import db
from app.data.types import utcnow
from app.tokens import issuing, verification
from app.tokens.caller import caller
from app.tokens.claims import MAX_LIFE
from app.tokens.guards import login_required
from app.users.models import User
from config import TestingConfig
from support.api import API, bearer, claims, error, log_in, me, refresh, sign_up, variant

CLAIMS = ("sub", "jti", "type", "fresh", "iat", "nbf", "exp", "iss", "aud", "sid", "is_admin")
MISSING = object()


@pytest.fixture
def forge(app, user):
    """Makes a token from the user's, with changed claims, headers or key."""

    def forge(*, header=None, key=None, algorithm="HS256", **changes):
        payload = claims(user.access_token) | changes
        payload = {name: value for name, value in payload.items() if value is not MISSING}
        head = {name: value for name, value in ({"kid": "secret"} | (header or {})).items() if value is not MISSING}
        # Not `jwt.encode`, which refuses some of these tokens.
        return jwt.PyJWS().encode(json.dumps(payload).encode(), key or app.config["JWT_SECRET_KEY"], algorithm, head)

    return forge


def now():
    return int(utcnow().timestamp())


def segment(value):
    return encoded(json.dumps(value).encode())


def encoded(text):
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@pytest.fixture
def sign(app):
    """Makes a token from any two texts, signed with our key."""

    def sign(head, body):
        signed = f"{encoded(head)}.{encoded(body)}"
        digest = hmac.digest(app.config["JWT_SECRET_KEY"].encode(), signed.encode(), "sha256")
        return f"{signed}.{encoded(digest)}"

    return sign


def test_the_forge_makes_good_tokens(client, forge):
    """The forge makes valid tokens if nothing is changed."""
    assert me(client, forge()).status_code == 200
    assert me(client, forge(x_unknown={"a": [1]})).status_code == 200  # RFC 7519 section 4: ignored


class TestSignature:
    def test_tampered(self, client, user):
        """A changed claim, a changed signature and a short signature are refused."""
        head, body, signature = user.access_token.split(".")
        promoted = segment(claims(user.access_token) | {"is_admin": True})
        flipped = ("A" if signature[0] != "A" else "B") + signature[1:]

        for token in (f"{head}.{promoted}.{signature}", f"{head}.{body}.{flipped}", f"{head}.{body}.AAAA"):
            assert error(me(client, token)) == (401, "invalid_token")
        assert me(client, user.access_token).status_code == 200

    @pytest.mark.parametrize("signature", ["", ".", "AAAA"])
    @pytest.mark.parametrize("algorithm", ["none", "None", "HS384", "RS256", "", None, 7])
    def test_of_another_algorithm(self, client, user, algorithm, signature):
        """A token with another algorithm is refused (RFC 8725 section 3.1)."""
        _head, body, _signature = user.access_token.split(".")
        head = segment({"alg": algorithm, "typ": "JWT", "kid": "secret"})

        assert error(me(client, f"{head}.{body}.{signature}")) == (401, "invalid_token")

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    def test_of_another_algorithm_with_our_key(self, client, forge, algorithm):
        """A token with another algorithm is refused even with our key."""
        assert error(me(client, forge(algorithm=algorithm))) == (401, "invalid_token")

    def test_by_another_key(self, client, forge):
        """A token signed with another key is refused."""
        assert error(me(client, forge(key="k" * 64))) == (401, "invalid_token")

    @pytest.mark.parametrize("kid", [MISSING, "", "other", "../secret", "secret\n"])
    def test_by_an_unknown_key(self, client, forge, kid):
        """A token with an unknown kid is refused."""
        assert error(me(client, forge(header={"kid": kid}))) == (401, "invalid_token")

    @pytest.mark.parametrize(
        "header",
        [{"jwk": {"kty": "oct", "k": "a2tra2tra2tr"}}, {"jku": "http://127.0.0.1:1/"}, {"x5u": "http://127.0.0.1:1/"}],
    )
    def test_by_a_key_in_the_token(self, client, forge, header):
        """A token that brings its own key is refused (RFC 8725 section 3.10)."""
        assert error(me(client, forge(key="k" * 64, header=header))) == (401, "invalid_token")

    @pytest.mark.parametrize(
        "header",
        [{"typ": "at+jwt"}, {"typ": "jwt"}, {"typ": None}, {"typ": 1}, {"cty": "JWT"}, {"zip": "DEF"}, {"x": "y"},
         {"kid": 7}, {"kid": None}, {"kid": ["secret"]}, {"crit": ["x"], "x": 1}, {"crit": []}, {"crit": "x"},
         {"b64": False}, {"b64": False, "crit": ["b64"]}],
        ids=str,
    )  # fmt: skip
    def test_with_an_invalid_header(self, client, user, sign, header):
        """Another `typ`, an unknown header member or a malformed kid is refused."""
        head = {"alg": "HS256", "typ": "JWT", "kid": "secret"} | header

        token = sign(json.dumps(head).encode(), json.dumps(claims(user.access_token)).encode())

        assert error(me(client, token)) == (401, "invalid_token")


class TestText:
    """Tokens signed with our key, whose text is not the JSON that we write."""

    HEAD = b'{"alg":"HS256","kid":"secret","typ":"JWT"}'

    @pytest.fixture
    def body(self, user):
        return json.dumps(claims(user.access_token)).encode()

    def test_the_forge_makes_good_ones(self, client, sign, body):
        """An unchanged token is valid."""
        assert me(client, sign(self.HEAD, body)).status_code == 200

    @pytest.mark.parametrize("text", [b"", b"null", b"[]", b'"x"', b"1", b"{}", b"{", b"\xff", b"[" * 2000])
    def test_is_an_object(self, client, sign, body, text):
        """Header and claims must be JSON objects (RFC 7519 section 7.2)."""
        assert error(me(client, sign(self.HEAD, text))) == (401, "invalid_token")
        assert error(me(client, sign(text, body))) == (401, "invalid_token")

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
    def test_is_utf_8(self, client, sign, body, encoding):
        """Header and claims are UTF-8 without BOM (RFC 7519 section 3, RFC 8259 section 8.1)."""
        assert error(me(client, sign(self.HEAD, body.decode().encode(encoding)))) == (401, "invalid_token")
        assert error(me(client, sign(self.HEAD.decode().encode(encoding), body))) == (401, "invalid_token")

    @pytest.mark.parametrize("member", [b'"sub":"1"', b'"is_admin":true', b'"x":{"a":1,"a":2}'])
    def test_names_no_claim_twice(self, client, sign, body, member):
        """A token with the same claim twice is refused (RFC 8725 section 2.4)."""
        assert error(me(client, sign(self.HEAD, b"{" + member + b"," + body[1:]))) == (401, "invalid_token")

    @pytest.mark.parametrize("member", [b'"alg":"none"', b'"kid":"other"'])
    def test_names_no_header_twice(self, client, sign, body, member):
        """A token with the same header twice is refused (RFC 7515 section 4)."""
        assert error(me(client, sign(b"{" + member + b"," + self.HEAD[1:], body))) == (401, "invalid_token")

    @pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"1e999", b"[" * 1200 + b"]" * 1200])
    def test_is_json(self, client, sign, body, value):
        """An invalid value is refused even in a claim that we ignore."""
        assert error(me(client, sign(self.HEAD, b'{"x":' + value + b"," + body[1:]))) == (401, "invalid_token")


class TestClaims:
    @pytest.mark.parametrize("name", CLAIMS)
    def test_each_is_required(self, client, forge, name):
        """An access token without one of our claims is refused."""
        assert error(me(client, forge(**{name: MISSING}))) == (401, "invalid_token")

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("sub", ["", "0", "-1", "01", "1.0", "١", " 1", "x", "9" * 19, "9" * 5000, None, ["1"]]),
            ("jti", ["", "x", "0" * 36, str(uuid4()).upper(), uuid4().hex, None, 7, [], {}]),
            ("sid", ["", "x", str(uuid4()).upper(), None, 7, []]),
            ("type", ["refresh", "reset", "ACCESS", "", None, 1, ["access"], {}]),
            ("fresh", ["true", 1, 0, None, [], {}, 9e99]),
            ("is_admin", ["true", 1, None, [True]]),
            ("iat", ["1", None, True, 1.5, [], -(10**30)]),
            ("nbf", ["1", None, True, 1.5, []]),
            ("exp", ["9999999999", None, True, 9999999999.5, [], 10**30]),
            ("iss", ["", "other", "latchkey ", None, ["latchkey"], 1]),
            ("aud", ["", "other", None, ["latchkey-api"], ["other", "latchkey-api"], 1]),
        ],
    )
    def test_must_have_our_type_and_spelling(self, client, forge, user, name, values):
        """A claim with another type or spelling is refused."""
        for value in values:
            assert error(me(client, forge(**{name: value}))) == (401, "invalid_token"), value
        assert me(client, user.access_token).status_code == 200

    @pytest.mark.parametrize("name", CLAIMS)
    def test_each_is_required_in_a_refresh_token(self, client, user, forge, name):
        """A refresh token without one of our claims is refused."""
        forged = claims(user.refresh_token) | {name: MISSING}

        assert error(refresh(client, forge(**forged))) == (401, "invalid_token")
        assert refresh(client, user.refresh_token).status_code == 200

    def test_expired(self, client, forge):
        """A token is valid within the leeway after `exp`, and then gets `token_expired`."""
        assert me(client, forge(exp=now() - 8)).status_code == 200
        response = me(client, forge(exp=now() - 12))
        assert error(response) == (401, "token_expired")
        assert response.json["message"] == "The token has expired."
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]

    def test_an_access_token_expires_by_itself(self, client, user):
        """An access token expires after fifteen minutes and the leeway."""
        with time_machine.travel(claims(user.access_token)["exp"] + 9, tick=False) as clock:
            assert me(client, user.access_token).status_code == 200
            clock.shift(3)
            assert error(me(client, user.access_token)) == (401, "token_expired")

    def test_not_yet_valid(self, client, forge):
        """A token from the future is refused unless it is within the leeway."""
        assert me(client, forge(nbf=now() + 5, iat=now() + 5)).status_code == 200
        assert error(me(client, forge(nbf=now() + 60))) == (401, "invalid_token")
        assert error(me(client, forge(iat=now() + 60))) == (401, "invalid_token")

    def test_a_longer_life_than_we_issue(self, client, user, forge):
        """A token that lives longer than any setting allows is refused."""
        issued = now()
        refresh_claims = claims(user.refresh_token) | {"iat": issued, "nbf": issued}
        for kind, longest in MAX_LIFE.items():
            send, changes = (me, {"iat": issued}) if kind == "access" else (refresh, refresh_claims)
            too_long = forge(**changes | {"exp": issued + longest + 2})
            assert error(send(client, too_long)) == (401, "invalid_token")
            assert send(client, forge(**changes | {"exp": issued + longest + 1})).status_code == 200

    def test_a_life_of_before_a_change(self, another, user):
        """A token that was issued before the settings were lowered stays valid until it ends."""
        client = another(JWT_ACCESS_TOKEN_EXPIRES=60, JWT_REFRESH_TOKEN_EXPIRES=3600).test_client()

        assert me(client, user.access_token).status_code == 200
        assert refresh(client, user.refresh_token).status_code == 200

    def test_the_audiences(self, user):
        """An access token is for the API, a refresh token for the issuer alone."""
        assert claims(user.access_token)["aud"] == "latchkey-api"
        assert claims(user.refresh_token)["aud"] == claims(user.refresh_token)["iss"] == "latchkey"

    @pytest.mark.parametrize("issuer", ["latchkey", "https://auth.example.com"])
    def test_the_audience_of_the_release_before(self, another, user, forge, issuer):
        """Tokens with the default `aud` of release 0.1.0 stay valid, whatever the issuer is."""
        client = another(JWT_ISSUER=issuer).test_client()
        old = {"iss": issuer, "aud": "latchkey"}

        assert me(client, forge(**old)).status_code == 200
        assert refresh(client, forge(**claims(user.refresh_token) | old)).status_code == 200
        assert error(me(client, forge(**old | {"aud": "other"}))) == (401, "invalid_token")

    def test_of_another_session(self, client, forge):
        """A token with the session of another user is refused."""
        other = sign_up(client, "linus")

        assert error(me(client, forge(sid=claims(other.access_token)["sid"]))) == (401, "token_revoked")
        assert error(me(client, forge(sub=str(other.id)))) == (401, "token_revoked")
        assert error(me(client, forge(sid=str(uuid4())))) == (401, "token_revoked")

    def test_a_claim_alone_makes_no_admin(self, client, forge):
        """The claim `is_admin` gives no rights if the user is no administrator."""
        response = client.get(f"{API}/users", headers=bearer(forge(is_admin=True)))

        assert error(response) == (403, "admin_required")


class TestHeader:
    @pytest.mark.parametrize(
        "value", ["", " ", ",", ", ,", ",\t,", "Basic x", "Basic x, Bearer y", "Token x", "JWT x", "Bearerx", "é"]
    )
    def test_another_scheme_is_no_token(self, client, value):
        """A header with another scheme counts as no token."""
        response = client.get(f"{API}/users/me", headers={"Authorization": value})

        assert error(response) == (401, "authorization_required")
        assert response.headers["WWW-Authenticate"] == f'Bearer realm="{API_TITLE}"'

    @pytest.mark.parametrize(
        "value",
        ["Bearer", "Bearer ", "Bearer x", "Bearer x.y", "Bearer x.y.z", "Bearer a.b.c d", "Bearer a.b.c, Bearer a.b.c",
         "Bearer a.b.c.d.e", "Bearer é.b.c", "Bearer a+b/c=.b.c", "bearer x.y.z", "Bearer " + "a.b." + "c" * 5000,
         "Bearer e30.e30.", "Bearer ...", "Bearer bnVsbA.bnVsbA.AAAA", "Bearer W10.W10.AAAA"],
    )  # fmt: skip
    @pytest.mark.parametrize("path", ["users/me", "things"])
    def test_a_malformed_token_is_invalid(self, client, path, value):
        """A malformed token gets 401, also where a token is optional."""
        response = client.get(f"{API}/{path}", headers={"Authorization": value})

        assert error(response) == (401, "invalid_token")
        challenge = response.headers["WWW-Authenticate"]
        assert challenge.startswith(f'Bearer realm="{API_TITLE}", error="invalid_token"')

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "])
    def test_the_scheme_ignores_case(self, client, user, scheme):
        """The scheme ignores case (RFC 9110 section 11.1)."""
        headers = {"Authorization": f"{scheme} {user.access_token}"}

        assert client.get(f"{API}/users/me", headers=headers).status_code == 200

    def test_the_librarys_own_decorator_answers_in_our_shape(self, app, user, as_stale_user, forge):
        """`@jwt_required` makes our checks and has our error shape."""
        config = TestingConfig()
        config.DATABASE_URL = app.config["DATABASE_URL"]
        config.JWT_SECRET_KEY = app.config["JWT_SECRET_KEY"]
        theirs = create_app(config)
        theirs.add_url_rule("/fresh", view_func=jwt_required(fresh=True)(lambda: str(caller.id)))
        client = theirs.test_client()

        assert error(client.get("/fresh")) == (401, "authorization_required")
        assert error(client.get("/fresh", headers=bearer("x.y.z"))) == (401, "invalid_token")
        assert error(client.get("/fresh", headers=bearer(forge(header={"x": "y"})))) == (401, "invalid_token")
        assert error(client.get("/fresh", headers=bearer(forge(exp=now() + 86_402)))) == (401, "invalid_token")
        assert error(client.get("/fresh", headers=as_stale_user)) == (401, "fresh_token_required")
        assert client.get("/fresh", headers=user.headers).text == str(user.id)
        with theirs.app_context():
            db.engine.dispose()

    def test_nowhere_else(self, client, user):
        """By default, a token in the query or the body counts as no token."""
        by_query = client.get(f"{API}/users/me?jwt={user.access_token}")
        by_body = client.post(f"{API}/auth/logout", json={"access_token": user.access_token})

        assert error(by_query) == error(by_body) == (401, "authorization_required")


class TestVerification:
    """The cache of verified tokens."""

    @pytest.fixture
    def verifications(self, app, monkeypatch):
        """The tokens whose signature was verified, in order."""
        done = []
        decode = jwt.PyJWT.decode

        def count(self, token, *rest, **more):
            done.append(token)
            return decode(self, token, *rest, **more)

        monkeypatch.setattr(jwt.PyJWT, "decode", count)
        app.extensions["keys"].current().verified.clear()
        return done

    def test_is_done_once(self, client, user, verifications):
        """A token is verified once, however often it is used."""
        assert [me(client, user.access_token).status_code for _ in range(3)] == [200] * 3

        assert verifications == [user.access_token]

    def test_own_tokens_are_not_verified(self, client, user, verifications):
        """A process does not verify the tokens that it has signed itself."""
        renewed = refresh(client, user.refresh_token).json

        assert me(client, renewed["access_token"]).status_code == 200
        assert refresh(client, renewed["refresh_token"]).status_code == 200
        assert verifications == [user.refresh_token]

    def test_tokens_of_replaced_keys_are_not_cached(self, app, client, user, verifications, monkeypatch):
        """A token signed with keys that were replaced meanwhile is not cached."""
        ring = app.extensions["keys"]
        of_before = ring.current()

        def sign_and_change(*args, **kwargs):
            monkeypatch.setattr(ring, "_current", replace(of_before, keys={}, verified={}))
            return jwt.encode(*args, **kwargs)

        monkeypatch.setattr(issuing, "jwt", SimpleNamespace(encode=sign_and_change))
        log_in(client, user.username)

        assert ring.current().verified == {}

    def test_expiry_is_checked_each_time(self, client, user, verifications):
        """A cached token is refused at the second of its expiry."""
        expires = claims(user.access_token)["exp"] + TestingConfig.JWT_LEEWAY
        for offset, expected in ((-1, 200), (0, 401), (-1, 200)):
            with time_machine.travel(expires + offset, tick=False):
                assert me(client, user.access_token).status_code == expected
        assert verifications == [user.access_token]

    def test_a_changed_token_is_verified_again(self, client, user, verifications):
        """A token with one changed letter in its signature is verified again and refused."""
        me(client, user.access_token)
        head, _, signature = user.access_token.rpartition(".")
        changed = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"

        assert error(me(client, changed)) == (401, "invalid_token")
        assert len(verifications) == 2

    def test_the_type_is_checked_each_time(self, client, user, verifications):
        """A cached access token is not accepted as a refresh token, or the reverse."""
        assert me(client, user.access_token).status_code == 200
        assert error(refresh(client, user.access_token)) == (401, "invalid_token")
        assert error(me(client, user.refresh_token)) == (401, "invalid_token")
        assert refresh(client, user.refresh_token).status_code == 200

    def test_has_a_maximum_size(self, app, client, user, verifications, monkeypatch):
        """The cache has a maximum size; a token that was dropped is verified again."""
        monkeypatch.setattr(verification, "MAX_VERIFIED", 2)
        tokens = [log_in(client, "grace").access_token for _ in range(3)]

        assert [me(client, token).status_code for token in tokens * 2] == [200] * 6
        assert len(app.extensions["keys"].current().verified) <= 2
        assert len(verifications) > 3

    def test_the_library_makes_the_same_tokens(self, app, user):
        """The library's functions make tokens with our header and claims, except the session."""
        with app.test_request_context():
            whom = db.session.get(User, user.id)
            theirs = {"access": create_access_token(whom, fresh=True), "refresh": create_refresh_token(whom)}

        for kind, ours in (("access", user.access_token), ("refresh", user.refresh_token)):
            assert jwt.get_unverified_header(theirs[kind]) == jwt.get_unverified_header(ours)
            assert claims(theirs[kind]).keys() | {"sid"} == claims(ours).keys()
            for name in ("sub", "iss", "aud", "type", "fresh", "is_admin"):
                assert claims(theirs[kind])[name] == claims(ours)[name]

    def test_the_librarys_own_functions_know_the_token(self, app, user):
        """`get_jwt()` and `get_jwt_identity()` work in a view behind our guard."""
        theirs = variant(app)
        theirs.add_url_rule("/who", view_func=login_required(lambda: [get_jwt()["jti"], get_jwt_identity()]))

        told = theirs.test_client().get("/who", headers=user.headers).json

        assert told == [claims(user.access_token)["jti"], str(user.id)]
        with theirs.app_context():
            db.engine.dispose()
