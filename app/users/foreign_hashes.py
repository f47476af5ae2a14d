"""Password hashes of other applications.

They are imported, verified at the next login, and renewed as Argon2id.
"""

import base64
import hashlib
import hmac
import re
from binascii import Error as Base64Error
from collections.abc import Callable
from typing import NamedTuple

from werkzeug.security import check_password_hash

try:
    import bcrypt
except ImportError:  # the extra `import` is not installed
    HAS_BCRYPT = False
else:
    HAS_BCRYPT = True

# The most that one check may cost: about two seconds of a core, and this memory.  A file with higher parameters would
# make each login of its users a denial of service.
MAX_MEMORY = 128 * 1024  # KiB
MAX_ARGON2_WORK = 1024 * 1024  # KiB times passes
MAX_SCRYPT_WORK = 512 * 1024  # KiB times p
MAX_LANES = 16
MAX_ITERATIONS = 2_000_000
MAX_ROUNDS = 14  # of bcrypt, each of which doubles the cost
MIN_SCRYPT_N = 1024  # below it, Werkzeug asks OpenSSL for too little memory
MIN_ARGON2_BYTES = 8, 16  # of the salt (RFC 9106) and of the digest
DIGEST_BYTES = {"sha1": 20, "sha256": 32, "sha512": 64}
# The KiB that Argon2 processes in the time of one iteration or KiB of the others, measured on x86-64.
ITERATION_WORK = {"sha1": 0.4, "sha256": 0.54, "sha512": 1.2}
SCRYPT_WORK = 3.3
BCRYPT_WORK = 77
BCRYPT_START, BCRYPT_PREFIX = "$2", 7  # `$2b$12$`: 7 characters before the salt
BCRYPT_BYTES = 72  # of the password; bcrypt ignores the rest

INSTALL_BCRYPT = "Install the package bcrypt first: pip install --require-hashes -r requirements/extras.txt"
UNKNOWN = "Not a hash of Argon2, Werkzeug (scrypt, pbkdf2), passlib (PBKDF2) or bcrypt."
MALFORMED = "The hash is malformed."
TOO_COSTLY = "Checking a password against this hash would cost too much. docs/operations.md lists the limits."

# Marks an imported Argon2 hash.  Its password may not be in NFKC, unlike the passwords of our own hashes.
IMPORTED = "imported"
_NUMBER = r"([1-9][0-9]{0,9})"


class _Format(NamedTuple):
    start: str
    pattern: re.Pattern[str]
    fault: Callable[[re.Match[str]], str | None]
    work: Callable[[re.Match[str]], int | None]  # as `work_of`
    verify: Callable[[re.Match[str], str], bool]


def is_foreign(password_hash: str) -> bool:
    """Whether the hash is imported and not renewed yet."""
    return not password_hash.startswith("$argon2")


def stored(password_hash: str) -> str:
    """The form in which an imported hash is stored."""
    return password_hash if is_foreign(password_hash) else IMPORTED + password_hash


def imported_argon2(password_hash: str) -> str | None:
    """The Argon2 hash in a stored hash.  None for another kind."""
    return password_hash.removeprefix(IMPORTED) if password_hash.startswith(IMPORTED) else None


def fault_of(password_hash: str) -> str | None:
    """Why a stored foreign hash cannot be verified.  None if it can.

    The reason quotes nothing of the hash.
    """
    for form in _FORMATS:
        if password_hash.startswith(form.start):
            found = form.pattern.fullmatch(password_hash)
            return form.fault(found) if found else MALFORMED
    return UNKNOWN


def verify_foreign(password_hash: str, password: str) -> bool:
    """Whether the password matches a foreign hash other than Argon2.

    Args:
        password_hash: one for which `fault_of` is None.
        password: as typed, because other applications do not normalise it.
    """
    form = next(form for form in _FORMATS if password_hash.startswith(form.start))
    found = form.pattern.fullmatch(password_hash)
    return found is not None and form.verify(found, password)


def work_of(password_hash: str) -> int | None:
    """How many KiB Argon2 processes in the time of a foreign hash.

    None for Argon2, which says it itself, and for a hash that nothing can match.
    """
    for form in _FORMATS:
        if password_hash.startswith(form.start) and (found := form.pattern.fullmatch(password_hash)):
            return form.work(found)
    return None


def parameters_of(password_hash: str) -> str:
    """The beginning of a hash of any kind, up to its salt."""
    if password_hash.startswith(BCRYPT_START):
        return password_hash[:BCRYPT_PREFIX]
    return password_hash.rpartition("$")[0].rpartition("$")[0] + "$"


def _decoded(text: str) -> bytes | None:
    """Base64 without padding, with `+` or, as in passlib, `.`."""
    try:
        return base64.b64decode(text.replace(".", "+") + "=" * (-len(text) % 4), validate=True)
    except Base64Error:
        return None


