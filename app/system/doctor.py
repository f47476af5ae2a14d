"""`flask doctor`: find faults of this installation and name the fix."""

import json
import stat
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy import exists, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from app.data.base import db
from app.data.connections import POSTGRESQL_SETTINGS
from app.data.files import open_to_others
from app.data.types import utcnow
from app.system.migrations import Schema, schema
from app.tokens.key_set import MIN_SECRET_BYTES, MIN_SIGNING_RSA_BITS, SECRET_KID, KeySetError
from app.tokens.keys import ring
from app.users.models import User
from app.users.passwords import outdated_hashes

CLOCKS = {  # seconds since 1970 by the database's clock; SQLite has none
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "mysql": "SELECT unix_timestamp(now(6))",
    "mariadb": "SELECT unix_timestamp(now(6))",
}


class Status(Enum):
    """The result of a check."""

    ok = "ok"
    warning = "warn"  # works, but should be improved
    failure = "FAIL"  # does not work or is not safe


class Finding(NamedTuple):
    """The result of one check, with the fix."""

    name: str
    status: Status
    message: str
    fix: str | None = None


MIGRATIONS = {
    Schema.behind: Finding("migrations", Status.failure, "the schema is not up to date", "flask db upgrade"),
    Schema.newest: Finding("migrations", Status.ok, "the schema is up to date"),
    Schema.ahead: Finding(
        "migrations",
        Status.warning,
        "the schema is of a newer release; this release works with it",
        "finish the upgrade",
    ),
}


def create_patient(problems: dict[str, str]) -> Flask:
    """An application that only runs `flask doctor`, for invalid settings.

    Args:
        problems: by setting, the problem and the fix.
    """
    patient = Flask("app", static_folder=None)
    patient.extensions["setting_problems"] = problems
    patient.cli.add_command(doctor)
    return patient


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
@with_appcontext
def doctor(*, as_json: bool) -> None:
    """Check settings, keys, database, migrations, files, clock and cookies.

    Exits with 1 if a check fails.
    """
    findings = list(_examine())
    healthy = all(finding.status is not Status.failure for finding in findings)
    if as_json:
        checks = [finding._asdict() | {"status": finding.status.name} for finding in findings]
        click.echo(json.dumps({"healthy": healthy, "checks": checks}, indent=2))
    else:
        for finding in findings:
            click.echo(f"{finding.status.value:4}  {finding.name:11}  {finding.message}")
            if finding.fix:
                click.echo(f"{'':19}→ {finding.fix}")
    if not healthy:
        raise click.exceptions.Exit(1)


def _examine() -> Iterator[Finding]:
    problems: dict[str, str] = current_app.extensions.get("setting_problems", {})
    for name, problem in problems.items():
        what, _, fix = problem.partition("; ")
        yield Finding("settings", Status.failure, f"{name} {what}", fix or None)
    if problems:
        return  # the other checks need valid settings
    environment = current_app.config["APP_ENV"]
    yield Finding("settings", Status.ok, f"all valid, for {environment}")
    yield _check_keys()
    yield from _check_database()
    yield from _check_files()
    yield from _check_edges()


def _check_keys() -> Finding:
    try:
        keys = ring().current()
    except KeySetError as error:
        what, _, fix = str(error).partition("; ")
        return Finding("keys", Status.failure, f"JWT_KEYSET {what}", fix or None)
    signs = keys.keys[keys.signing_kid]
    secret = current_app.config["JWT_SECRET_KEY"].encode()
    if SECRET_KID in keys.keys and len(secret) < MIN_SECRET_BYTES:
        fix = "make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
        return Finding("keys", Status.warning, f"JWT_SECRET_KEY is shorter than {MIN_SECRET_BYTES} bytes", fix)
    if signs.is_small:
        message = f"the signing key {signs.kid} has fewer than {MIN_SIGNING_RSA_BITS} bits"
        return Finding("keys", Status.warning, message, "flask keys generate --algorithm RS256, then activate it")
    return Finding("keys", Status.ok, f"{signs.kid} ({signs.algorithm}) signs, {len(keys.keys)} verify")


def _check_database() -> Iterator[Finding]:
    try:
        db.session.execute(select(1))
    except SQLAlchemyError:
        yield Finding(
            "database", Status.failure, "it does not answer", "start it, or correct DATABASE_URL and DATABASE_POOLER"
        )
        return
    backend = db.engine.dialect.name
    yield Finding("database", Status.ok, f"{backend} answers")
    migrated = schema()
    yield MIGRATIONS[migrated]
    yield from _check_clock(backend)
    if backend == "postgresql":
        yield _check_timeouts()
    if migrated is Schema.behind:
        return
    if not db.session.scalar(select(exists().where(User.is_admin, User.is_active))):
        yield Finding("admins", Status.warning, "there is no administrator", "flask users create NAME --admin")
    yield _check_hashes()


