"""Programs that some tests need and not every machine has."""

import os
import shutil

import pytest

from support.serving import BIN


def tool(name):
    """The path of a command; where it is missing, the test is left out, but not in CI."""
    path = shutil.which(name, path=f"{BIN}:{os.environ['PATH']}:/usr/sbin")
    if path is None:
        leave = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        leave(f"no {name}: install it to have deploy/ checked")
    return path
