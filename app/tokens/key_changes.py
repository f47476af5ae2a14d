"""Change the key set file.

The file is replaced atomically, and one command at a time changes it.
"""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from app.tokens.key_set import (
    KINDS,
    MIN_SIGNING_RSA_BITS,
    SECRET_KID,
    KeySetError,
    make_key,
    parse_key_set,
    read_file,
)


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
        document = read_file(path) if before else {"signing_kid": None, "keys": []}
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
