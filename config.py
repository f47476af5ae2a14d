"""Every setting, its default, and why it is so.

`load_config()` picks the class that `APP_ENV` names and lets the environment
override each setting by its own name.  A value that cannot be parsed, is out of
range or is unsafe in production is never used: all of them are reported at once,
by name and fix and never by value, and the process does not start.
"""

import os
import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast, get_args, get_origin, get_type_hints

from environs import Env, EnvValidationError
from flask.helpers import get_debug_flag
from marshmallow.validate import OneOf, Range, Validator

from config_rules import HOSTS, LOCATIONS, NAME, ORIGINS, DatabaseUrl, IpAddress, Printable, kept_secret, secret_problem

ROOT = Path(__file__).parent
INSTANCE = ROOT / "instance"

DAY = 86_400  # seconds


class ConfigError(Exception):
    """The settings do not allow a start.  The text names each setting and its fix, never a value."""

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{name}: {fix}" for name, fix in sorted(problems.items())))


class Config:
    """What every environment shares.  The rule of a setting stands in its annotation."""

    # --- The database ---
    # postgresql://… and mysql://… in their plain spelling; the driver is ours to choose.
    # A relative SQLite path is taken from instance/.
    DATABASE_URL: Annotated[str, DatabaseUrl()] = "sqlite:///latchkey.db"
    # What answers there is a pooler that lends connections of PostgreSQL, each for one transaction (docs/scaling.md).
    DATABASE_POOLER: bool = False

    # --- Tokens ---
    # Signs every token (HS256).  At least 32 random bytes.
    JWT_SECRET_KEY: Annotated[str, Printable()] = ""
    # A key set file, made and changed by `flask keys`.  Signs in place of JWT_SECRET_KEY, which then only verifies.
    JWT_KEYSET: Annotated[str, Printable()] = ""
    # Where a request may carry its token.
    JWT_TOKEN_LOCATION: Annotated[tuple[str, ...], LOCATIONS] = ("headers", "cookies")
    # A token in a query ends up in histories and in the logs of proxies (RFC 6750 section 2.3): say it twice.
    ALLOW_TOKEN_IN_QUERY: bool = False
    # Seconds that an access token lives: short, because a client renews it without asking anybody.
    JWT_ACCESS_TOKEN_EXPIRES: Annotated[int, Range(min=1, max=DAY)] = 900
    # Seconds that a session lives.  Rotation does not extend it.
    JWT_REFRESH_TOKEN_EXPIRES: Annotated[int, Range(min=1, max=366 * DAY)] = 30 * DAY
    # `iss` and `aud` of every token, set and checked (RFC 7519 sections 4.1.1 and 4.1.3).
    JWT_ISSUER: Annotated[str, NAME] = "latchkey"
    JWT_AUDIENCE: Annotated[str, NAME] = "latchkey"
    # Seconds that the clocks of two machines may differ.
    JWT_LEEWAY: Annotated[int, Range(min=0, max=60)] = 10
    # Seconds in which an exchanged refresh token still gets the same successor again:
    # two tabs, or an answer lost on the way, cost nobody their session.
    REFRESH_GRACE: Annotated[int, Range(min=0, max=60)] = 10

    # --- Accounts ---
    # A login ends the user's other sessions.
    SINGLE_SESSION: bool = False
    # Anybody may register.  Off: accounts are made by `flask users create`.
    REGISTRATION_OPEN: bool = True
    # Failed logins to one account from one address, and the seconds after which they are forgotten.
    LOGIN_ATTEMPTS: Annotated[int, Range(min=1, max=100)] = 5
    LOGIN_WINDOW: Annotated[int, Range(min=1, max=DAY)] = 300
    # DELETE /users is on.  Development and tests only.
    ALLOW_DELETE_ALL_USERS: bool = False
    # Characters.  Never below 8; 15 is what NIST SP 800-63B-4 asks where a password is the only factor.
    PASSWORD_MIN_LENGTH: Annotated[int, Range(min=8, max=64)] = 8

    # --- Password hashing: Argon2id at the minimum of the OWASP Password Storage Cheat Sheet ---
    ARGON2_MEMORY_COST: Annotated[int, Range(min=8, max=1_048_576)] = 19_456  # KiB
    ARGON2_TIME_COST: Annotated[int, Range(min=1, max=100)] = 2
    ARGON2_PARALLELISM: Annotated[int, Range(min=1, max=16)] = 1

    # --- Requests ---
    # Bytes of a request body.
    MAX_CONTENT_LENGTH: Annotated[int, Range(min=1024, max=16 * 1024 * 1024)] = 65_536
    # Seconds in which a request that comes again with its Idempotency-Key gets the first answer.
    IDEMPOTENCY_KEY_EXPIRES: Annotated[int, Range(min=60, max=30 * DAY)] = DAY

    # --- Who is believed ---
    # Origins whose pages may call us, with cookies: https://app.example.com,https://admin.example.com
    CORS_ORIGINS: Annotated[tuple[str, ...], ORIGINS] = ()
    # Host names that we answer to.  None: any.
    TRUSTED_HOSTS: Annotated[tuple[str, ...], HOSTS] = ()
    # Proxies in front of us whose X-Forwarded-For, -Proto and -Host count.
    TRUSTED_PROXIES: Annotated[int, Range(min=0, max=10)] = 0

    # --- The server ---
    PORT: Annotated[int, Range(min=1, max=65_535)] = 8000
    # Processes.  Two a core is plenty: passwords are hashed outside of Python's lock.
    WEB_CONCURRENCY: Annotated[int, Range(min=1, max=256)] = 2
    # Requests that one process serves at a time.  Many, because logins that wait for their hash wait here:
    # whoever is turned away at once comes back at once, and that costs more than waiting does.
    THREADS: Annotated[int, Range(min=2, max=256)] = 64
    # Seconds between SIGTERM and the stop, in which we serve on while /health/ready is 503 already.
    # For a balancer that asks it: twice its interval or more.  One that tries the next server by itself needs none.
    DRAIN_SECONDS: Annotated[int, Range(min=0, max=300)] = 0

    # --- Logs ---
    LOG_LEVEL: Annotated[str, OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])] = "INFO"
    LOG_FORMAT: Annotated[str, OneOf(["console", "json"])] = "json"

    # --- For those who watch over it ---
    # Port of the metrics for Prometheus; 0: none. Never that of the service, which the world can reach.
    METRICS_PORT: Annotated[int, Range(min=0, max=65_535)] = 0
    # Where it listens.  Another machine needs another address than this one's own, and a firewall.
    METRICS_HOST: Annotated[str, IpAddress()] = "127.0.0.1"
    # Traces by OpenTelemetry.  Where they go, and how many: the standard variables, OTEL_….
    TRACES: bool = False

    # --- Not for the environment: what the code relies on ---
    APP_ENV: ClassVar[str] = "development"
    PROPAGATE_EXCEPTIONS: ClassVar[bool] = False  # a crash is one JSON answer everywhere, tests included
    ALLOW_SEED: ClassVar[bool] = True  # `flask seed` makes sample users
    SECURE_COOKIES: ClassVar[bool] = False  # over plain HTTP a browser would not send them back

    def problems(self) -> dict[str, str]:
        """What makes these settings unusable, by setting: the fix, never the value."""
        install = "pip install --require-hashes -r requirements/extras.txt"
        wanted = {"METRICS_PORT": "prometheus_client", "TRACES": "opentelemetry"}
        found = {
            name: f"needs packages that are not installed; {install}"
            for name, package in wanted.items()
            if getattr(self, name) and find_spec(package) is None
        }
        if self.DATABASE_POOLER and not self.DATABASE_URL.startswith("postgres"):
            found["DATABASE_POOLER"] = "is for PostgreSQL; leave it unset"
        if self.METRICS_PORT == self.PORT:
            found["METRICS_PORT"] = "must be another than PORT, which strangers may reach"
        return found


