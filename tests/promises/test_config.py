"""Settings: defaults, sources, checks, and the messages of a refused start."""

import base64
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Annotated, ClassVar, get_args, get_origin, get_type_hints

import pytest
from marshmallow.validate import Range

import config
from app import create_app
from app.data.base import db
from config import Config, ConfigError, DevelopmentConfig, ProductionConfig, TestingConfig, load_config
from config_secrets import secret_problem
from support.serving import copy_of_the_project, environment

ROOT = Path(__file__).parents[2]
HINTS = get_type_hints(Config, include_extras=True)
SETTINGS = [name for name, hint in HINTS.items() if get_origin(hint) is not ClassVar]
RANGES = {
    name: get_args(hint)[1]
    for name, hint in HINTS.items()
    if get_origin(hint) is Annotated and isinstance(get_args(hint)[1], Range)
}
RANDOM = (bytes.hex, base64.b64encode, base64.urlsafe_b64encode, base64.b32encode, base64.b85encode)
SECRET = secrets.token_urlsafe(48)  # generated, because a secret in this repository would be public


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    """Hide the secret and the `.env` of this checkout."""
    monkeypatch.setattr(config, "INSTANCE", tmp_path / "instance")
    monkeypatch.setattr(config, "ROOT", tmp_path)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def production(monkeypatch):
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("JWT_SECRET_KEY", SECRET)


def refusal():
    with pytest.raises(ConfigError) as refused:
        load_config()
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)
    return str(refused.value)


