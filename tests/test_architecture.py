"""The house stays as it was drawn: who imports whom, how long `create_app` is, what a new resource costs."""

import ast
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import app

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "app").rglob("*.py"))
OURS = {"app", "config", "config_rules", "server", "wsgi"}
SERVER = sorted((ROOT / "server").glob("*.py"))

# Who may import whom: the first row whose room a module matches says which modules of ours it may import.
ROOMS = {
    r"app": r"app\.\w+\.(routes|cli)|app\.auth\.tokens|app\.users\.passwords|app\.system\.doctor|app(\.\w+)?",
    r"app\.\w+\.routes": (
        r"app\.OWN\.\w+|app\.\w+\.(models|service)"
        r"|app\.auth\.(guards|tokens|keys|locations)|app\.idempotency\.guards|app\.users\.(passwords|password_rules|schemas)|app\.\w+"
    ),
    r"app\.\w+\.(cli|doctor)": (
        r"app\.OWN\.\w+|app\.\w+\.(models|service)|app\.users\.passwords|app\.auth\.(keys|key_set)|app\.\w+"
    ),
    r"app\.\w+\.(service|tokens|verification|throttle|pruning|keys|locations)": (
        r"app\.auth|app\.auth\.pruning|app\.OWN\.(tokens|verification|claims|keys|key_set|locations|throttle|pruning)|app\.\w+\.models|app\.users\.passwords"
        r"|app\.(database|errors|extensions|strict_json|logs|http)"
    ),
    r"app\.\w+\.guards": r"app\.OWN\.service|app\.auth\.tokens|app\.(blueprint|errors|http|logs|openapi)",
    r"app\.\w+\.schemas": r"app\.OWN\.models|app\.users\.(schemas|passwords|password_rules)|app\.schemas",
    r"app\.\w+\.models": r"app\.(database|extensions)",
    r"app\.(http|blueprint|cli|errors)": r"app\.(codes|database|errors|http|openapi|strict_json)",
    r"app\.openapi": r"app\.auth\.locations|app\.(codes|extensions)",
    r"app\.conditional": r"app\.(blueprint|errors|extensions)",
    r"app\.schemas": r"app\.(codes|database)",
    r"app\.extensions": r"app\.connections",
    r"app\.edges": r"app\.auth\.locations",
    r"app\.system\.migrations": r"app\.extensions",
    r"app\.system\.(docs|stopping)": r"",
    r"app\.auth\.claims": r"app\.(database|strict_json)",
    r"app\.users\.gate": r"app\.errors",
    r"app\.auth\.key_set": r"app\.strict_json",
    r"app\.users\.(password_rules|passwords)": r"app\.users\.(models|gate)|app\.errors",
    r"app\.metrics": r"app\.users\.gate|app\.(extensions|logs)",
    r"app\.traces": r"app\.(extensions|logs)",
    r"app\.pagination": r"app\.auth|app\.auth\.keys|app\.(database|errors|extensions|http)",
    r"app\.\w+": r"",
    r"server(\.\w+)?": r"",
}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """The modules that a file imports; of `from app.x import y` both `app.x` and, where it is one, `app.x.y`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "app":
                yield from (f"app.{name.name}" for name in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", MODULES + SERVER, ids=module_name)
def test_a_module_imports_only_what_it_may(path):
    """Dependencies point one way: routes to services to models to extensions."""
    name = module_name(path)
    feature = name.split(".")[1] if name.count(".") == 2 else ""
    allowed = next(pattern for room, pattern in ROOMS.items() if re.fullmatch(room, name)).replace("OWN", feature)

    own = [
        module
        for module in imports(path)
        if module.split(".")[0] in ("app", "config", "config_rules", "wsgi", "server")
    ]

    assert [module for module in own if not re.fullmatch(allowed, module)] == []


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_stand_at_the_top(path):
    """An import inside a function hides a cycle."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    inside = [n for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)]

    assert inside == []


def test_create_app_is_read_in_one_look():
    """At most 40 lines from top to bottom."""
    assert len(inspect.getsource(app.create_app).splitlines()) <= 40


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_file_is_one_room(path):
    """A file of 300 lines wants to be two rooms."""
    assert len(path.read_text().splitlines()) < 300


def test_only_routes_and_commands_commit():
    """Exactly one place ends a transaction: where the request, or the command, ends."""
    commit = re.compile(r"^ +(db\.session\.commit|commit_if_begun)\(\)", re.MULTILINE)
    committing = {path.stem for path in MODULES if commit.search(path.read_text())}

    assert committing == {"routes", "cli", "extensions"}  # where `commit_if_begun` is made


def test_one_file_knows_argon2():
    """Whoever changes how passwords are kept opens one file."""
    assert [module_name(path) for path in MODULES if "argon2" in set(imports(path))] == ["app.users.passwords"]


