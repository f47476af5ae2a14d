"""The keys in force in this process: what signs, what verifies, and what strangers may see."""

import base64
import logging
import time
from pathlib import Path
from typing import Any, cast

from flask import Flask, current_app, g
from jwt import PyJWK

from app.tokens.key_set import SECRET_KID, Key, KeySet, KeySetError, parse_key_set, read_document, read_key_set
from app.web.logs import log_event

_log = logging.getLogger("app.keys")

# What a worker that takes another's place falls back on: gunicorn.conf.py sets it, where the file was sound.
sound_key_set: bytes | None = None

CHECK_EVERY = 5  # seconds: a change of the file is in force in every worker after at most so long


class KeyRing:
    """JWT_SECRET_KEY, and the key set in front of it where there is one.

    With a key set the secret only verifies, so that moving to one logs nobody out.
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
            sound: what stood in the file when it was last sound, for a process that takes the place of another.

        Raises:
            KeySetError: where they cannot be used.
        """
        try:
            self._current = self._read()
        except KeySetError as error:
            if sound is None:
                raise
            self._current = self._with_secret(parse_key_set(read_document(sound)))
            _tell_broken(error)

    def _read(self) -> KeySet:
        if self.path is None:
            if self._secret is None:
                raise KeySetError("names no file, and there is no JWT_SECRET_KEY either")
            return KeySet({SECRET_KID: self._secret}, SECRET_KID)
        self._version = _version(self.path)  # before it is read: what changes meanwhile is seen the next time
        return self._with_secret(read_key_set(self.path))

    def _with_secret(self, found: KeySet) -> KeySet:
        before = {SECRET_KID: self._secret} if self._secret else {}
        keys = {**before, **found.keys}
        if found.signing_kid not in keys:
            raise KeySetError("lets JWT_SECRET_KEY sign, which is not set; set it, or: flask keys activate KID")
        return KeySet(keys, found.signing_kid)

    def current(self, *, looking_for: str | None = None) -> KeySet:
        """The keys of now.  The file is looked at every few seconds, and at once for a name that is not known yet."""
        if self._current is None:
            self.load()
        now = time.monotonic()
        strange = looking_for is not None and looking_for not in cast("KeySet", self._current).keys
        if self.path is not None and (strange or now - self._checked_at >= CHECK_EVERY):
            self._checked_at = now
            self._look(self.path)
        return cast("KeySet", self._current)

    def _look(self, path: Path) -> None:
        if _version(path) == self._version:
            return
        try:
            self._current = self._read()
        except KeySetError as error:  # told once for each change
            _tell_broken(error)
        else:
            log_event("key_set_changed", kids=sorted(self._current.keys))


def _tell_broken(error: KeySetError) -> None:
    _log.error("JWT_KEYSET %s. The keys of before stay in force.", error)


def _version(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode


def _secret_key(secret: str) -> Key:
    """The key that a setting is.  How strong it must be is for the settings to say."""
    k = base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    jwk = PyJWK({"kty": "oct", "k": k}, algorithm="HS256")
    return Key(SECRET_KID, "HS256", jwk, jwk, None)


def init_app(app: Flask) -> None:
    """Say where the keys are.  They are read at the first use, or by `load()`."""
    path = app.config["JWT_KEYSET"]
    app.extensions["keys"] = KeyRing(Path(path) if path else None, app.config["JWT_SECRET_KEY"])


def load_keys(app: Flask) -> None:
    """Read the keys now, so that a server without one does not start.

    Raises:
        KeySetError: where they cannot be used.
    """
    app.extensions["keys"].load(sound_key_set)


def ring() -> KeyRing:
    """The keys of this application."""
    return cast("KeyRing", current_app.extensions["keys"])


def signing_key() -> Key:
    """The key that signs, the same for the whole request: a name and a signature never come from two keys."""
    if "signing_key" not in g:
        now = ring().current()
        g.signing_key = now.keys[now.signing_kid]
    return cast("Key", g.signing_key)


def verifying_key(kid: Any) -> Key | None:
    """The key of that name, if there is one."""
    return ring().current(looking_for=kid).keys.get(kid) if isinstance(kid, str) else None


def public_keys() -> list[dict[str, Any]]:
    """What others verify our tokens with (RFC 7517 section 5).  A secret is not among them."""
    return [key.public for key in ring().current().keys.values() if key.public]


def derivation_secrets() -> tuple[bytes, ...]:
    """One secret of each key in force, the one of the key that signs at the end.

    For what is signed but is no token: derive a key of its own from it.  Every
    machine has the same, and a key that is retired takes it along.
    """
    return ring().current().derivation_secrets
