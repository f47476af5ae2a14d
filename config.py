"""Every setting, with its default and the reason.

`load_config()` picks the class that `APP_ENV` names and lets the environment
override each setting by its own name.  If a value cannot be parsed, is out of
range or is unsafe in production, the process does not start and reports every
such setting at once: its name and the fix, never its value.
"""

import os
import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast, get_args, get_origin, get_type_hints

from environs import Env, EnvValidationError
from flask.helpers import get_debug_flag
from marshmallow import ValidationError
from marshmallow.validate import OneOf, Range, Validator

from config_rules import (
    COOKIE_NAME,
    HOSTS,
    LOCATIONS,
    LOOPBACK,
    NAME,
    ORIGINS,
    DatabaseUrl,
    IpAddress,
    Printable,
    unreadable,
)
from config_secrets import read_secrets, secret_problem, stored_secret

ROOT = Path(__file__).parent
INSTANCE = ROOT / "instance"

DAY = 86_400  # seconds


class ConfigError(Exception):
    """Some settings are unusable.

    The text names each setting and its fix, never a value.
    """

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{name}: {fix}" for name, fix in sorted(problems.items())))


class Config:
    """The settings of every environment.

    The annotation of a setting is its rule.
    """

    # --- The database ---
    # postgresql://… or mysql://… without a driver; we choose the driver.
    # A relative SQLite path is relative to instance/.
    DATABASE_URL: Annotated[str, DatabaseUrl()] = "sqlite:///latchkey.db"
    # DATABASE_URL names a PostgreSQL pooler in transaction mode (docs/scaling.md).
    DATABASE_POOLER: bool = False

    # --- Tokens ---
    # Signs every token (HS256).  At least 32 random bytes.
    JWT_SECRET_KEY: Annotated[str, Printable()] = ""
    # The key set file of `flask keys`.  If set, it signs, and JWT_SECRET_KEY only verifies.
    JWT_KEYSET: Annotated[str, Printable()] = ""
    # The places in a request where a token is accepted.
    JWT_TOKEN_LOCATION: Annotated[tuple[str, ...], LOCATIONS] = ("headers", "cookies")
    # In front of the name of each cookie.  Two instances on one host need different ones.
    COOKIE_PREFIX: Annotated[str, COOKIE_NAME] = ""
    # Confirms `query_string` above: browser histories and proxy logs keep queries (RFC 6750 section 2.3).
    ALLOW_TOKEN_IN_QUERY: bool = False
    # Lifetime of an access token in seconds: short, because a client refreshes it without the user.
    JWT_ACCESS_TOKEN_EXPIRES: Annotated[int, Range(min=1, max=DAY)] = 900
    # Lifetime of a session in seconds.  Rotation does not extend it.
    JWT_REFRESH_TOKEN_EXPIRES: Annotated[int, Range(min=1, max=366 * DAY)] = 30 * DAY
    # `iss` of every token, and `aud` of every access token, set and checked (RFC 7519 sections 4.1.1 and 4.1.3).
    # A refresh token has the issuer as its `aud`, so that a service that accepts JWT_AUDIENCE refuses it.
    JWT_ISSUER: Annotated[str, NAME] = "latchkey"
    JWT_AUDIENCE: Annotated[str, NAME] = "latchkey-api"
    # Seconds by which the clocks of two machines may differ.
    JWT_LEEWAY: Annotated[int, Range(min=0, max=60)] = 10
    # Seconds in which an exchanged refresh token gets the same successor again, so that
    # two tabs or a lost answer do not end the session.
    REFRESH_GRACE: Annotated[int, Range(min=0, max=60)] = 10

    # --- Sessions ---
    # A session ends if it is not refreshed for that many seconds.  0: only JWT_REFRESH_TOKEN_EXPIRES ends it.
    SESSION_IDLE: Annotated[int, Range(min=0, max=366 * DAY)] = 14 * DAY
    # Sessions of one user.  A further login ends the one that was used longest ago.  0: no limit.
    MAX_SESSIONS: Annotated[int, Range(min=0, max=10_000)] = 50

    # --- Accounts ---
    # A login ends the user's other sessions.
    SINGLE_SESSION: bool = False
    # Anybody may register.  If off, only `flask users create` makes accounts.
    REGISTRATION_OPEN: bool = True
    # Allowed failed logins for one account from one network (an IPv4 address or an IPv6 /64), and the seconds until
    # the count resets.  Each further window within a day is twice as long.
    LOGIN_ATTEMPTS: Annotated[int, Range(min=1, max=100)] = 5
    LOGIN_WINDOW: Annotated[int, Range(min=1, max=DAY)] = 300
    # Allowed failed logins from one network in 300 seconds, over all accounts; 0: no limit.
    LOGIN_ATTEMPTS_PER_NETWORK: Annotated[int, Range(min=0, max=1_000_000)] = 100
    # Allowed consecutive failed logins for one account from anywhere; 0: no limit.  After them, only networks from
    # which the account has a session may try.  NIST SP 800-63B-4 section 3.2.2 allows at most 100.
    LOGIN_ATTEMPTS_PER_ACCOUNT: Annotated[int, Range(min=0, max=1_000_000)] = 100
    # Allowed registrations, and as many refused ones, from one network in an hour; 0: no limit.
    REGISTRATIONS_PER_NETWORK: Annotated[int, Range(min=0, max=1_000_000)] = 20
    # Enables DELETE /users.  Development and tests only.
    ALLOW_DELETE_ALL_USERS: bool = False
    # Characters, at least 8.  NIST SP 800-63B-4 requires 15 if the password is the only factor.
    PASSWORD_MIN_LENGTH: Annotated[int, Range(min=8, max=64)] = 8
    # A file of further passwords to refuse (UTF-8, one a line; case is ignored).  A worker needs 8 bytes for each.
    PASSWORD_LIST: Annotated[str, Printable()] = ""

    # --- Password hashing: Argon2id at the minimum of the OWASP Password Storage Cheat Sheet ---
    ARGON2_MEMORY_COST: Annotated[int, Range(min=8, max=1_048_576)] = 19_456  # KiB
    ARGON2_TIME_COST: Annotated[int, Range(min=1, max=100)] = 2
    ARGON2_PARALLELISM: Annotated[int, Range(min=1, max=16)] = 1

    # --- Requests ---
    # Bytes of a request body.
    MAX_CONTENT_LENGTH: Annotated[int, Range(min=1024, max=16 * 1024 * 1024)] = 65_536
    # Seconds in which a repeated Idempotency-Key gets the first answer.
    IDEMPOTENCY_KEY_EXPIRES: Annotated[int, Range(min=60, max=30 * DAY)] = DAY
    # Serves the API document and the page at /docs.  If off, both are 404.
    DOCS: bool = True

    # --- Trust ---
    # Origins whose pages may call the API, with cookies: https://app.example.com,https://admin.example.com
    CORS_ORIGINS: Annotated[tuple[str, ...], ORIGINS] = ()
    # Host names that the service accepts.  Empty: any.
    TRUSTED_HOSTS: Annotated[tuple[str, ...], HOSTS] = ()
    # Number of proxies in front whose X-Forwarded-For, -Proto and -Host are trusted.
    TRUSTED_PROXIES: Annotated[int, Range(min=0, max=10)] = 0
    # Seconds for which a browser that came by HTTPS uses only HTTPS (RFC 6797); 0: no such header.  The default is the
    # year of the OWASP REST Security Cheat Sheet.
    HSTS_SECONDS: Annotated[int, Range(min=0, max=731 * DAY)] = 365 * DAY
    # Includes the subdomains of the host.  Off, because they may belong to others who have no HTTPS.
    HSTS_SUBDOMAINS: bool = False

    # --- The server ---
    PORT: Annotated[int, Range(min=1, max=65_535)] = 8000
    # Worker processes.  Two per core are enough, because hashing releases Python's lock.
    WEB_CONCURRENCY: Annotated[int, Range(min=1, max=256)] = 2
    # Requests that one process serves at the same time.  High, because logins wait here for their hash.
    # A refused client retries at once, and that costs more than its waiting.
    THREADS: Annotated[int, Range(min=2, max=256)] = 64
    # Seconds between SIGTERM and the stop.  The service still answers, and /health/ready is 503.
    # Set twice the interval of a balancer that asks it.  A proxy that retries needs no draining.
    DRAIN_SECONDS: Annotated[int, Range(min=0, max=300)] = 0

    # --- Logs ---
    LOG_LEVEL: Annotated[str, OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])] = "INFO"
    LOG_FORMAT: Annotated[str, OneOf(["console", "json"])] = "json"

    # --- Monitoring ---
    # Port of the metrics for Prometheus; 0: none.  Must differ from PORT, which is public.
    METRICS_PORT: Annotated[int, Range(min=0, max=65_535)] = 0
    # Address of the metrics.  For a Prometheus on another machine, change it and set up a firewall.
    METRICS_HOST: Annotated[str, IpAddress()] = "127.0.0.1"
    # Traces by OpenTelemetry.  The standard OTEL_… variables set their destination and sampling.
    TRACES: bool = False

    # --- Constants, not read from the environment ---
    SECRETS: ClassVar[tuple[str, ...]] = ("DATABASE_URL", "JWT_SECRET_KEY")  # NAME_FILE may name a file with the value
    FORMER_AUDIENCE: ClassVar[str] = "latchkey"  # the default `aud` of release 0.1.0, whose tokens stay valid
    APP_ENV: ClassVar[str] = "development"
    PROPAGATE_EXCEPTIONS: ClassVar[bool] = False  # a crash is a JSON answer everywhere, also in tests
    ALLOW_SEED: ClassVar[bool] = True  # `flask seed` makes sample users
    SECURE_COOKIES: ClassVar[bool] = False  # a browser does not return secure cookies over plain HTTP

    def problems(self) -> dict[str, str]:
        """The unusable settings, each with its fix.  Never a value."""
        install = "pip install --require-hashes -r requirements/extras.txt"
        wanted = {"METRICS_PORT": "prometheus_client", "TRACES": "opentelemetry"}
        found = {
            name: f"needs packages that are not installed; {install}"
            for name, package in wanted.items()
            if getattr(self, name) and find_spec(package) is None
        }
        if self.DATABASE_POOLER and not self.DATABASE_URL.startswith("postgres"):
            found["DATABASE_POOLER"] = "is for PostgreSQL; leave it unset"
        if 0 < self.SESSION_IDLE < 2 * self.JWT_ACCESS_TOKEN_EXPIRES:
            # A client refreshes a session only when an access token ends.
            found["SESSION_IDLE"] = "must be 0, or at least twice JWT_ACCESS_TOKEN_EXPIRES"
        if problem := unreadable(self.PASSWORD_LIST):
            found["PASSWORD_LIST"] = problem
        if self.METRICS_PORT == self.PORT:
            found["METRICS_PORT"] = "must differ from PORT, which is public"
        return found


