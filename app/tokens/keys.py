"""The keys of this process: the signing, verifying and public ones."""

import base64
import logging
import time
from pathlib import Path
from typing import Any, cast

from flask import Flask, current_app, g
from jwt import PyJWK

from app.tokens.key_set import (
    MIN_SIGNING_RSA_BITS,
    SECRET_KID,
    Key,
    KeySet,
    KeySetError,
    parse_key_set,
    read_document,
    read_key_set,
)
from app.web.logs import log_event

_log = logging.getLogger("app.keys")

# The last valid key set file, set by gunicorn.conf.py.  A new worker uses it if the file is broken by then.
sound_key_set: bytes | None = None

CHECK_EVERY = 5  # seconds until every worker uses a changed file


class KeyRing:
    """The key set, if there is one, and JWT_SECRET_KEY.

    With a key set the secret only verifies, so that switching to one logs nobody out.
    """

    def __init__(self, path: Path | None, secret: str) -> None:
        self.path = path
        self._secret = _secret_key(secret) if secret else None
        self._current: KeySet | None = None
        self._version: object = None
        self._checked_at = 0.0

    def load(self, sound: bytes | None = None) -> None:
        """Read the keys for the first time.

        Args:
            sound: the last valid content of the file, used if the file is invalid now.

        Raises:
            KeySetError: if the keys cannot be used.
        """
        try:
            self._current = self._read()
        except KeySetError as error:
            if sound is None:
                raise
            self._current = self._with_secret(parse_key_set(read_document(sound)))
            _log_broken(error)

    def _read(self) -> KeySet:
        if self.path is None:
            if self._secret is None:
                raise KeySetError("is not set and neither is JWT_SECRET_KEY; set one of them")
            return KeySet({SECRET_KID: self._secret}, SECRET_KID)
        self._version = _version(self.path)  # before reading, so that a change meanwhile is seen next time
        return self._with_secret(read_key_set(self.path))

    def _with_secret(self, found: KeySet) -> KeySet:
        before = {SECRET_KID: self._secret} if self._secret else {}
        keys = {**before, **found.keys}
        if found.signing_kid not in keys:
            raise KeySetError(
                "names JWT_SECRET_KEY as the signing key, which is not set; set it, or run: flask keys activate KID"
            )
        if keys[found.signing_kid].is_small:
            _log.warning(
                "JWT_KEYSET: the signing key %s has fewer than %s bits; make another one: flask keys generate",
                found.signing_kid,
                MIN_SIGNING_RSA_BITS,
            )
        return KeySet(keys, found.signing_kid)

    def current(self, *, looking_for: str | None = None) -> KeySet:
        """The current keys.

        Checks the file every few seconds, and at once for an unknown kid.
        """
        if self._current is None:
            self.load()
        now = time.monotonic()
        is_unknown = looking_for is not None and looking_for not in cast("KeySet", self._current).keys
        if self.path is not None and (is_unknown or now - self._checked_at >= CHECK_EVERY):
            self._checked_at = now
            self._reload_if_changed(self.path)
        return cast("KeySet", self._current)

    def _reload_if_changed(self, path: Path) -> None:
        if _version(path) == self._version:
            return
        try:
            self._current = self._read()
        except KeySetError as error:  # logged once per change
            _log_broken(error)
        else:
            log_event("key_set_changed", kids=sorted(self._current.keys))


def _log_broken(error: KeySetError) -> None:
    _log.error("JWT_KEYSET %s. The previous keys stay in use.", error)


def _version(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode


def _secret_key(secret: str) -> Key:
    """The key made from JWT_SECRET_KEY.  config.py checks its strength."""
    k = base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    jwk = PyJWK({"kty": "oct", "k": k}, algorithm="HS256")
    return Key(SECRET_KID, "HS256", jwk, jwk, None)


def init_app(app: Flask) -> None:
    """Configure the key ring.

    It reads the keys at the first use or in `load()`.
    """
    path = app.config["JWT_KEYSET"]
    app.extensions["keys"] = KeyRing(Path(path) if path else None, app.config["JWT_SECRET_KEY"])


def load_keys(app: Flask) -> None:
    """Read the keys now.

    This stops a server that has no valid keys before it serves.

    Raises:
        KeySetError: if the keys cannot be used.
    """
    app.extensions["keys"].load(sound_key_set)


def ring() -> KeyRing:
    """The key ring of this application."""
    return cast("KeyRing", current_app.extensions["keys"])


def signing_key() -> Key:
    """The signing key of this request.

    It is fixed, so that kid and signature always agree.
    """
    if "signing_key" not in g:
        now = ring().current()
        g.signing_key = now.keys[now.signing_kid]
    return cast("Key", g.signing_key)


def verifying_key(kid: Any) -> Key | None:
    """The key with this kid, or None."""
    return ring().current(looking_for=kid).keys.get(kid) if isinstance(kid, str) else None


def public_keys() -> list[dict[str, Any]]:
    """The public keys, as JWKs (RFC 7517 section 5).

    Symmetric keys are left out.
    """
    return [key.public for key in ring().current().keys.values() if key.public]


def derivation_secrets() -> tuple[bytes, ...]:
    """One secret per key, the signing key's last.

    Derive keys from them for signed values other than tokens.  They are the same on every machine,
    and retiring a key invalidates what was signed with it.
    """
    return ring().current().derivation_secrets