class TestLoadConfig:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            (None, DevelopmentConfig),
            ("development", DevelopmentConfig),
            ("testing", TestingConfig),
            ("production", ProductionConfig),
        ],
    )
    def test_app_env_picks_the_class(self, monkeypatch, name, kind):
        """APP_ENV selects the class of settings; the default is development."""
        monkeypatch.setenv("JWT_SECRET_KEY", SECRET)
        if name:
            monkeypatch.setenv("APP_ENV", name)

        assert type(load_config()) is kind

    @pytest.mark.parametrize("name", ["prod", "", "Production", "production "])
    def test_an_unknown_app_env_is_refused(self, monkeypatch, name):
        """An unknown APP_ENV is refused."""
        monkeypatch.setenv("APP_ENV", name)

        assert refusal() == "APP_ENV: must be one of development, testing, production"

    def test_the_defaults_are_the_documented_ones(self, production):
        """The defaults are those of the README."""
        loaded = load_config()

        assert loaded.JWT_ACCESS_TOKEN_EXPIRES == 900
        assert loaded.JWT_REFRESH_TOKEN_EXPIRES == 2_592_000
        assert (loaded.JWT_ISSUER, loaded.JWT_AUDIENCE) == ("latchkey", "latchkey-api")
        assert (loaded.JWT_LEEWAY, loaded.REFRESH_GRACE) == (10, 10)
        assert (loaded.SESSION_IDLE, loaded.MAX_SESSIONS) == (1_209_600, 50)
        assert (loaded.SINGLE_SESSION, loaded.REGISTRATION_OPEN, loaded.ALLOW_DELETE_ALL_USERS) == (False, True, False)
        assert (loaded.ARGON2_MEMORY_COST, loaded.ARGON2_TIME_COST, loaded.ARGON2_PARALLELISM) == (19_456, 2, 1)
        assert (loaded.PASSWORD_MIN_LENGTH, loaded.MAX_CONTENT_LENGTH) == (8, 65_536)
        assert (loaded.LOG_LEVEL, loaded.LOG_FORMAT) == ("INFO", "json")
        assert (loaded.PORT, loaded.WEB_CONCURRENCY, loaded.THREADS) == (8000, 2, 64)
        assert loaded.DATABASE_URL == "sqlite:///latchkey.db"
        assert DevelopmentConfig.ALLOW_DELETE_ALL_USERS
        assert TestingConfig.ALLOW_DELETE_ALL_USERS
        assert DevelopmentConfig.LOG_FORMAT == "console"

    def test_the_default_database_is_in_instance(self, production):
        """The default database is in instance/, whatever the working directory is."""
        with create_app(load_config()).app_context():
            assert db.engine.url.database == str(ROOT / "instance" / "latchkey.db")

    def test_the_environment_overrides(self, production, monkeypatch):
        """An environment variable overrides its setting, in the setting's type."""
        monkeypatch.setenv("REFRESH_GRACE", "0")
        monkeypatch.setenv("SINGLE_SESSION", "true")
        monkeypatch.setenv("DATABASE_URL", "postgresql://h/d")
        loaded = load_config()

        assert (loaded.REFRESH_GRACE, loaded.SINGLE_SESSION) == (0, True)
        assert loaded.DATABASE_URL == "postgresql://h/d"

    @pytest.mark.parametrize(("path", "begins"), [("instance/k", "the project"), ("/k", "the root")])
    def test_the_path_of_a_key_set(self, monkeypatch, path, begins):
        """A relative JWT_KEYSET starts at the folder of the project."""
        monkeypatch.setenv("JWT_KEYSET", path)

        assert str((config.ROOT if begins == "the project" else Path("/")) / path) == load_config().JWT_KEYSET

    @pytest.mark.parametrize("name", sorted(RANGES))
    def test_a_number_is_within_its_range(self, monkeypatch, name):
        """Both limits of a number are accepted, and values beyond them are refused."""
        monkeypatch.setenv("JWT_SECRET_KEY", SECRET)
        for value in (RANGES[name].min, RANGES[name].max):
            monkeypatch.setenv(name, str(value))
            assert getattr(load_config(), name) == value

        for value in (RANGES[name].min - 1, RANGES[name].max + 1, "", "x", "1.5", "9" * 5000):
            monkeypatch.setenv(name, str(value))
            assert refusal().startswith(f"{name}: ")

    @pytest.mark.parametrize(
        "name", ["SINGLE_SESSION", "REGISTRATION_OPEN", "ALLOW_DELETE_ALL_USERS", "TRACES", "DATABASE_POOLER"]
    )
    def test_a_switch_is_on_or_off(self, monkeypatch, name):
        """A switch accepts true, 1, false and 0, and nothing else."""
        monkeypatch.setenv("JWT_SECRET_KEY", SECRET)
        monkeypatch.setenv("DATABASE_URL", "postgresql://h/d")
        for text, value in (("true", True), ("1", True), ("false", False), ("0", False)):
            monkeypatch.setenv(name, text)
            assert getattr(load_config(), name) is value

        for text in ("", "2", "maybe", SECRET):
            monkeypatch.setenv(name, text)
            assert refusal().startswith(f"{name}: ")

    @pytest.mark.parametrize(
        ("name", "good", "value"),
        [
            (
                "CORS_ORIGINS",
                "https://a.example, http://localhost:3000",
                ("https://a.example", "http://localhost:3000"),
            ),
            ("CORS_ORIGINS", "", ()),
            ("TRUSTED_HOSTS", "api.example.com,.example.org,[::1]", ("api.example.com", ".example.org", "[::1]")),
            ("JWT_TOKEN_LOCATION", "headers , json", ("headers", "json")),
        ],
    )
    def test_a_list_is_separated_by_commas(self, monkeypatch, name, good, value):
        """A list is separated by commas, with or without blanks."""
        monkeypatch.setenv(name, good)

        assert tuple(getattr(load_config(), name)) == value

    @pytest.mark.parametrize(
        ("name", "bad"),
        [
            *[
                ("CORS_ORIGINS", bad)
                for bad in (
                    "*",
                    "null",
                    "https://a.example/",
                    "https://*.a.example",
                    "a.example",
                    "https://a.com.*",
                    ",",
                )
            ],
            *[("TRUSTED_HOSTS", bad) for bad in ("https://a.example", "a.example:80", "*", "a b", "a.example,")],
            *[("JWT_TOKEN_LOCATION", bad) for bad in ("", "cookie", "headers,headers", "headers,", "HEADERS")],
        ],
    )
    def test_each_entry_of_a_list_is_checked(self, production, monkeypatch, name, bad):
        """An invalid entry of a list is refused, a wildcard included."""
        monkeypatch.setenv(name, bad)

        assert refusal().startswith(f"{name}: Must be")

    @pytest.mark.parametrize(("idle", "is_refused"), [("1", True), ("1799", True), ("1800", False), ("0", False)])
    def test_a_session_outlives_an_access_token(self, production, monkeypatch, idle, is_refused):
        """SESSION_IDLE is 0 or at least twice JWT_ACCESS_TOKEN_EXPIRES."""
        monkeypatch.setenv("SESSION_IDLE", idle)

        if is_refused:
            assert refusal().startswith("SESSION_IDLE: must be 0, or at least twice JWT_ACCESS_TOKEN_EXPIRES")
        else:
            assert int(idle) == load_config().SESSION_IDLE

    @pytest.mark.parametrize("address", ["localhost", "127.0.0.1:9464", "", "1.2.3"])
    def test_the_metrics_need_an_ip_address(self, production, monkeypatch, address):
        """METRICS_HOST must be an IP address."""
        monkeypatch.setenv("METRICS_HOST", address)

        assert refusal().startswith("METRICS_HOST: Must be an IP address")

    def test_the_metrics_have_their_own_port(self, production, monkeypatch):
        """METRICS_PORT must differ from PORT."""
        monkeypatch.setenv("PORT", "9464")
        monkeypatch.setenv("METRICS_PORT", "9464")

        assert refusal().startswith("METRICS_PORT: must differ from PORT")

    @pytest.mark.parametrize(("name", "value"), [("METRICS_PORT", "9464"), ("TRACES", "true")])
    def test_an_extra_that_is_not_installed(self, production, monkeypatch, name, value):
        """A setting whose packages are missing is refused, with the command that installs them."""
        monkeypatch.setenv(name, value)
        assert load_config()

        monkeypatch.setattr(config, "find_spec", lambda _package: None)
        assert refusal().startswith(f"{name}: needs packages")
        assert (ROOT / refusal().rpartition(" ")[2]).is_file()

    @pytest.mark.parametrize("url", ["sqlite:///x.db", "mysql://h/d"])
    def test_a_pooler_needs_postgresql(self, production, monkeypatch, url):
        """DATABASE_POOLER is refused with any database but PostgreSQL."""
        monkeypatch.setenv("DATABASE_POOLER", "true")
        monkeypatch.setenv("DATABASE_URL", url)

        assert refusal().startswith("DATABASE_POOLER: is for PostgreSQL")

    def test_the_list_of_passwords_is_read(self, production, monkeypatch, tmp_path):
        """PASSWORD_LIST must be a readable file; a relative path begins at the project."""
        (tmp_path / "words.txt").touch()
        monkeypatch.setenv("PASSWORD_LIST", "words.txt")
        assert str(tmp_path / "words.txt") == load_config().PASSWORD_LIST

        for path in ("missing.txt", "."):
            monkeypatch.setenv("PASSWORD_LIST", path)
            assert refusal().startswith("PASSWORD_LIST: cannot be read (")

    def test_loads_are_independent(self, production, monkeypatch):
        """A later load does not see the values of an earlier one."""
        monkeypatch.setenv("REFRESH_GRACE", "0")
        load_config()
        monkeypatch.delenv("REFRESH_GRACE")

        assert load_config().REFRESH_GRACE == 10

    def test_every_bad_value_is_named(self, production, monkeypatch):
        """One line names all bad settings, without their values."""
        bad = {
            "JWT_ACCESS_TOKEN_EXPIRES": SECRET, "REFRESH_GRACE": "61", "SINGLE_SESSION": SECRET, "DATABASE_URL": SECRET,
            "LOG_LEVEL": SECRET, "MAX_CONTENT_LENGTH": "", "PASSWORD_MIN_LENGTH": "7", "PORT": "0", "JWT_ISSUER": "",
        }  # fmt: skip
        for name, value in bad.items():
            monkeypatch.setenv(name, value)

        assert set(re.findall(r"([A-Z_0-9]+): ", refusal())) == bad.keys()

    @pytest.mark.parametrize(
        "url", ["nonsense", "oracle://h/d", "://", "http://h", "", pytest.param(SECRET, id="a secret")]
    )
    def test_an_unsupported_database(self, production, monkeypatch, url):
        """A DATABASE_URL of an unsupported database is refused at the start."""
        monkeypatch.setenv("DATABASE_URL", url)

        assert refusal().startswith("DATABASE_URL: Must be a URL that begins with one of sqlite")


