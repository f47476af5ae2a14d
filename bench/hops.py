"""Count the functions and files of app/ that a request enters.

    PYTHONPATH=. python bench/hops.py

Prints calls, distinct functions, files and changes of file for each request. The reader of a feature follows this path.
"""

import os
import sys
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["APP_ENV"] = "testing"

from flask import Flask  # noqa: E402
from flask_migrate import upgrade  # noqa: E402

from app import create_app  # noqa: E402
from config import TestingConfig  # noqa: E402

APP = str(ROOT / "app")


def hops(request: Any) -> str:
    """The counts of one request, as a line of the table."""
    entered: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(APP) and not code.co_name.startswith("<"):
            entered.append((code.co_filename, code.co_qualname))

    sys.setprofile(note)
    try:
        response = request()
    finally:
        sys.setprofile(None)
    files = [file for file, _function in entered]
    changes = sum(before != after for before, after in pairwise(files))
    counts = (response.status_code, len(entered), len(set(entered)), len(set(files)), changes)
    return " ".join(f"{count:>9}" for count in counts)


def main() -> None:
    """Print the table."""
    with TemporaryDirectory() as folder:
        config = TestingConfig()
        config.DATABASE_URL = f"sqlite:///{folder}/hops.db"
        config.LOG_LEVEL = "WARNING"
        measure(create_app(config))


def measure(app: Flask) -> None:
    """Count each request once, after a first request has filled the caches."""
    with app.app_context():
        upgrade()
    client = app.test_client()
    account = {"username": "grace", "password": "correct horse battery"}
    client.post("/api/v1/auth/register", json=account)
    app.test_cli_runner().invoke(args=["users", "promote", "grace"])
    tokens = client.post("/api/v1/auth/login", json=account).json
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    items = "/api/v1/items"
    item = {"name": "Lamp", "price": "19.90"}
    client.post(items, json={"name": "First", "price": "1"}, headers=headers)
    requests = {
        "who am I": lambda: client.get("/api/v1/users/me", headers=headers),
        "create": lambda: client.post(items, json=item, headers=headers),
        "read": lambda: client.get(f"{items}/1", headers=headers),
        "list": lambda: client.get(items, headers=headers),
        "delete": lambda: client.delete(f"{items}/1", headers=headers),
        "login": lambda: client.post("/api/v1/auth/login", json=account),
    }
    print(f"{'':9}    status     calls functions     files   changes")
    for name, request in requests.items():
        print(f"{name:9} {hops(request)}")


if __name__ == "__main__":
    main()
