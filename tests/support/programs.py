"""Programs that some tests need, but not every machine has."""

import os
import shutil

import pytest

from support.serving import BIN


def tool(name: str) -> str:
    """The path of a program.  Without it, skip the test, or fail in CI."""
    path = shutil.which(name, path=f"{BIN}:{os.environ['PATH']}:/usr/sbin")
    if path is None:
        missing = f"no {name}: install it to test the files in deploy/"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return path