class DevelopmentConfig(Config):
    """A machine with Python and nothing else: no setting needed."""

    ALLOW_DELETE_ALL_USERS = True
    LOG_FORMAT = "console"

    def problems(self) -> dict[str, str]:
        if not self.JWT_SECRET_KEY:
            try:
                self.JWT_SECRET_KEY = kept_secret(INSTANCE / "jwt_secret_key")
            except OSError as error:
                return {
                    "JWT_SECRET_KEY": f"cannot be kept in instance/ ({error.strerror}); set it, or make that writable"
                }
        return super().problems()


class TestingConfig(Config):
    """Fast where production is careful: cheap hashes, a secret that dies with the process."""

    APP_ENV: ClassVar[str] = "testing"
    TESTING: ClassVar[bool] = True
    DATABASE_URL = "sqlite://"
    JWT_SECRET_KEY = secrets.token_urlsafe(48)
    ALLOW_DELETE_ALL_USERS = True
    ARGON2_MEMORY_COST = 8
    ARGON2_TIME_COST = 1
    LOG_FORMAT = "console"


class ProductionConfig(Config):
    """What strangers may reach.  Nothing here may be guessed or left open."""

    APP_ENV: ClassVar[str] = "production"
    ALLOW_SEED: ClassVar[bool] = False
    SECURE_COOKIES: ClassVar[bool] = True

    def problems(self) -> dict[str, str]:
        found = super().problems()
        if (self.JWT_SECRET_KEY or not self.JWT_KEYSET) and (problem := secret_problem(self.JWT_SECRET_KEY)):
            found["JWT_SECRET_KEY"] = problem
        for name in ("ARGON2_MEMORY_COST", "ARGON2_TIME_COST", "ARGON2_PARALLELISM"):
            if getattr(self, name) < getattr(Config, name):
                found[name] = f"is below the floor of {getattr(Config, name)}; leave it unset"
        if "query_string" in self.JWT_TOKEN_LOCATION and not self.ALLOW_TOKEN_IN_QUERY:
            found |= {"ALLOW_TOKEN_IN_QUERY": "must be true to take tokens from queries, which histories and logs keep"}
        if self.ALLOW_DELETE_ALL_USERS:
            found["ALLOW_DELETE_ALL_USERS"] = "is for development and tests only; leave it unset"
        if get_debug_flag():
            found["FLASK_DEBUG"] = "shows strangers the inside of the program; leave it unset"
        return found


