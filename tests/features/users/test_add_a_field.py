"""Follows docs/add-a-field.md in a copy of the project."""

import ast
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

ROOT = Path(__file__).parents[3]
HEAD = ScriptDirectory(ROOT / "migrations").get_current_head()
PAGE = (ROOT / "docs" / "add-a-field.md").read_text()

SHOW_USERS = """
import json
from wsgi import app

client = app.test_client()
users = "/api/v1/users"
account = {"username": "grace", "password": "correct horse"}
registered = client.post("/api/v1/auth/register", json=account | {"display_name": "Grace Hopper"}).json
logged_in = client.post("/api/v1/auth/login", json=account).json
headers = {"Authorization": "Bearer " + logged_in["access_token"]}
seen = [registered["user"], logged_in["user"], client.get(users + "/me", headers=headers).json]
too_long = client.patch(users + "/me", headers=headers, json={"display_name": "x" * 81}).status_code
for name in ("Amazing Grace", None):
    seen.append(client.patch(users + "/me", headers=headers, json={"display_name": name}).json)
app.test_cli_runner().invoke(args=["users", "promote", "grace"])
logged_in = client.post("/api/v1/auth/login", json=account).json
headers = {"Authorization": "Bearer " + logged_in["access_token"]}
seen += client.get(users, headers=headers).json["users"]
document = client.get("/openapi.json").json["components"]["schemas"]["User"]["properties"]
print(json.dumps([[user["display_name"] for user in seen], too_long, "display_name" in document]))
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the project with the edits of the page."""
    for name in ("app", "migrations", "config.py", "config_rules.py", "config_secrets.py", "wsgi.py", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for path, text in re.findall(r"```python edit=(\S+)\n(.*?)```", PAGE, re.DOTALL):
        edit(tmp_path / path, text)
    return tmp_path


def edit(path, block):
    """Write the lines of a block below the fields of the class that it names."""
    header, added = block.split("\n", 1)
    lines = path.read_text().splitlines(keepends=True)
    body = next(node.body for node in ast.parse("".join(lines)).body if lines[node.lineno - 1] == f"{header}\n")
    if isinstance(body[0], ast.Pass):
        lines[body[0].lineno - 1] = added
    else:
        last = max(node.end_lineno for node in body if isinstance(node, ast.Assign | ast.AnnAssign))
        lines.insert(last, added)
    path.write_text("".join(lines))


def python(project, *words, **settings):
    environment = {"APP_ENV": "testing", "DATABASE_URL": f"sqlite:///{project / 'x.db'}", "FLASK_SKIP_DOTENV": "1"}
    environment |= settings
    command = [sys.executable, "-W", "error", *words]
    run = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def commands():
    """The arguments of the page's `flask` commands, with the next migration number."""
    last = max(int(path.name[:4]) for path in (ROOT / "migrations" / "versions").glob("[0-9]*.py"))
    lines = re.findall(r"^\.venv/bin/flask (.+)$", PAGE, re.MULTILINE)
    texts = [line.replace("NNNN", f"{last + 1:04}") for line in lines]
    return [re.findall(r'"[^"]+"|\S+', text) for text in texts]


def test_works(project):
    """Registration, login, `/users/me` and the list of users have the new field."""
    flask = "-m", "flask", "--app", "wsgi"
    python(project, *flask, "db", "upgrade")
    for words in commands():
        python(project, *flask, *(word.strip('"') for word in words))
    python(project, *flask, "db", "check")

    names, too_long, is_documented = json.loads(python(project, "-c", SHOW_USERS).splitlines()[-1])

    assert names == ["Grace Hopper", "Grace Hopper", "Grace Hopper", "Amazing Grace", None, None]
    assert too_long == 422
    assert is_documented
    with sqlite3.connect(project / "x.db") as database:
        (made,) = database.execute("SELECT sql FROM sqlite_master WHERE name = 'users'").fetchone()
    assert "AUTOINCREMENT" in made


def test_migration_needs_no_correction(project):
    """The generated migration passes ruff, and its SQL can be written."""
    flask = "-m", "flask", "--app", "wsgi"
    python(project, *flask, "db", "upgrade")
    python(project, *flask, "db", "migrate", "--rev-id", "9999", "-m", "Add the display name of a user.")
    (migration,) = (project / "migrations" / "versions").glob("9999_*.py")

    python(project, "-m", "ruff", "check", migration)
    python(project, "-m", "ruff", "format", "--check", migration)
    written = python(project, *flask, "db", "upgrade", "--sql", f"{HEAD}:9999", DATABASE_URL="postgresql://nowhere/x")

    assert "ALTER TABLE users ADD COLUMN display_name VARCHAR(80)" in written


def test_edits_models_and_schemas_alone():
    """The page edits only models and schemas."""
    edited = set(re.findall(r"edit=(\S+)", PAGE))

    assert edited == {"app/users/models.py", "app/users/schemas.py", "app/auth/schemas.py"}
