"""The keys in force in this process: what signs, what verifies, and what strangers may see."""

import base64
import time
from pathlib import Path
from typing import Any, cast

from flask import Flask, current_app, g
from jwt import PyJWK

from app.auth.key_set import SECRET_KID, Key, KeySet, KeySetError, read_key_set
from app.logs import log_event

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

    def load(self) -> None:
        """Read the key set for the first time.

        Raises:
            KeySetError: where it cannot be used.
        """
        if self.path is None:
            if self._secret is None:
                raise KeySetError("names no file, and there is no JWT_SECRET_KEY either")
            self._current = KeySet({SECRET_KID: self._secret}, SECRET_KID)
            return
        version = _version(self.path)
        found = read_key_set(self.path)
        before = {SECRET_KID: self._secret} if self._secret else {}
        self._current = KeySet({**before, **found.keys}, found.signing_kid)
        self._version = version

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
        version = _version(path)
        if version == self._version:
            return
        try:
            self.load()
        except KeySetError as error:
            self._version = version  # told once for each change
            current_app.logger.error("JWT_KEYSET %s. The keys of before stay in force.", error)  # noqa: TRY400 -- no bug
        else:
            log_event("key_set_changed", kids=sorted(cast("KeySet", self._current).keys))


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
    app.extensions["keys"].load()


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