CONFIGS: dict[str, type[Config]] = {
    config.APP_ENV: config for config in (DevelopmentConfig, TestingConfig, ProductionConfig)
}


def load_config() -> Config:
    """The settings of this process: the class that `APP_ENV` names, overridden by the environment.

    A `.env` file beside this one is read too, but never in tests; what the
    environment itself says wins over it.

    Raises:
        ConfigError: for every setting that is unusable, all in one.
    """
    env = Env(eager=False)
    if os.environ.get("APP_ENV") != "testing":
        env.read_env(str(ROOT / ".env"), recurse=False)
    name = os.environ.get("APP_ENV", "development")
    if name not in CONFIGS:
        raise ConfigError({"APP_ENV": f"must be one of {', '.join(CONFIGS)}"})
    config = CONFIGS[name]()
    for setting, hint in get_type_hints(type(config), include_extras=True).items():
        if get_origin(hint) is not ClassVar:
            kind, rule = _kind_and_rule(hint)
            default = getattr(config, setting)
            if kind is tuple:
                value = env.list(setting, list(default), subcast=str.strip, validate=rule)
            else:
                value = getattr(env, kind.__name__)(setting, default, validate=rule)
            setattr(config, setting, value)
    try:
        env.seal()
    except EnvValidationError as error:
        messages = cast("Mapping[str, list[str]]", error.error_messages)
        raise ConfigError({name: " ".join(texts) for name, texts in messages.items()}) from None
    if config.JWT_KEYSET:
        config.JWT_KEYSET = str(ROOT / config.JWT_KEYSET)  # wherever the program is started
    if problems := config.problems():
        raise ConfigError(problems)
    return config


def _kind_and_rule(hint: Any) -> tuple[type, Validator | None]:
    """`Annotated[int, Range(…)]` → `(int, Range(…))`; `bool` → `(bool, None)`."""
    if get_origin(hint) is Annotated:
        kind, rule = get_args(hint)
        return get_origin(kind) or kind, rule
    return hint, None
