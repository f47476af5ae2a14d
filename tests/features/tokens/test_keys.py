"""Key sets: the commands, the file, key rotation and the published keys."""

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt as foreign_jwt
from joserfc.jwk import KeySet as ForeignKeySet
from jwt import get_unverified_header
from jwt.algorithms import RSAAlgorithm

from app import create_app
from app.data.base import db
from app.data.types import utcnow
from app.tokens import keys
from app.tokens.issuing import Grant, issue_tokens
from app.tokens.key_changes import activate_key, generate_key, retire_key
from app.tokens.key_set import KINDS, KeySetError, read_key_set
from app.tokens.keys import load_keys
from config import TestingConfig
from support.api import claims, error, log_in, me, refresh

ROOT = Path(__file__).parents[3]
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}


@pytest.fixture
def path(tmp_path):
    """The path of a key set file that does not exist yet."""
    return tmp_path / "keys.json"


@pytest.fixture
def run(path):
    """Runs `flask keys …` with that file."""
    config = TestingConfig()
    config.JWT_KEYSET = str(path)
    runner = create_app(config).test_cli_runner()

    def run(*args):
        result = runner.invoke(args=["keys", *args])
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def keyed(app, another, path, monkeypatch):
    """An application with a key set, which checks the file at every request."""
    monkeypatch.setattr(keys, "CHECK_EVERY", 0)
    generate_key(path, "EdDSA", utcnow())
    return another(JWT_KEYSET=str(path))


def add_key(path, algorithm="ES256"):
    return generate_key(path, algorithm, utcnow())[0]