class TestProduction:
    @pytest.mark.parametrize(
        ("secret", "words"),
        [
            ("", "is not set"),
            ("short", "is shorter than 32 bytes"),
            ("ab" * 40, "is not random"),
            ("my-super-secret-jwt-key-change-me-please", "is not random"),
            ("passwordpassword0123456789abcdefgh", "is not random"),
            ("ThisIsAVeryLongSecretKeyThatIsAtLeast32BytesLong", "is not random"),
            ("p@ssw0rd-p@ssw0rd-p@ssw0rd-p@ssw0rd!!", "is not random"),
            ("secret_key_for_jwt_token_signing_please_change_in_production", "is not random"),
            ("correct horse battery staple correct horse", "is not random"),
            ("0123456789abcdef0123456789abcdef", "is not random"),
            ("3f1c2b9e-6d0a-4c59-9a3e-0c1d2e3f4a5b", "is not random"),
            ("é" * 15, "shorter"),
            ("a-string-secret-at-least-256-bits-long", "is a published example"),
        ],
    )
    def test_needs_a_good_secret(self, production, monkeypatch, secret, words):
        """A weak secret is refused, with a command that makes a good one."""
        monkeypatch.setenv("JWT_SECRET_KEY", secret)

        assert words in refusal()
        assert "secrets.token_urlsafe" in refusal()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("ARGON2_MEMORY_COST", "19455"),
            ("ARGON2_TIME_COST", "1"),
            ("ALLOW_DELETE_ALL_USERS", "true"),
            ("FLASK_DEBUG", "1"),
        ],
    )
    def test_refuses_unsafe_settings(self, production, monkeypatch, name, value):
        """Production refuses settings that are only for development."""
        monkeypatch.setenv(name, value)

        assert refusal().startswith(f"{name}: ")

    def test_tokens_in_queries_need_a_second_setting(self, production, monkeypatch):
        """Tokens in the query need ALLOW_TOKEN_IN_QUERY too, because URLs are logged."""
        monkeypatch.setenv("JWT_TOKEN_LOCATION", "headers,query_string")
        assert refusal().startswith("ALLOW_TOKEN_IN_QUERY: ")

        monkeypatch.setenv("ALLOW_TOKEN_IN_QUERY", "true")
        assert tuple(load_config().JWT_TOKEN_LOCATION) == ("headers", "query_string")

    def test_a_key_set_needs_two_names(self, production, monkeypatch):
        """With a key set, JWT_ISSUER and JWT_AUDIENCE must differ."""
        monkeypatch.setenv("JWT_AUDIENCE", "latchkey")
        assert load_config().JWT_AUDIENCE == "latchkey"

        monkeypatch.setenv("JWT_KEYSET", "instance/keys.json")
        assert refusal().startswith("JWT_AUDIENCE: must differ from JWT_ISSUER")

    def test_names_every_unsafe_setting(self, production, monkeypatch):
        """One message names all unsafe settings."""
        unsafe = {"JWT_SECRET_KEY": "x", "ARGON2_TIME_COST": "1", "ALLOW_DELETE_ALL_USERS": "1", "FLASK_DEBUG": "1"}
        for name, value in unsafe.items():
            monkeypatch.setenv(name, value)

        assert set(re.findall(r"(?:^|; )([A-Z_0-9]+): ", refusal())) == unsafe.keys()

    def test_accepts_more_than_the_minimum(self, production, monkeypatch):
        """Values above the minimum are accepted."""
        monkeypatch.setenv("ARGON2_MEMORY_COST", "65536")
        monkeypatch.setenv("PASSWORD_MIN_LENGTH", "15")

        assert load_config().ARGON2_MEMORY_COST == 65_536

    @pytest.mark.parametrize("spell", RANDOM, ids=lambda one: one.__name__)
    def test_accepts_random_secrets(self, spell):
        """32 random bytes or more are accepted in every usual spelling."""
        for size in range(32, 64):
            for _ in range(40):
                secret = spell(os.urandom(size))
                assert secret_problem(secret if isinstance(secret, str) else secret.decode()) == ""

    @pytest.mark.parametrize(
        "origin", ["http://app.example.com", "http://localhost.example.com", "http://127.0.0.1.nip.io"]
    )
    def test_an_origin_without_tls(self, production, monkeypatch, origin):
        """An origin without TLS is refused."""
        monkeypatch.setenv("CORS_ORIGINS", f"https://app.example.com,{origin}")

        assert refusal().startswith("CORS_ORIGINS: must begin with https://")

    def test_an_origin_of_this_machine(self, production, monkeypatch):
        """An origin of the loopback interface needs no TLS."""
        origins = ["http://localhost:3000", "http://app.localhost", "http://127.0.0.1:8080", "http://[::1]:5173"]
        monkeypatch.setenv("CORS_ORIGINS", ",".join(origins))

        assert list(load_config().CORS_ORIGINS) == origins