def _argon2_fault(found: re.Match[str]) -> str | None:
    memory, passes, lanes = map(int, found.group(1, 2, 3))
    parts = [_decoded(text) for text in found.group(4, 5)]
    if memory < 8 * lanes or any(
        part is None or len(part) < least for part, least in zip(parts, MIN_ARGON2_BYTES, strict=True)
    ):
        return MALFORMED
    is_costly = memory > MAX_MEMORY or memory * passes > MAX_ARGON2_WORK or lanes > MAX_LANES
    return TOO_COSTLY if is_costly else None


def _own_work(_found: re.Match[str]) -> int | None:
    return None


def _scrypt_work(found: re.Match[str]) -> int:
    n, r, p = map(int, found.group(1, 2, 3))
    return int(n * r // 8 * p * SCRYPT_WORK)


def _pbkdf2_work(found: re.Match[str]) -> int:
    return int(int(found[2]) * ITERATION_WORK[found[1] or "sha1"])


def _bcrypt_work(found: re.Match[str]) -> int:
    return int(2 ** int(found[1]) * BCRYPT_WORK)


def _never(_found: re.Match[str], _password: str) -> bool:
    """Only passwords.py knows argon2."""
    return False


def _scrypt_fault(found: re.Match[str]) -> str | None:
    n, r, p = map(int, found.group(1, 2, 3))
    memory = n * r // 8  # KiB
    if memory > MAX_MEMORY or memory * p > MAX_SCRYPT_WORK or p > MAX_LANES:
        return TOO_COSTLY
    is_power = n & (n - 1) == 0
    return None if is_power and MIN_SCRYPT_N <= n < 2 ** (16 * r) else MALFORMED  # RFC 7914 section 2


def _verify_werkzeug(found: re.Match[str], password: str) -> bool:
    return check_password_hash(found[0], password)


def _pbkdf2_fault(found: re.Match[str]) -> str | None:
    if len(found[4]) != 2 * DIGEST_BYTES[found[1]]:
        return MALFORMED
    return TOO_COSTLY if int(found[2]) > MAX_ITERATIONS else None


def _passlib_fault(found: re.Match[str]) -> str | None:
    salt, digest = _decoded(found[3]), _decoded(found[4])
    if salt is None or digest is None or len(digest) != DIGEST_BYTES[found[1] or "sha1"]:
        return MALFORMED
    return TOO_COSTLY if int(found[2]) > MAX_ITERATIONS else None


def _verify_passlib(found: re.Match[str], password: str) -> bool:
    salt, digest = _decoded(found[3]) or b"", _decoded(found[4]) or b""
    made = hashlib.pbkdf2_hmac(found[1] or "sha1", password.encode(), salt, int(found[2]))
    return hmac.compare_digest(made, digest)


def _bcrypt_fault(found: re.Match[str]) -> str | None:
    if not HAS_BCRYPT:
        return INSTALL_BCRYPT
    return TOO_COSTLY if int(found[1]) > MAX_ROUNDS else None


def _verify_bcrypt(found: re.Match[str], password: str) -> bool:
    return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES], found[0].encode())


_ARGON2 = rf"{IMPORTED}\$argon2(?:id|i|d)(?:\$v=(?:16|19))?\$m={_NUMBER},t={_NUMBER},p={_NUMBER}\$"
_BASE64 = r"([A-Za-z0-9+/]+)"
_PASSLIB = r"([A-Za-z0-9./]*)"
_FORMATS = (
    _Format(IMPORTED, re.compile(rf"{_ARGON2}{_BASE64}\${_BASE64}"), _argon2_fault, _own_work, _never),
    _Format(
        "scrypt:",
        re.compile(rf"scrypt:{_NUMBER}:{_NUMBER}:{_NUMBER}\$[!-#%-~]+\$[0-9a-f]{{128}}"),
        _scrypt_fault,
        _scrypt_work,
        _verify_werkzeug,
    ),
    _Format(
        "pbkdf2:",
        re.compile(rf"pbkdf2:(sha1|sha256|sha512):{_NUMBER}\$([!-#%-~]+)\$([0-9a-f]+)"),
        _pbkdf2_fault,
        _pbkdf2_work,
        _verify_werkzeug,
    ),
    _Format(
        "$pbkdf2",
        re.compile(rf"\$pbkdf2(?:-(sha256|sha512))?\${_NUMBER}\${_PASSLIB}\${_PASSLIB}"),
        _passlib_fault,
        _pbkdf2_work,
        _verify_passlib,
    ),
    _Format(
        BCRYPT_START,
        re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}"),
        _bcrypt_fault,
        _bcrypt_work,
        _verify_bcrypt,
    ),
)
