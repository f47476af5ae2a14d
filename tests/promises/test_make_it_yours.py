"""docs/make-it-yours.md, followed to the letter in a copy of the project."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "make-it-yours.md").read_text()
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "instance", "node_modules")
CHECKS = (
    "-n",
    "2",
    "-m",
    "not programs",
    "tests/promises",
    "tests/databases/test_migrations.py",
    "tests/server/test_patches.py",
)
HEAD = ScriptDirectory(ROOT / "migrations").get_current_head()
NEXT = f"{int(HEAD) + 1:04}"
SHOWN = re.search(r"Here it is (\d+)", PAGE)[1]
NAME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
KEEP_THE_NAME = ["LICENSE", "docs/make-it-yours.md"]

pytestmark = pytest.mark.programs


def section(title):
    """The text below a heading of the page, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def follow(project, text):
    """Delete the files and edit the lines that a section names."""
    for commands in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        subprocess.run(["sh", "-e", "-c", commands], cwd=project, check=True)  # noqa: S607
    for name, hunks in re.findall(r"```diff file=(\S+)\n(.*?)```", text, re.DOTALL):
        path = project / name
        for hunk in hunks.split("@@\n"):
            path.write_text(edited(path.read_text(), hunk))
    for name, contents in re.findall(r"```python file=(\S+)\n(.*?)```", text, re.DOTALL):
        (project / with_numbers(name)).write_text(with_numbers(contents))


def with_numbers(text):
    """The text with the number of the newest migration and the next one, in place of those of the page."""
    return text.replace(SHOWN, NEXT).replace(f"{int(SHOWN) - 1:04}", HEAD)


def edited(text, hunk):
    """The text with the lines of one hunk replaced."""
    old, new = ("".join(line[1:] for line in hunk.splitlines(keepends=True) if line[0] == sign) for sign in "-+")
    assert text.count(old) == 1, hunk
    return text.replace(old, new)


def run(project, *words):
    """Run a Python program in the project, with SQLite and no other setting."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "TEST_DATABASES": "sqlite",
        "FLASK_SKIP_DOTENV": "1",
        "APP_ENV": "testing",
        "DATABASE_URL": f"sqlite:///{project / 'x.db'}",
    }
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path):
    """A copy of the project."""
    shutil.copytree(ROOT, tmp_path / "copy", ignore=LEFT_OUT)
    return tmp_path / "copy"


def git(project, *words):
    """The output of git in the project."""
    return subprocess.run(["git", *words], cwd=project, capture_output=True, text=True, check=True).stdout  # noqa: S607


def check(project):
    """Run ruff and the tests of what holds for every route."""
    run(project, "ruff", "check", "--no-cache", "--force-exclude", ".")
    run(project, "ruff", "format", "--check", "--no-cache", ".")
    run(project, "pytest", "-q", "-x", "-p", "no:cacheprovider", *CHECKS)


@pytest.mark.skipif(f"s/{NAME}/" not in PAGE, reason="the project has another name already")
@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_the_project_can_be_renamed(project):
    """After the commands of the page, the old name is gone, and ruff and these tests pass."""
    git(project, "init")
    git(project, "add", ".")
    follow(project, section("Rename the project"))

    assert git(project, "grep", "--ignore-case", "--files-with-matches", NAME).split() == KEEP_THE_NAME
    assert NAME not in git(project, "ls-files")
    check(project)


@pytest.mark.parametrize(
    "title", ["Delete the sample resource", "Delete the idempotency keys", "Delete the metrics and traces"]
)
def test_a_part_can_be_deleted(title, project):
    """After the edits of the page, ruff, the migrations and these tests pass."""
    follow(project, section(title))
    run(project, "flask", "--app", "wsgi", "openapi", "write", "openapi.json")
    run(project, "flask", "--app", "wsgi", "errors", "write", "docs/errors.md")

    check(project)