class TestCommands:
    @pytest.mark.parametrize("algorithm", KINDS)
    def test_the_first_key_signs(self, run, path, algorithm):
        """The first generated key signs, and only the owner may read its file."""
        code, kid, _ = run("generate", "--algorithm", algorithm)

        assert code == 0
        assert read_key_set(path).signing_kid == kid.strip()
        assert read_key_set(path).keys[kid.strip()].algorithm == algorithm
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_the_next_one_verifies_until_it_is_activated(self, run, path):
        """A second key verifies until it is activated; a signing key cannot be retired."""
        first = run("generate", "--algorithm", "EdDSA")[1].strip()
        code, second, hint = run("generate", "--algorithm", "ES256")
        second = second.strip()
        assert read_key_set(path).signing_kid == first
        assert f"flask keys activate {second}" in hint

        assert run("activate", second)[0] == 0
        assert read_key_set(path).signing_kid == second
        code, _, told = run("retire", second)
        assert (code, "activate another one first" in told) == (1, True)
        assert run("retire", first)[0] == 0
        assert read_key_set(path).keys.keys() == {second}

    def test_lists_them_without_showing_them(self, run, path):
        """`flask keys list` shows kid, algorithm and role, but no secret."""
        signs = run("generate", "--algorithm", "EdDSA")[1].strip()
        verifies = run("generate", "--algorithm", "HS256")[1].strip()

        code, listed, _ = run("list")

        assert (code, listed.split()) == (0, [signs, "EdDSA", "signs", verifies, "HS256", "verifies"])
        secrets = [jwk[name] for jwk in json.loads(path.read_text())["keys"] for name in PRIVATE & jwk.keys()]
        assert len(secrets) == 2
        assert not any(secret in listed for secret in secrets)

    @pytest.mark.parametrize("command", ["activate", "retire"])
    def test_an_unknown_key(self, run, command):
        """An unknown kid is refused with one line that names `flask keys list`."""
        run("generate", "--algorithm", "EdDSA")

        code, _, told = run(command, "nobody")

        assert (code, told.count("\n")) == (1, 1)
        assert "flask keys list" in told

    def test_an_unknown_algorithm(self, run):
        """An unknown algorithm is refused with the list of known ones."""
        code, _, told = run("generate", "--algorithm", "none")

        assert code == 2
        assert "EdDSA" in told

    def test_need_jwt_keyset(self, runner):
        """Without JWT_KEYSET the commands fail and name the setting."""
        result = runner.invoke(args=["keys", "list"])

        assert result.exit_code == 1
        assert "JWT_KEYSET is not set" in result.stderr

    def test_an_unwritable_file(self, tmp_path):
        """If the file cannot be written, the command fails with one line."""
        config = TestingConfig()
        config.JWT_KEYSET = str(tmp_path / "nowhere" / "keys.json")

        result = create_app(config).test_cli_runner().invoke(args=["keys", "generate", "--algorithm", "EdDSA"])

        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert "cannot be written" in result.stderr

    def test_parallel_changes(self, path):
        """Parallel changes lose no key and leave no temporary file."""
        add_key(path)
        with ThreadPoolExecutor(8) as pool:
            kids = set(pool.map(lambda _number: add_key(path, "HS256"), range(16)))

        assert kids < read_key_set(path).keys.keys()
        assert [file.name for file in path.parent.iterdir()] == ["keys.json"]

    def test_a_change_keeps_the_mode(self, path):
        """A change keeps the mode of the file, and a symbolic link to it."""
        add_key(path)
        path.chmod(0o640)
        link = path.with_name("link.json")
        link.symlink_to(path)

        add_key(link)

        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert link.is_symlink()
        assert len(read_key_set(path).keys) == 2

    def test_a_weak_key_can_be_replaced(self, run, path):
        """A set with a weak key can be repaired with generate, activate and retire."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(document({"kty": "oct", "alg": "HS256", "k": "c2hvcnQ"})))

        code, kid, _ = run("generate", "--algorithm", "EdDSA")
        assert code == 0
        assert run("activate", kid.strip())[0] == 0
        assert run("retire", "k")[0] == 0

        assert read_key_set(path).keys.keys() == {kid.strip()}

    def test_the_secret_may_still_sign(self, run, path, app, another, user):
        """JWT_SECRET_KEY can sign while the set is copied to every machine."""
        kid = run("generate", "--algorithm", "EdDSA")[1].strip()
        assert run("activate", "secret")[0] == 0
        assert run("list")[1].splitlines()[1] == "secret  HS256  signs (JWT_SECRET_KEY)"
        client = another(JWT_KEYSET=str(path)).test_client()
        assert get_unverified_header(log_in(client, user.username).access_token)["kid"] == "secret"

        alone = TestingConfig()
        alone.JWT_KEYSET, alone.JWT_SECRET_KEY = str(path), ""
        with pytest.raises(KeySetError, match="JWT_SECRET_KEY as the signing key"):
            load_keys(create_app(alone))
        assert run("activate", kid)[0] == 0
        load_keys(create_app(alone))

    def test_a_change_that_fails_leaves_the_file_as_it_was(self, path, monkeypatch):
        """A change that fails, such as on a full disk, leaves the file unchanged."""
        add_key(path)
        before = path.read_bytes()

        def full(*_args, **_options):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            add_key(path)

        assert path.read_bytes() == before
        assert [file.name for file in path.parent.iterdir()] == ["keys.json"]


def document(*changes, **members):
    """A set of one valid key with the given changes."""
    jwk = KINDS["EdDSA"].generate() | {"kid": "k", "alg": "EdDSA"}
    for change in changes:
        jwk = {name: value for name, value in {**jwk, **change}.items() if value is not None}
    return {"signing_kid": "k", "keys": [jwk]} | members


class TestFile:
    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("", "malformed"),
            ("{", "malformed"),
            ("[]", 'no list "keys"'),
            ('{"keys": [1]}', 'no list "keys"'),
            ('{"keys": [], "keys": []}', "malformed"),
            ({"keys": []}, "no signing key"),
            (document(signing_kid=None), "no signing key"),
            (document(signing_kid="other"), "no signing key"),
            (document({"kid": None}), "without a kid"),
            (document({"kid": "a b"}), "without a kid"),
            (document({"alg": "none"}), "alg is none of"),
            (document({"alg": ["EdDSA"]}), "alg is none of"),
            (document({"alg": "ES256"}), "does not fit ES256"),
            (document({"crv": "Ed448"}), "does not fit EdDSA"),
            (document({"d": None}), "without its private part"),
            (document({"d": "AAAA"}), "malformed"),
            (document({"d": 7}), "malformed"),
            (document({"kty": "oct", "alg": "HS256", "k": "c2hvcnQ"}), "weak key"),
            (document({"kid": "secret"}, signing_kid="secret"), "reserved kid secret"),
        ],
    )
    def test_that_cannot_be_used(self, path, content, told):
        """An invalid file is refused with its problem, without showing a key."""
        path.touch(mode=0o600)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

        with pytest.raises(KeySetError) as refusal:
            read_key_set(path)

        assert told in str(refusal.value)
        assert "AAAA" not in str(refusal.value)

    def test_that_has_a_short_rsa_key(self, path):
        """An RSA key below 2,048 bits is refused (RFC 7518 section 3.3)."""
        breakable = rsa.generate_private_key(65537, 1024)  # noqa: S505
        jwk = RSAAlgorithm.to_jwk(breakable, as_dict=True) | {"kid": "k", "alg": "RS256"}
        path.touch(mode=0o600)
        path.write_text(json.dumps({"signing_kid": "k", "keys": [jwk]}))

        with pytest.raises(KeySetError, match="weak key"):
            read_key_set(path)

    def test_that_has_a_kid_twice(self, path):
        """A set with the same kid twice is refused."""
        one = document()
        path.touch(mode=0o600)
        path.write_text(json.dumps(one | {"keys": one["keys"] * 2}))

        with pytest.raises(KeySetError, match="a kid twice"):
            read_key_set(path)

    @pytest.mark.parametrize("mode", [0o604, 0o620, 0o666])
    def test_that_is_open_to_others(self, path, mode):
        """A file that others may read or write is refused."""
        add_key(path)
        path.chmod(mode)

        with pytest.raises(KeySetError, match="chmod 600"):
            read_key_set(path)

    @pytest.mark.programs
    @pytest.mark.parametrize("broken", ["missing", "open", "malformed", "a folder"])
    def test_that_is_broken_stops_the_start(self, path, broken):
        """With a broken key set, a server exits with one line that names JWT_KEYSET."""
        if broken == "a folder":
            path.mkdir(mode=0o700)
        elif broken != "missing":
            path.touch(mode=0o600 if broken == "malformed" else 0o644)
        env = {"PATH": "/usr/bin:/bin", "APP_ENV": "production", "JWT_KEYSET": str(path)}

        run = subprocess.run(
            [sys.executable, "-c", "import wsgi"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )

        assert run.returncode == 1
        assert run.stderr.startswith("cannot start: JWT_KEYSET: ")
        assert run.stderr.count("\n") == 1

    @pytest.mark.programs
    def test_is_enough_in_production(self, path):
        """With a key set, production starts without JWT_SECRET_KEY."""
        add_key(path)
        env = {"PATH": "/usr/bin:/bin", "APP_ENV": "production", "JWT_KEYSET": str(path)}

        run = subprocess.run(
            [sys.executable, "-c", "import wsgi"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )

        assert (run.returncode, run.stderr) == (0, "")

    def test_no_key_at_all(self):
        """Without a key set and JWT_SECRET_KEY, the keys do not load."""
        config = TestingConfig()
        config.JWT_SECRET_KEY = ""

        with pytest.raises(KeySetError, match="JWT_SECRET_KEY"):
            load_keys(create_app(config))

    @pytest.mark.parametrize("breaking", ["{", ""])
    def test_a_replacement_worker(self, path, caplog, monkeypatch, breaking):
        """A replacement worker uses the last valid key set if the file is broken."""
        kid = add_key(path)
        monkeypatch.setattr(keys, "sound_key_set", path.read_bytes())
        path.write_text(breaking)
        config = TestingConfig()
        config.JWT_KEYSET = str(path)
        app = create_app(config)

        load_keys(app)

        with app.app_context():
            assert keys.signing_key().kid == kid
        assert "stay in use" in caplog.text


class TestSmallRsaKeys:
    @pytest.fixture
    def small(self, path):
        """A set whose signing key has 2,048 bits."""
        jwk = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True) | {
            "kid": "small",
            "alg": "RS256",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps({"signing_kid": "small", "keys": [jwk]}))

    def test_still_signs(self, another, path, small, user, caplog):
        """A signing key of 2,048 bits still signs, with a warning in the log and in the doctor."""
        app = another(JWT_KEYSET=str(path))
        client = app.test_client()

        assert me(client, log_in(client, user.username).access_token).status_code == 200
        assert "the signing key small has fewer than 3072 bits" in caplog.text
        assert "the signing key small has fewer than 3072 bits" in app.test_cli_runner().invoke(args=["doctor"]).stdout

    def test_is_replaced(self, run, another, path, small, user):
        """A new key replaces it; it then verifies and cannot be activated again."""
        client = another(JWT_KEYSET=str(path)).test_client()
        token = log_in(client, user.username).access_token
        kid = run("generate", "--algorithm", "RS256")[1].strip()
        assert run("activate", kid)[0] == 0

        code, _, told = run("activate", "small")

        assert (code, read_key_set(path).signing_kid) == (1, kid)
        assert "small has fewer than 3072 bits, so it only verifies" in told
        assert me(another(JWT_KEYSET=str(path)).test_client(), token).status_code == 200


class TestRotation:
    def test_a_token_is_valid_until_its_key_is_retired(self, client, keyed, path, user):
        """Every token stays valid through rotations until its own key is retired."""
        first = read_key_set(path).signing_kid
        rotating = keyed.test_client()
        assert me(rotating, user.access_token).status_code == 200  # signed with the secret
        old = log_in(rotating, user.username)
        assert get_unverified_header(old.access_token) == {"alg": "EdDSA", "kid": first, "typ": "JWT"}

        second = add_key(path, "ES256")
        assert get_unverified_header(log_in(rotating, user.username).access_token)["kid"] == first
        activate_key(path, second)
        new = log_in(rotating, user.username)
        assert get_unverified_header(new.access_token)["kid"] == second
        for token in (user.access_token, old.access_token, new.access_token):
            assert me(rotating, token).status_code == 200
        renewed = refresh(rotating, old.refresh_token).json
        assert get_unverified_header(renewed["refresh_token"])["kid"] == second

        retire_key(path, first)
        assert error(me(rotating, old.access_token)) == (401, "invalid_token")
        for token in (user.access_token, new.access_token, renewed["access_token"]):
            assert me(rotating, token).status_code == 200

    @pytest.mark.parametrize("breaking", ["write", "open", "remove"])
    def test_a_set_that_breaks_leaves_the_old_keys_in_force(self, keyed, path, user, caplog, breaking):
        """A broken set is logged once and ignored; a repaired one is used."""
        rotating = keyed.test_client()
        token = log_in(rotating, user.username).access_token
        kept = path.read_text()
        if breaking == "write":
            path.write_text("{")
        elif breaking == "open":
            path.chmod(0o644)
        else:
            path.unlink()

        for _ in range(3):
            assert me(rotating, token).status_code == 200
        assert caplog.text.count("The previous keys stay in use.") == 1

        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(kept)
        second = add_key(path)
        activate_key(path, second)
        assert get_unverified_header(log_in(rotating, user.username).access_token)["kid"] == second

    def test_an_unknown_kid_is_looked_up_at_once(self, app, another, path, user, monkeypatch):
        """An unknown kid makes a worker read the file at once."""
        add_key(path)
        one, two = (another(JWT_KEYSET=str(path)) for _ in range(2))
        assert me(two.test_client(), log_in(one.test_client(), user.username).access_token).status_code == 200

        activate_key(path, add_key(path))
        with one.app_context():
            load_keys(one)
        token = log_in(one.test_client(), user.username).access_token

        assert me(two.test_client(), token).status_code == 200

    def test_a_file_is_not_read_for_every_request(self, keyed, path, user, monkeypatch):
        """Between two checks, a request does not look at the file."""
        rotating = keyed.test_client()
        token = log_in(rotating, user.username).access_token
        monkeypatch.setattr(keys, "CHECK_EVERY", 1000)
        monkeypatch.setattr(keys, "_version", lambda _path: pytest.fail("looked"))

        assert me(rotating, token).status_code == 200

    @pytest.mark.parametrize("algorithm", KINDS)
    def test_a_key_of_each_kind_signs_for_all(self, app, another, path, user, algorithm):
        """Login, refresh and access work with each kind of key."""
        add_key(path, algorithm)
        client = another(JWT_KEYSET=str(path)).test_client()
        account = log_in(client, user.username)

        first, again = (refresh(client, account.refresh_token).json for _ in range(2))

        assert get_unverified_header(account.access_token)["alg"] == algorithm
        assert claims(first["refresh_token"])["jti"] == claims(again["refresh_token"])["jti"]
        assert me(client, again["access_token"]).status_code == 200


class TestPublicKeys:
    URL = "/.well-known/jwks.json"

    def test_a_secret_is_not_among_them(self, client):
        """JWT_SECRET_KEY is not published."""
        assert client.get(self.URL).json == {"keys": []}

    def test_only_public_members_are_shown(self, keyed, path):
        """The public members of every asymmetric key are published, and nothing else."""
        kids = {kid: algorithm for algorithm in KINDS for kid in [add_key(path, algorithm)]}

        shown = keyed.test_client().get(self.URL).json["keys"]

        assert {jwk["kid"] for jwk in shown} >= {kid for kid, algorithm in kids.items() if algorithm != "HS256"}
        assert {jwk["alg"] for jwk in shown} == {"EdDSA", "ES256", "RS256"}
        assert not any(PRIVATE & jwk.keys() for jwk in shown)
        assert {jwk["use"] for jwk in shown} == {"sig"}

    def test_a_wrong_if_match(self, keyed):
        """A wrong `If-Match` gets 412, which caches must not store."""
        response = keyed.test_client().get(self.URL, headers={"If-Match": '"x"'})

        assert error(response) == (412, "precondition_failed")
        assert response.headers["Cache-Control"] == "no-store"

    def test_may_be_cached(self, keyed):
        """The keys may be cached for five minutes, and are revalidated by ETag."""
        client = keyed.test_client()
        first = client.get(self.URL)
        assert first.headers["Cache-Control"] == "public, max-age=300"

        again = client.get(self.URL, headers={"If-None-Match": first.headers["ETag"]})

        assert (again.status_code, again.data) == (304, b"")

    @pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 gives it another name
    @pytest.mark.parametrize("algorithm", [name for name in KINDS if name != "HS256"])
    def test_another_library_verifies_our_tokens_with_them(self, app, another, path, user, algorithm):
        """Another library verifies our tokens with the JWKS, and refuses a changed one."""
        add_key(path, algorithm)
        client = another(JWT_KEYSET=str(path)).test_client()
        token = log_in(client, user.username).access_token
        published = ForeignKeySet.import_key_set(client.get(self.URL).json)

        read = foreign_jwt.decode(token, published, algorithms=[algorithm])

        assert read.claims["sub"] == str(user.id)
        assert read.header["kid"] in {key.kid for key in published.keys}
        head, body, signature = token.split(".")
        with pytest.raises(Exception, match="bad_signature"):
            foreign_jwt.decode(f"{head}.{body}.{'A' * 10}{signature[10:]}", published, algorithms=[algorithm])


@pytest.mark.parametrize("algorithm", KINDS)
def test_every_bit_counts(path, algorithm):
    """Every token with one flipped bit is refused before the database is asked."""
    add_key(path, algorithm)
    config = TestingConfig()
    config.JWT_KEYSET = str(path)
    app = create_app(config)
    client = app.test_client()
    with app.app_context():
        grant = Grant(uuid4(), None, utcnow(), utcnow() + timedelta(days=1))
        token = issue_tokens(SimpleNamespace(id=1, is_admin=False), grant, fresh=True)["access_token"]

    for place, character in enumerate(token):
        for bit in range(7) if algorithm == "HS256" else (place % 7,):  # one bit per character for long signatures
            flipped = chr(ord(character) ^ (1 << bit))
            if flipped not in "\r\n":  # they would end the header
                forged = token[:place] + flipped + token[place + 1 :]
                assert error(me(client, forged)) == (401, "invalid_token"), (place, bit)
    assert error(me(client, token)) == (503, "database_unavailable")
    with app.app_context():
        db.engine.dispose()