class TestStoredSecret:
    def test_is_made_once_and_private(self, tmp_path):
        """Two starts share one secret, in a file that only its owner can read."""
        first, second = load_config().JWT_SECRET_KEY, load_config().JWT_SECRET_KEY

        assert first == second
        assert len(first) >= 64
        stored = tmp_path / "instance" / "jwt_secret_key"
        assert stat.S_IMODE(stored.stat().st_mode) == 0o600
        assert list(stored.parent.iterdir()) == [stored]

    def test_concurrent_starts(self, tmp_path):
        """Concurrent starts share one secret."""
        together = Barrier(8)

        def start(_number):
            together.wait()
            return load_config().JWT_SECRET_KEY

        with ThreadPoolExecutor(8) as pool:
            stored = set(pool.map(start, range(8)))

        assert stored == {(tmp_path / "instance" / "jwt_secret_key").read_text()}

    def test_cannot_be_stored(self, tmp_path, monkeypatch):
        """A secret that cannot be stored is refused with one line."""
        (tmp_path / "file").touch()
        monkeypatch.setattr(config, "INSTANCE", tmp_path / "file" / "instance")

        assert refusal().startswith("JWT_SECRET_KEY: cannot be stored in instance/")


class TestDotEnv:
    def test_is_read_and_the_environment_wins(self, tmp_path, monkeypatch):
        """`.env` is read, and the environment overrides it."""
        (tmp_path / ".env").write_text("REFRESH_GRACE=3\nJWT_LEEWAY=4\n")
        monkeypatch.setenv("JWT_LEEWAY", "5")
        monkeypatch.setenv("REFRESH_GRACE", "x")  # so that monkeypatch removes the value of the file
        monkeypatch.delenv("REFRESH_GRACE")

        assert (load_config().REFRESH_GRACE, load_config().JWT_LEEWAY) == (3, 5)

    @pytest.mark.parametrize("name", ["testing", "production"])
    def test_is_read_in_development_only(self, tmp_path, monkeypatch, name):
        """In tests and in production, `.env` is not read."""
        (tmp_path / ".env").write_text("REFRESH_GRACE=3\n")
        monkeypatch.setenv("APP_ENV", name)
        monkeypatch.setenv("JWT_SECRET_KEY", SECRET)

        assert load_config().REFRESH_GRACE == 10

    def test_cannot_choose_the_class(self, tmp_path, monkeypatch):
        """APP_ENV in `.env` is refused, because other classes ignore the file."""
        (tmp_path / ".env").write_text("APP_ENV=production\n")

        assert refusal().startswith("APP_ENV: cannot be set in .env")

    @pytest.mark.programs
    @pytest.mark.parametrize(("skip", "code"), [(None, 1), ("1", 0)])
    def test_a_command_in_production(self, tmp_path, skip, code):
        """In production, a command refuses to run beside `.env`, which Flask reads, unless told to ignore it."""
        copy = copy_of_the_project(tmp_path)
        (copy / "wsgi.py").unlink()
        shutil.copy(ROOT / "wsgi.py", copy)
        (copy / ".env").write_text("DATABASE_URL=sqlite:////nowhere/x.db\n")
        env = environment(APP_ENV="production", JWT_SECRET_KEY=SECRET, FLASK_SKIP_DOTENV=skip, ARGON2_MEMORY_COST=None,
                          ARGON2_TIME_COST=None)  # fmt: skip
        command = [sys.executable, "-m", "flask", "keys", "list"]

        run = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)

        assert ("cannot start: .env: is for development" in run.stderr) is bool(code)


