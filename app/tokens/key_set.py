"""The key set file.

It is a JWK Set (RFC 7517) with private keys and the signing kid:

    {"signing_kid": "…", "keys": [{"kid": "…", "alg": "EdDSA", "kty": "OKP", …}]}

`flask keys` writes it (`key_changes.py`), and every worker reads it.
"""

import re
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
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
        lambda: RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, MIN_SIGNING_RSA_BITS), as_dict=True),
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
    return parse_key_set(read_file(path))


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


def read_file(path: Path) -> dict[str, Any]:
    """Read the document of the file.

    Raises:
        KeySetError: if the file is missing, readable by others or malformed.
    """
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