@pytest.mark.parametrize(("room", "package"), [("app.metrics", "prometheus_client"), ("app.traces", "opentelemetry")])
def test_whoever_watches_is_not_seen(room, package):
    """One file knows Prometheus, one OpenTelemetry, and nobody imports the two: they are loaded where asked for."""
    knowing = {module_name(path) for path in MODULES for module in imports(path) if module.startswith(package)}

    assert knowing == {room}
    assert [module_name(path) for path in MODULES if room in set(imports(path))] == []


def test_the_guard_is_line_two():
    """Between the route and the guard stands nothing, or it would run for strangers."""
    guards = {
        "login_required", "login_optional", "live_login_optional", "refresh_required", "fresh_login_required",
        "admin_required", "fresh_admin_required", "switched_on",
    }  # fmt: skip
    misplaced = []
    for path in ROOT.glob("app/*/routes.py"):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            names = [ast.unparse(d).partition("(")[0] for d in node.decorator_list]
            places = [place for place, name in enumerate(names) if name in guards]
            if places and places != list(range(1, 1 + len(places))):
                misplaced.append(node.name)
    assert misplaced == []


class TestAddAResource:
    """docs/add-a-resource.md, followed to the letter in a copy of the project."""

    @pytest.fixture
    def blocks(self):
        page = (ROOT / "docs" / "add-a-resource.md").read_text()
        return re.findall(r"```python (file|edit)=(\S+)\n(.*?)```", page, re.DOTALL)

    def test_costs_one_folder_and_two_lines(self, blocks):
        """The page promises one new folder and two lines in one file, and asks for no more."""
        assert {Path(path).parent for kind, path, _text in blocks if kind == "file"} == {Path("app/orders")}
        edits = [(path, text) for kind, path, text in blocks if kind == "edit"]
        assert [path for path, _text in edits] == ["app/__init__.py"] * 2
        assert all(text.count("\n") == 1 for _path, text in edits)

    def test_works(self, blocks, tmp_path):
        """The new resource is migrated, documented and served."""
        for name in ("app", "migrations", "config.py", "config_rules.py", "wsgi.py"):
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, tmp_path / name)
        (tmp_path / "app" / "orders").mkdir()
        (tmp_path / "app" / "orders" / "__init__.py").touch()
        contents = tmp_path / "app" / "__init__.py"
        for kind, path, text in blocks:
            if kind == "file":
                (tmp_path / path).write_text(text)
            elif text.startswith("from "):
                contents.write_text(contents.read_text().replace("from app.schemas", f"{text}from app.schemas"))
            else:
                contents.write_text(re.sub(r"^BLUEPRINTS = .*\n", text, contents.read_text(), flags=re.MULTILINE))

        self.flask(tmp_path, "db", "upgrade")
        self.flask(tmp_path, "db", "migrate", "--rev-id", "0004", "-m", "orders")
        self.flask(tmp_path, "db", "upgrade")
        self.flask(tmp_path, "db", "check")
        answer = subprocess.run(
            [sys.executable, "-W", "error", "-c", ORDER_SOMETHING], cwd=tmp_path, env=self.environment(tmp_path),
            capture_output=True, text=True, check=False,
        )  # fmt: skip

        assert answer.stderr == ""
        assert answer.stdout.splitlines()[-1] == "201 404 422 401 [3] ['get', 'post']"

    def flask(self, folder, *words):
        command = [sys.executable, "-W", "error", "-m", "flask", "--app", "wsgi", *words]
        run = subprocess.run(
            command, cwd=folder, env=self.environment(folder), capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr

    def environment(self, folder):
        return {"APP_ENV": "testing", "DATABASE_URL": f"sqlite:///{folder / 'x.db'}", "FLASK_SKIP_DOTENV": "1"}


ORDER_SOMETHING = """
from wsgi import app

client = app.test_client()
tokens = client.post("/api/v1/auth/register", json={"username": "grace", "password": "correct horse"}).json
headers = {"Authorization": "Bearer " + tokens["access_token"]}
item = client.post("/api/v1/items", headers=headers, json={"name": "Lamp", "price": "1"}).json

def order(item_id, quantity, headers=headers):
    body = {"item_id": item_id, "quantity": quantity}
    return client.post("/api/v1/orders", headers=headers, json=body).status_code

statuses = order(item["id"], 3), order(999, 3), order(item["id"], 0), order(item["id"], 3, {})
orders = client.get("/api/v1/orders", headers=headers).json["orders"]
paths = client.get("/openapi.json").json["paths"]
print(*statuses, [order["quantity"] for order in orders], sorted(paths["/api/v1/orders"]))
"""