class TestSecretFiles:
    """`JWT_SECRET_KEY_FILE` and `DATABASE_URL_FILE` name files with the values."""

    @pytest.fixture
    def file(self, production, tmp_path, monkeypatch):
        """Writes a file, and sets a variable to its path."""
        monkeypatch.delenv("JWT_SECRET_KEY")

        def file(name, content):
            path = tmp_path / name.lower()
            path.write_bytes(content)
            monkeypatch.setenv(name, str(path))

        return file

    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
    def test_are_read(self, file, end):
        """The content without the line end is the value."""
        file("JWT_SECRET_KEY_FILE", SECRET.encode() + end)
        file("DATABASE_URL_FILE", b"postgresql://h/d" + end)

        for _ in range(2):
            loaded = load_config()
            assert (loaded.JWT_SECRET_KEY, loaded.DATABASE_URL) == (SECRET, "postgresql://h/d")
        assert "JWT_SECRET_KEY" not in os.environ  # which programs of this process would inherit

    def test_both(self, file, monkeypatch):
        """A value and a file at once are refused."""
        file("JWT_SECRET_KEY_FILE", SECRET.encode())
        monkeypatch.setenv("JWT_SECRET_KEY", SECRET)

        assert refusal() == "JWT_SECRET_KEY: is set beside JWT_SECRET_KEY_FILE; unset one of them"

    def test_unreadable(self, file, monkeypatch):
        """A file that is missing or not UTF-8 is refused, with the name of the setting."""
        file("JWT_SECRET_KEY_FILE", b"\xff" * 40)
        monkeypatch.setenv("DATABASE_URL_FILE", "/nowhere/x")

        said = refusal()
        assert "DATABASE_URL_FILE: names a file that cannot be read (No such file or directory); " in said
        assert "JWT_SECRET_KEY_FILE: names a file that cannot be read (it is not UTF-8); " in said

    def test_are_checked(self, file):
        """The content has the rules of the setting."""
        file("JWT_SECRET_KEY_FILE", b"short\n")
        file("DATABASE_URL_FILE", b"nonsense")

        assert refusal().startswith("DATABASE_URL: Must be a URL that begins with")
        file("DATABASE_URL_FILE", b"postgresql://h/d")
        assert refusal().startswith("JWT_SECRET_KEY: is shorter than 32 bytes")

    def test_for_each_secret(self):
        """Each setting with a secret can be in a file."""
        assert {name for name in SETTINGS if name.endswith(("_KEY", "_URL"))} == set(Config.SECRETS)


