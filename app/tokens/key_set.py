"""The key set file.

It is a JWK Set (RFC 7517) with private keys and the signing kid:

    {"signing_kid": "…", "keys": [{"kid": "…", "alg": "EdDSA", "kty": "OKP", …}]}

`flask keys` writes it and every worker reads it.  It is replaced atomically.
"""

import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import PyJWK, PyJWTError
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from app.web.strict_json import strict_json

SECRET_KID = "secret"  # noqa: S105 -- the kid of JWT_SECRET_KEY, reserved
MIN_RSA_BITS = 2048  # RFC 7518 section 3.3
MIN_SIGNING_RSA_BITS = 3072  # 128 bits of strength (NIST SP 800-57 part 1 revision 5)
MIN_SECRET_BYTES = 32  # RFC 7518 section 3.2
_KID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class KeySetError(Exception):
    """The key set is invalid or cannot be changed.

    The message says why and names the fix, but shows no key.
    """


class Kind(NamedTuple):
    """An algorithm's key type, and how to generate such a key."""

    kty: str
    crv: str | None
    public: tuple[str, ...]  # the public members (RFC 7518 section 6)
    generate: Callable[[], dict[str, Any]]


KINDS = {
    "EdDSA": Kind(
        "OKP", "Ed25519", ("kty", "crv", "x"),
        lambda: OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate(), as_dict=True),
    ),
    "ES256": Kind(
        "EC", "P-256", ("kty", "crv", "x", "y"),
        lambda: ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True),
    ),
    "RS256": Kind(
        "RSA", None, ("kty", "n", "e"),
        lambda: RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 3072), as_dict=True),
    ),
    "HS256": Kind("oct", None, (), lambda: HMACAlgorithm.to_jwk(secrets.token_bytes(MIN_SECRET_BYTES), as_dict=True)),
}  # fmt: skip


class Key(NamedTuple):
    """A key, its kid and its only algorithm (RFC 8725 section 3.1)."""

    kid: str
    algorithm: str
    signing: PyJWK
    verifying: PyJWK
    public: dict[str, Any] | None  # as the JWKS shows it; None for a symmetric key

    @property
    def is_small(self) -> bool:
        """Whether this is an RSA key that should not sign."""
        return self.algorithm == "RS256" and self.signing.key.key_size < MIN_SIGNING_RSA_BITS


@dataclass(frozen=True)
class KeySet:
    """All verifying keys by kid, and the kid of the signing key."""

    keys: Mapping[str, Key]
    signing_kid: str
    verified: dict[str, Any] = field(default_factory=dict)  # cache of verified tokens, by their text

    @cached_property
    def derivation_secrets(self) -> tuple[bytes, ...]:
        """One secret per key, the signing key's last."""
        others = [key for kid, key in self.keys.items() if kid != self.signing_kid]
        return tuple(_secret_of(key) for key in (*others, self.keys[self.signing_kid]))


def _secret_of(key: Key) -> bytes:
    jwk = key.signing.Algorithm.to_jwk(key.signing.key, as_dict=True)
    return str(jwk.get("d") or jwk["k"]).encode()


def make_key(jwk: Mapping[str, Any]) -> Key:
    """Build a key from a private JWK.

    Raises:
        KeySetError: if the key is weak, incomplete or of an unsupported kind.
    """
    kid, algorithm = jwk.get("kid"), jwk.get("alg")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise KeySetError("has a key without a kid of 1 to 64 letters, digits and . _ -")
    if not isinstance(algorithm, str) or algorithm not in KINDS:
        raise KeySetError(f"has a key {kid} whose alg is none of {', '.join(KINDS)}")
    kind = KINDS[algorithm]
    if jwk.get("kty") != kind.kty or (kind.crv and jwk.get("crv") != kind.crv):
        raise KeySetError(f"has a key {kid} that does not fit {algorithm}")
    if ("k" if kind.kty == "oct" else "d") not in jwk:
        raise KeySetError(f"has a key {kid} without its private part")
    try:
        signing = PyJWK(dict(jwk), algorithm=algorithm)
        own = signing.key
        public = None if kind.kty == "oct" else signing.Algorithm.to_jwk(own.public_key(), as_dict=True)
        verifying = PyJWK(public, algorithm=algorithm) if public else signing
    except (PyJWTError, ValueError, TypeError, AttributeError):
        raise KeySetError(f"has a malformed key {kid}") from None
    if (kind.kty == "RSA" and own.key_size < MIN_RSA_BITS) or (kind.kty == "oct" and len(own) < MIN_SECRET_BYTES):
        raise KeySetError(f"has a weak key {kid}; retire it")
    shown = public and {name: public[name] for name in kind.public} | {"kid": kid, "alg": algorithm, "use": "sig"}
    return Key(kid, algorithm, signing, verifying, shown)


