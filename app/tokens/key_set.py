"""The key set file: a JWK Set (RFC 7517) with private members, and the name of the key that signs.

    {"signing_kid": "…", "keys": [{"kid": "…", "alg": "EdDSA", "kty": "OKP", …}]}

`flask keys` writes it and every worker reads it.  It changes as a whole or not at all.
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

SECRET_KID = "secret"  # noqa: S105 -- the name that JWT_SECRET_KEY has: no key of a set may take it
MIN_RSA_BITS = 2048  # RFC 7518 section 3.3
MIN_SECRET_BYTES = 32  # RFC 7518 section 3.2
_KID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class KeySetError(Exception):
    """The key set cannot be used or changed so.  The text says why and how to mend it, and shows no key."""


class Kind(NamedTuple):
    """What a key of one algorithm is like, and how to make one."""

    kty: str
    crv: str | None
    public: tuple[str, ...]  # the members that may be shown (RFC 7518 section 6): none of a secret
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
    """A key with its name and its one algorithm (RFC 8725 section 3.1)."""

    kid: str
    algorithm: str
    signing: PyJWK
    verifying: PyJWK
    public: dict[str, Any] | None  # as the JWKS shows it; a secret is never shown


@dataclass(frozen=True)
class KeySet:
    """All keys that verify, by their names, and which of them signs."""

    keys: Mapping[str, Key]
    signing_kid: str
    verified: dict[str, Any] = field(default_factory=dict)  # tokens that these keys have verified, by their texts

    @cached_property
    def derivation_secrets(self) -> tuple[bytes, ...]:
        """One secret of each key, the one of the key that signs at the end."""
        others = [key for kid, key in self.keys.items() if kid != self.signing_kid]
        return tuple(_secret_of(key) for key in (*others, self.keys[self.signing_kid]))


def _secret_of(key: Key) -> bytes:
    jwk = key.signing.Algorithm.to_jwk(key.signing.key, as_dict=True)
    return str(jwk.get("d") or jwk["k"]).encode()


def make_key(jwk: Mapping[str, Any]) -> Key:
    """The key that a JWK with its private members describes.

    Raises:
        KeySetError: where it is weak, incomplete, or of a kind that we do not sign with.
    """
    kid, algorithm = jwk.get("kid"), jwk.get("alg")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise KeySetError("a key has no kid of 1 to 64 letters, digits and . _ -")
    if not isinstance(algorithm, str) or algorithm not in KINDS:
        raise KeySetError(f"the key {kid} has no alg of {', '.join(KINDS)}")
    kind = KINDS[algorithm]
    if jwk.get("kty") != kind.kty or (kind.crv and jwk.get("crv") != kind.crv):
        raise KeySetError(f"the key {kid} is no key for {algorithm}")
    if ("k" if kind.kty == "oct" else "d") not in jwk:
        raise KeySetError(f"the key {kid} lacks its private part")
    try:
        signing = PyJWK(dict(jwk), algorithm=algorithm)
        own = signing.key
        public = None if kind.kty == "oct" else signing.Algorithm.to_jwk(own.public_key(), as_dict=True)
        verifying = PyJWK(public, algorithm=algorithm) if public else signing
    except (PyJWTError, ValueError, TypeError, AttributeError):
        raise KeySetError(f"the key {kid} is malformed") from None
    if (kind.kty == "RSA" and own.key_size < MIN_RSA_BITS) or (kind.kty == "oct" and len(own) < MIN_SECRET_BYTES):
        raise KeySetError(f"the key {kid} is too weak; retire it")
    shown = public and {name: public[name] for name in kind.public} | {"kid": kid, "alg": algorithm, "use": "sig"}
    return Key(kid, algorithm, signing, verifying, shown)


def read_key_set(path: Path) -> KeySet:
    """The key set of the file.

    Raises:
        KeySetError: where it is not there, open to others, malformed, or has no key that signs.
    """
    return parse_key_set(_read(path))


def parse_key_set(document: Mapping[str, Any]) -> KeySet:
    """The key set of a document that was read.

    Raises:
        KeySetError: where a key is bad, or none signs.
    """
    keys = [make_key(jwk) for jwk in document["keys"]]
    by_kid = {key.kid: key for key in keys}
    if len(by_kid) != len(keys) or SECRET_KID in by_kid:
        raise KeySetError(f"two keys have one kid, or one is called {SECRET_KID}; give each a name of its own")
    if document["signing_kid"] not in {*by_kid, SECRET_KID}:
        raise KeySetError("no key of it signs; choose one: flask keys activate KID")
    return KeySet(by_kid, document["signing_kid"])


def is_exposed(path: Path) -> bool:
    """Whether others than its owner and its group may read the file, or others than its owner may change it."""
    return bool(path.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP))


def _read(path: Path) -> dict[str, Any]:
    try:
        if is_exposed(path):
            raise KeySetError(f"is open to other users; close it: chmod 600 {path}")
        return read_document(path.read_bytes())
    except FileNotFoundError:
        raise KeySetError("is not there; make one: flask keys generate --algorithm EdDSA") from None
    except OSError as error:
        raise KeySetError(f"cannot be read ({error.strerror}); give it to the user that runs this, mode 600") from None


def read_document(content: bytes) -> dict[str, Any]:
    """The members of a key set file.

    Raises:
        KeySetError: where it is none.
    """
    try:
        document = strict_json(content)
    except ValueError as error:
        raise KeySetError(f"is malformed ({error}); restore it from a backup, or make a new one") from None
    match document:
        case {"keys": list(keys)} if all(isinstance(jwk, dict) for jwk in keys):
            return {"signing_kid": document.get("signing_kid"), "keys": keys}
    raise KeySetError('is malformed (it has no list "keys"); restore it from a backup, or make a new one')


@contextmanager
def _changing(path: Path, *, new: bool = False) -> Iterator[dict[str, Any]]:
    """The document to change.  One command at a time; what it makes of it replaces the file in one step."""
    path = path.resolve()  # a link goes on leading to it
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl: Any = import_module("fcntl")  # POSIX alone has it; only the command that changes a file needs it
        fcntl.flock(folder, fcntl.LOCK_EX)
        before = path.stat() if path.exists() or not new else None
        document = _read(path) if before else {"signing_kid": None, "keys": []}
        was_sound = before is None or _is_sound(document)
        yield document
        if was_sound:  # what was bad before may be mended step by step
            parse_key_set(document)
        _replace(path, json.dumps(document, indent=2), before)
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_sound(document: Mapping[str, Any]) -> bool:
    try:
        parse_key_set(document)
    except KeySetError:
        return False
    return True


def _replace(path: Path, text: str, before: os.stat_result | None) -> None:
    """Write the file anew, for those who could read it before and for nobody else."""
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
    """Add a key that only verifies; the first of a set signs.  Its kid, and whether it signs."""
    kid = f"{now:%Y-%m-%d}-{algorithm.lower()}-{secrets.token_hex(4)}"
    with _changing(path, new=True) as document:
        document["keys"].append(KINDS[algorithm].generate() | {"kid": kid, "alg": algorithm, "use": "sig"})
        if len(document["keys"]) == 1:
            document["signing_kid"] = kid
        return kid, document["signing_kid"] == kid


def activate_key(path: Path, kid: str) -> None:
    """Make it the key that signs; the one before goes on verifying."""
    with _changing(path) as document:
        if kid != SECRET_KID:  # JWT_SECRET_KEY may go on signing while the set is brought to every machine
            _find(document, kid)
        document["signing_kid"] = kid


def retire_key(path: Path, kid: str) -> None:
    """Remove the key: what it signed is no token any more."""
    with _changing(path) as document:
        jwk = _find(document, kid)
        if document["signing_kid"] == kid:
            raise KeySetError(f"{kid} is the key that signs; first activate another")
        document["keys"].remove(jwk)


def _find(document: dict[str, Any], kid: str) -> dict[str, Any]:
    keys: list[dict[str, Any]] = document["keys"]
    for jwk in keys:
        if jwk.get("kid") == kid:
            return jwk
    raise KeySetError(f"there is no key {kid}: see flask keys list")
