"""Files with secrets and data: only their owner may read them."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Engine

_OTHERS = stat.S_IRWXG | stat.S_IRWXO  # the permissions of the group and of everybody


def make_private(folder: Path, database: URL) -> None:
    """Remove the permissions of others from `instance/` and its files.

    Creates the folder if the database is in it.  What another user owns stays as it is; `flask doctor`
    reports it.
    """
    if database.get_backend_name() == "sqlite" and not Path(database.database or "/").is_absolute():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in open_to_others(folder):
        with suppress(OSError):  # not ours, or read-only
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_OTHERS)


def open_to_others(folder: Path) -> Iterator[Path]:
    """The folder and the files in it on which others have permissions."""
    with suppress(OSError):  # it does not exist, or we may not list it
        for path in (folder, *folder.iterdir()):
            mode = path.lstat().st_mode  # a link may lead out of the folder
            if mode & _OTHERS and (stat.S_ISREG(mode) or path == folder):
                yield path


@event.listens_for(Engine, "do_connect")
def _create_for_the_owner(dialect: Any, _record: object, args: Any, options: dict[str, Any]) -> None:
    """Create the file of an SQLite database without permissions for others.

    SQLite gives the files beside it (`-wal`, `-shm`) the same mode.
    """
    if dialect.name == "sqlite" and args and args[0] not in ("", ":memory:") and not options.get("uri"):
        with suppress(OSError):  # it exists, or SQLite reports why it cannot be created
            os.close(os.open(args[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