def read_key_set(path: Path) -> KeySet:
    """Read the key set file.

    Raises:
        KeySetError: if the file is missing, readable by others, malformed or without a signing key.
    """
    return parse_key_set(_read(path))


def parse_key_set(document: Mapping[str, Any]) -> KeySet:
    """Build the key set from the document of the file.

    Raises:
        KeySetError: if a key is invalid or none signs.
    """
    keys = [make_key(jwk) for jwk in document["keys"]]
    by_kid = {key.kid: key for key in keys}
    if len(by_kid) != len(keys) or SECRET_KID in by_kid:
        raise KeySetError(f"has a kid twice, or the reserved kid {SECRET_KID}; give each key its own kid")
    if document["signing_kid"] not in {*by_kid, SECRET_KID}:
        raise KeySetError("has no signing key; choose one: flask keys activate KID")
    return KeySet(by_kid, document["signing_kid"])


def is_exposed(path: Path) -> bool:
    """Whether other users may read the file or the group write it."""
    return bool(path.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP))


def _read(path: Path) -> dict[str, Any]:
    try:
        if is_exposed(path):
            raise KeySetError(f"is open to other users; run: chmod 600 {path}")
        return read_document(path.read_bytes())
    except FileNotFoundError:
        raise KeySetError("does not exist; run: flask keys generate --algorithm EdDSA") from None
    except OSError as error:
        raise KeySetError(
            f"cannot be read ({error.strerror}); make it readable for the user that runs the server"
        ) from None


def read_document(content: bytes) -> dict[str, Any]:
    """Parse the content of a key set file.

    Raises:
        KeySetError: if it is malformed.
    """
    try:
        document = strict_json(content)
    except ValueError as error:
        raise KeySetError(f"is malformed ({error}); restore a backup or make a new one") from None
    match document:
        case {"keys": list(keys)} if all(isinstance(jwk, dict) for jwk in keys):
            return {"signing_kid": document.get("signing_kid"), "keys": keys}
    raise KeySetError('is malformed (it has no list "keys"); restore a backup or make a new one')


@contextmanager
def _changing(path: Path, *, new: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the document to change, then replace the file atomically.

    Locks out other commands.
    """
    path = path.resolve()  # a symbolic link stays one
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl: Any = import_module("fcntl")  # POSIX only, and only commands need it
        fcntl.flock(folder, fcntl.LOCK_EX)
        before = path.stat() if path.exists() or not new else None
        document = _read(path) if before else {"signing_kid": None, "keys": []}
        was_valid = before is None or _is_valid(document)
        yield document
        if was_valid:  # an invalid set may be repaired step by step
            parse_key_set(document)
        _replace(path, json.dumps(document, indent=2), before)
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_valid(document: Mapping[str, Any]) -> bool:
    try:
        parse_key_set(document)
    except KeySetError:
        return False
    return True


def _replace(path: Path, text: str, before: os.stat_result | None) -> None:
    """Replace the file atomically, with the same owner and permissions.

    Permissions beyond 640 are removed.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if before is not None:
                os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, before.st_mode & 0o640)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def generate_key(path: Path, algorithm: str, now: datetime) -> tuple[str, bool]:
    """Add a verifying key.  The first key of a set signs.

    Returns:
        The kid, and whether the key signs.
    """
    kid = f"{now:%Y-%m-%d}-{algorithm.lower()}-{secrets.token_hex(4)}"
    with _changing(path, new=True) as document:
        document["keys"].append(KINDS[algorithm].generate() | {"kid": kid, "alg": algorithm, "use": "sig"})
        if len(document["keys"]) == 1:
            document["signing_kid"] = kid
        return kid, document["signing_kid"] == kid


def activate_key(path: Path, kid: str) -> None:
    """Sign with this key from now on.  The previous one still verifies."""
    with _changing(path) as document:
        if kid != SECRET_KID:  # the secret may sign while the file is copied to every machine
            key = make_key(_find(document, kid))
            if key.is_small:
                raise KeySetError(
                    f"{kid} has fewer than {MIN_SIGNING_RSA_BITS} bits, so it only verifies; "
                    "make another key: flask keys generate --algorithm RS256"
                )
        document["signing_kid"] = kid


def retire_key(path: Path, kid: str) -> None:
    """Remove the key.  Its tokens become invalid."""
    with _changing(path) as document:
        jwk = _find(document, kid)
        if document["signing_kid"] == kid:
            raise KeySetError(f"{kid} is the signing key; activate another one first")
        document["keys"].remove(jwk)


def _find(document: dict[str, Any], kid: str) -> dict[str, Any]:
    keys: list[dict[str, Any]] = document["keys"]
    for jwk in keys:
        if jwk.get("kid") == kid:
            return jwk
    raise KeySetError(f"has no key {kid}; see: flask keys list")