class DevelopmentConfig(Config):
    """Needs no setting, only Python."""

    ALLOW_DELETE_ALL_USERS = True
    LOG_FORMAT = "console"

    def problems(self) -> dict[str, str]:
        if not self.JWT_SECRET_KEY:
            try:
                self.JWT_SECRET_KEY = stored_secret(INSTANCE / "jwt_secret_key")
            except OSError as error:
                return {
                    "JWT_SECRET_KEY": f"cannot be stored in instance/ ({error.strerror}); set it, or make that writable"
                }
        return super().problems()


class TestingConfig(Config):
    """Fast: cheap hashes, and a secret that is new in every process."""

    APP_ENV: ClassVar[str] = "testing"
    TESTING: ClassVar[bool] = True
    DATABASE_URL = "sqlite://"
    JWT_SECRET_KEY = secrets.token_urlsafe(48)
    ALLOW_DELETE_ALL_USERS = True
    ARGON2_MEMORY_COST = 8
    ARGON2_TIME_COST = 1
    LOG_FORMAT = "console"


class ProductionConfig(Config):
    """Refuses every unsafe setting, because the service is public."""

    APP_ENV: ClassVar[str] = "production"
    ALLOW_SEED: ClassVar[bool] = False
    SECURE_COOKIES: ClassVar[bool] = True

    def problems(self) -> dict[str, str]:
        found = super().problems()
        if (self.JWT_SECRET_KEY or not self.JWT_KEYSET) and (problem := secret_problem(self.JWT_SECRET_KEY)):
            found["JWT_SECRET_KEY"] = problem
        if self.JWT_KEYSET and self.JWT_ISSUER == self.JWT_AUDIENCE:
            # Other services verify our tokens.  They would take a refresh token for an access token.
            found["JWT_AUDIENCE"] = "must differ from JWT_ISSUER; leave it unset, or set it to the name of your API"
        for name in ("ARGON2_MEMORY_COST", "ARGON2_TIME_COST", "ARGON2_PARALLELISM"):
            if getattr(self, name) < getattr(Config, name):
                found[name] = f"must be at least {getattr(Config, name)}; leave it unset"
        if "query_string" in self.JWT_TOKEN_LOCATION and not self.ALLOW_TOKEN_IN_QUERY:
            found |= {"ALLOW_TOKEN_IN_QUERY": "must be true to accept tokens in queries, which logs keep"}
        if any(origin.startswith("http:") and not LOOPBACK.fullmatch(origin) for origin in self.CORS_ORIGINS):
            found["CORS_ORIGINS"] = "must begin with https://, because anybody on the way can change a page of http://"
        if self.ALLOW_DELETE_ALL_USERS:
            found["ALLOW_DELETE_ALL_USERS"] = "is for development and tests only; leave it unset"
        if get_debug_flag():
            found["FLASK_DEBUG"] = "shows the source code to the public; leave it unset"
        return found