@pytest.mark.programs
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_SECRET_KEY", ""),
        ("JWT_SECRET_KEY", os.fsdecode(b"\xff\xfe" * 20)),
        ("DATABASE_URL", f"postgresql://grace:{SECRET}@h:port/d"),
        ("DATABASE_URL", f"postgresql+nodriver://grace:{SECRET}@h/d"),
        ("JWT_ISSUER", "latch\nkey"),
        ("JWT_ISSUER", "\u9580"),
        ("APP_ENV", SECRET),
    ],
    ids=["no secret", "bytes", "a port", "a driver", "a line break", "no header", "a class"],
)
def test_a_bad_start_is_one_line(name, value):
    """`wsgi.py` exits with 1 and one line, with the setting's name and not its value."""
    good = {"PATH": os.environ["PATH"], "APP_ENV": "production", "JWT_SECRET_KEY": secrets.token_urlsafe(48)}

    run = subprocess.run(
        [sys.executable, "-c", "import wsgi"],
        cwd=ROOT, env=good | {name: value}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.returncode == 1
    assert re.fullmatch(rf"cannot start: {name}: [^\n]+\n", run.stderr)
    assert SECRET not in run.stderr


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_every_setting_is_documented(page):
    """The READMEs of both languages name every setting."""
    text = (ROOT / page).read_text()

    assert [name for name in [*SETTINGS, "APP_ENV"] if f"`{name}`" not in text] == []


def test_no_printed_text_is_a_good_secret():
    """No long text with a digit in the documentation or the tests' kit passes as a secret."""
    folders = (".", "docs", ".ci", "deploy", "tests/support", "tests/features/auth", "bench")
    pages = [page for folder in folders for page in (ROOT / folder).glob("*") if page.suffix in (".md", ".py", ".yaml")]
    texts = {text for page in pages for text in re.findall(r"(?=[A-Za-z_+/-]*[0-9])[\w+/=-]{32,}", page.read_text())}

    assert len(texts) >= 10
    assert [text for text in texts if not secret_problem(text)] == []


def test_no_page_prints_a_secret():
    """No file has a value for JWT_SECRET_KEY that could be copied."""
    pages = [page for folder in (".", "docs", ".ci", "deploy", "app") for page in (ROOT / folder).glob("*.*")]
    printed = re.compile(r"JWT_SECRET_KEY['\"]?\s*[=:]\s*['\"]?[A-Za-z0-9+/_.-]{32}")

    texts = {page.name: page.read_text(errors="replace") for page in pages if page.is_file() and page.name != ".env"}

    assert texts.keys() >= {"README.md", "config.py"}
    assert [name for name, text in texts.items() if printed.search(text)] == []


@pytest.mark.parametrize("page", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_a_lock_file_names_no_source(page):
    """A lock file has packages, versions and hashes, and no URL or path."""
    lines = [line for line in page.read_text().splitlines() if not line.startswith("#")]

    assert [line for line in lines if "://" in line or re.match(r"\s*(-[-a-z]*i|/)", line)] == []
    assert all(re.match(r"    --hash=sha256:[0-9a-f]{64}|[a-z0-9._-]+(\[[a-z-]+\])?==", line) for line in lines)
