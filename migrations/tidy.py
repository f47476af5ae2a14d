"""Format a new migration with ruff, if it is installed."""

import subprocess
import sys
from importlib.util import find_spec


def tidy(path: str) -> None:
    """Apply the automatic fixes.  `ruff check` reports the other problems."""
    for words in (["check", "--fix", "--quiet", "--exit-zero"], ["format", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *words, path], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 -- constant arguments


if __name__ == "__main__" and find_spec("ruff"):
    tidy(sys.argv[1])