CONFIGS: dict[str, type[Config]] = {
    config.APP_ENV: config for config in (DevelopmentConfig, TestingConfig, ProductionConfig)
}


def load_config() -> Config:
    """The settings of this process.

    They are those of the class that `APP_ENV` names, overridden by the environment.  Development also
    reads the `.env` file in this folder.  The environment overrides it.

    Raises:
        ConfigError: lists every unusable setting.
    """
    env = Env(eager=False)
    config = _class_of_environment(env)()
    from_files, problems = read_secrets(env, config.SECRETS, ROOT)
    for setting, hint in get_type_hints(type(config), include_extras=True).items():
        if get_origin(hint) is not ClassVar:
            kind, rule = _kind_and_rule(hint)
            if setting in from_files:
                setattr(config, setting, _checked(setting, from_files[setting], rule, problems))
                continue
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
        problems |= {name: " ".join(texts) for name, texts in messages.items()}
    if problems:
        raise ConfigError(problems)
    for setting in ("JWT_KEYSET", "PASSWORD_LIST"):
        if path := getattr(config, setting):
            setattr(config, setting, str(ROOT / path))  # independent of the working directory
    if problems := config.problems():
        raise ConfigError(problems)
    return config


def _class_of_environment(env: Env) -> type[Config]:
    """The class that `APP_ENV` names.  Reads `.env` for development."""
    name = os.environ.get("APP_ENV", "development")
    if name not in CONFIGS:
        raise ConfigError({"APP_ENV": f"must be one of {', '.join(CONFIGS)}"})
    if name == "development":
        env.read_env(str(ROOT / ".env"), recurse=False)
        if env.str("APP_ENV", name) != name:
            raise ConfigError({"APP_ENV": "cannot be set in .env, which is for development; set it in the environment"})
    return CONFIGS[name]


def _checked(setting: str, value: str, rule: Validator | None, problems: dict[str, str]) -> str:
    """The value, which the rule has checked, because environs checks only variables."""
    try:
        if rule:
            rule(value)
    except ValidationError as error:
        problems[setting] = " ".join(map(str, error.messages))
    return value


def _kind_and_rule(hint: Any) -> tuple[type, Validator | None]:
    """`Annotated[int, Range(…)]` → `(int, Range(…))`; `bool` → `(bool, None)`."""
    if get_origin(hint) is Annotated:
        kind, rule = get_args(hint)
        return get_origin(kind) or kind, rule
    return hint, None
