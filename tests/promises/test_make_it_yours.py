"""docs/make-it-yours.md, followed to the letter in a copy of the project."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "make-it-yours.md").read_text()
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "instance", "node_modules")
TESTED = ("tests/promises/test_architecture.py", "tests/promises/test_config.py", "tests/features/items")

pytestmark = pytest.mark.programs


def section(title):
    """The text below a heading of the page, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def follow(project, text):
    """Delete the files and edit the lines that a section names."""
    for commands in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in commands.splitlines():
            subprocess.run(shlex.split(line), cwd=project, check=True)
    for name, hunks in re.findall(r"```diff file=(\S+)\n(.*?)```", text, re.DOTALL):
        path = project / name
        for hunk in hunks.split("@@\n"):
            path.write_text(edited(path.read_text(), hunk))
    for name, contents in re.findall(r"```python file=(\S+)\n(.*?)```", text, re.DOTALL):
        (project / name).write_text(contents)


def edited(text, hunk):
    """The text with the lines of one hunk replaced."""
    old, new = ("".join(line[1:] for line in hunk.splitlines(keepends=True) if line[0] == sign) for sign in "-+")
    assert text.count(old) == 1, hunk
    return text.replace(old, new)


def run(project, *words):
    environment = {"PATH": "/usr/bin:/bin", "TEST_DATABASES": "sqlite"}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("title", ["Delete the metrics and traces", "Delete the idempotency keys"])
def test_a_part_can_be_deleted(title, tmp_path):
    """After the edits of the page, ruff and the tests still pass."""
    project = tmp_path / "copy"
    shutil.copytree(ROOT, project, ignore=LEFT_OUT)
    follow(project, section(title))

    run(project, "ruff", "check", "--no-cache", "--force-exclude", ".")
    run(project, "ruff", "format", "--check", "--no-cache", ".")
    run(project, "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not programs", *TESTED)
