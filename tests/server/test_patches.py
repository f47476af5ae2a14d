"""docs/operations.md lists every patch of gunicorn with its version and reason."""

import ast
import re
from importlib.metadata import version
from pathlib import Path

from gunicorn.arbiter import Arbiter

ROOT = Path(__file__).parent.parent.parent
SOURCES = [ROOT / "gunicorn.conf.py", *sorted((ROOT / "server").glob("*.py"))]


def patched_names(path):
    """The attributes of gunicorn that the file assigns, and the methods that it overrides."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in map(ast.unparse, targets):
                owner, _, attribute = name.rpartition(".")
                if owner.startswith("gunicorn"):
                    yield name
                elif owner == "server" and hasattr(Arbiter, attribute):
                    yield f"Arbiter.{attribute}"
        if isinstance(node, ast.ClassDef):
            for base in map(ast.unparse, node.bases):
                if base.startswith("gunicorn."):
                    yield from (
                        f"{base.rpartition('.')[2]}.{part.name}"
                        for part in node.body
                        if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")
                    )


def rows():
    section = (
        (ROOT / "docs" / "operations.md").read_text().partition("\n## Patches of gunicorn\n")[2].partition("\n## ")[0]
    )
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]


def test_every_patch_is_in_the_table():
    """The table lists exactly the patches of the sources."""
    patched = {name for path in SOURCES for name in patched_names(path)}

    assert "gunicorn.util.write_error" in patched
    assert {row[0].strip("`") for row in rows()} == patched


def test_every_patch_was_checked_with_this_gunicorn():
    """Every row has the installed version, so an upgrade forces a review."""
    assert {row[2] for row in rows()} == {version("gunicorn")}


def test_every_function_exists():
    """The second column names a file and a function or class in it."""
    for _name, place, *_rest in rows():
        file, names = re.fullmatch(r"`(\S+):(\S+)`", place).groups()
        assert re.search(rf"^(    )?(def|class) {names.rpartition('.')[2]}\b", (ROOT / file).read_text(), re.MULTILINE)
