"""Bring a new migration into the style of the project, where ruff is installed."""

import subprocess
import sys
from importlib.util import find_spec


def tidy(path: str) -> None:
    """Correct what ruff can correct: the rest is reported by `ruff check`."""
    for words in (["check", "--fix", "--quiet", "--exit-zero"], ["format", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *words, path], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 -- our own words


if __name__ == "__main__" and find_spec("ruff"):
    tidy(sys.argv[1])