def _check_hashes() -> Finding:
    number = db.session.scalar(select(func.count(User.id)).where(outdated_hashes(User.password_hash)))
    if not number:
        return Finding("hashes", Status.ok, "all passwords have the configured costs")
    message = f"{number} password(s) have other costs than ARGON2_…; each changes with its user's next login"
    return Finding("hashes", Status.ok, message)


def _check_clock(backend: str) -> Iterator[Finding]:
    """Compare with the database's clock, which all machines share."""
    if backend not in CLOCKS:
        return
    seconds = abs(float(db.session.execute(text(CLOCKS[backend])).scalar_one()) - utcnow().timestamp())
    leeway = current_app.config["JWT_LEEWAY"]
    if seconds > max(leeway, 1):
        fix = "set the clocks by NTP: timedatectl set-ntp true"
        yield Finding("clock", Status.failure, f"differs from the database's by {seconds:.0f} s", fix)
    else:
        yield Finding("clock", Status.ok, "agrees with the database's")


def _check_timeouts() -> Finding:
    """Check the time limits and the time zone of a connection.

    A pooled connection ignores our connection options and uses those of its role.
    """
    names = list(POSTGRESQL_SETTINGS)
    role, *values = db.session.execute(select(func.current_user(), *map(func.current_setting, names))).one()
    missing = [name for name, value in zip(names, values, strict=True) if not _is_set(name, value)]
    if not missing:
        return Finding("timeouts", Status.ok, "the database limits long statements and uses UTC")
    role = db.engine.dialect.identifier_preparer.quote(role)
    fix = [f"ALTER ROLE {role} SET {name} = '{POSTGRESQL_SETTINGS[name]}';" for name in missing]
    if not current_app.config["DATABASE_POOLER"]:
        fix.insert(0, "set DATABASE_POOLER=true if there is a pooler;")
    return Finding("timeouts", Status.failure, f"{', '.join(missing)}: not set", " ".join(fix))


def _is_set(name: str, value: str) -> bool:
    return value in ("UTC", "Etc/UTC") if name == "timezone" else value != "0"


def _check_files() -> Iterator[Finding]:
    root = Path(current_app.root_path).parent
    secrets = [root / ".env", root / "instance" / "jwt_secret_key"]  # the key check covers a key set
    for path in open_to_others(root / "instance"):
        fix = f"chmod go= {path}"
        yield Finding("instance", Status.warning, f"{path} is open to other users; its owner is another user", fix)
    exposed = [path for path in secrets if _is_open(path)]
    for path in exposed:
        yield Finding(
            "files", Status.failure, f"{path} holds secrets and is readable by other users", f"chmod 600 {path}"
        )
    if db.engine.dialect.name == "sqlite" and db.engine.url.database:
        path = Path(db.engine.url.database)
        if _is_open(path):
            yield Finding("data", Status.warning, f"{path} can be read by other users", f"chmod 600 {path}")
    if not exposed:
        yield Finding("files", Status.ok, "no secret is readable by other users")


def _is_open(path: Path) -> bool:
    """Whether other users may access the file.

    The modes of the file and of its folder must both allow it.
    """
    try:
        mode, folder = path.stat().st_mode, path.parent.stat().st_mode
    except OSError:
        return False  # missing, or not accessible even to us
    return stat.S_ISREG(mode) and bool(mode & stat.S_IRWXO) and bool(folder & stat.S_IXOTH)


def _check_edges() -> Iterator[Finding]:
    """Checks that matter on a public server."""
    config = current_app.config
    cookies = "cookies are Secure and __Host-" if config["SECURE_COOKIES"] else "cookies are sent over plain HTTP too"
    yield Finding("cookies", Status.ok, cookies)
    if config["APP_ENV"] != "production":
        return
    if not config["TRUSTED_HOSTS"]:
        yield Finding("hosts", Status.warning, "every Host header is accepted", "set TRUSTED_HOSTS=api.example.com")
    if not config["TRUSTED_PROXIES"]:
        message = "X-Forwarded-For is ignored, so behind a proxy all clients share its address"
        yield Finding("proxies", Status.warning, message, "set TRUSTED_PROXIES=1 if there is one proxy")
