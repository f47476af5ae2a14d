"""The architecture: imports, transactions, lengths, and the cost of a new resource."""

import ast
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import app

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "app").rglob("*.py"))
OURS = {"app", "config", "config_rules", "config_secrets", "server", "wsgi"}
SERVER = sorted((ROOT / "server").glob("*.py"))

# A file imports from its own layer or from a lower one.  The first pattern that matches a module gives the height and
# the name of its layer.
LAYERS = {
    r"app": (9, "the table of contents"),
    r"app\.observability(\.\w+)?": (9, "observability"),
    r"app\.(data(\.\w+)?|extensions)": (1, "the databases"),
    r"app\.web(\.\w+)?": (2, "HTTP as this project speaks it"),
    r"app\.\w+\.models|app\.users\.(password\w+|hash_costs|foreign_hashes|name_rules|disguise|patterns|gate)": (
        3,
        "models",
    ),
    r"app\.\w+\.schemas": (4, "schemas"),
    r"app\.\w+\.(routes|cli)": (8, "routes and commands"),
    r"app\.tokens(\.\w+)?": (5, "tokens"),
    r"app\.\w+\.guards": (7, "guards"),
    r"app\.\w+(\.\w+)?": (6, "feature modules"),
}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """The modules that a file imports; for `from app.x import y`, both `app.x` and `app.x.y`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


NAMES = {module_name(path) for path in MODULES}


def layer(module):
    """The height and the name of a module's layer."""
    return next(layer for pattern, layer in LAYERS.items() if re.fullmatch(pattern, module))


def own_imports(path):
    """The modules of `app` that a file imports."""
    found = {module for module in imports(path) if module.partition(".")[0] in OURS}
    return {module for module in found if module in NAMES} - {module_name(path)}


def why_not(importer, imported):
    """Why one module may not import another, and the remedy; empty if it may."""
    (height, name), (other_height, other_name) = layer(importer), layer(imported)
    if other_height > height:
        return (
            f"{importer} ({name}) imports {imported} ({other_name}), which is in a higher layer. "
            f"Move the code to the layer of {imported}, or pass the value in from create_app()."
        )
    if other_name == "routes and commands" and importer != "app":
        return (
            f"{importer} imports {imported}. Only app/__init__.py imports routes and commands. "
            f"Move the shared code to a service, a schema or a model."
        )
    if other_name == "observability" and importer != "app" and name != other_name:
        return f"{importer} imports {imported}. Send a signal instead, because observability is optional."
    return ""


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_file_imports_from_its_layer_or_lower_ones(path):
    """Each file imports only from its own layer or from lower ones."""
    name = module_name(path)

    problems = [reason for module in sorted(own_imports(path)) if (reason := why_not(name, module))]

    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("path", MODULES + SERVER, ids=module_name)
def test_app_and_server_are_independent(path):
    """`app/` imports neither config.py nor server/, and server/ imports no project code."""
    allowed = {"app"} if path in MODULES else {"server"} if path.stem == "__init__" else set()

    assert {module.partition(".")[0] for module in imports(path)} & OURS <= allowed


def test_imports_have_no_cycle():
    """The imports of `app/` have no cycle."""
    left = {module_name(path): own_imports(path) for path in MODULES}
    while ready := {name for name, needed in left.items() if not needed & left.keys()}:
        left = {name: needed for name, needed in left.items() if name not in ready}

    assert not left, f"these files import each other in a cycle: {', '.join(sorted(left))}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_are_at_the_top(path):
    """No function contains an import, which would hide a cycle."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    inside = [n for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)]

    assert inside == []


def test_create_app_is_short():
    """`create_app()` has at most 40 lines."""
    assert len(inspect.getsource(app.create_app).splitlines()) <= 40


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_file_is_short(path):
    """A file in `app/` has fewer than 300 lines."""
    assert len(path.read_text().splitlines()) < 300


@pytest.mark.parametrize("path", MODULES + SERVER, ids=module_name)
def test_a_summary_is_short(path):
    """The first line of a docstring has at most 12 words."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, documented)]
    summaries = [(node.body[0].lineno, text.partition("\n")[0]) for node in nodes if (text := ast.get_docstring(node))]

    too_long = [f"{path.relative_to(ROOT)}:{line}: {text}" for line, text in summaries if len(text.split()) > 12]

    assert not too_long, "\n".join(too_long)


# The other modules that commit, and the reason.
ALSO_COMMIT = {
    "app.idempotency.guards": "the stored response and the rows of the view are one transaction",
}


def test_only_routes_and_commands_commit():
    """Only routes, commands and the modules in ALSO_COMMIT commit."""
    commit = re.compile(r"^ +db\.session\.commit\(\)", re.MULTILINE)
    committing = {module_name(path) for path in MODULES if commit.search(path.read_text())}

    others = {module for module in committing if module.rpartition(".")[2] not in ("routes", "cli")}
    assert others == ALSO_COMMIT.keys()


def test_few_files_have_transactions_of_their_own():
    """Only four modules have transactions of their own."""
    # Counted attempts, new hashes, single statements and pruning must not depend on the commit of the request.
    own = re.compile(r"\bdb\.engine\.begin\(\)|\bconnection\.commit\(\)")
    committing = {module_name(path) for path in MODULES if own.search(path.read_text())}

    assert committing == {"app.auth.service", "app.auth.throttle", "app.data.expiry", "app.data.statements"}


def test_one_file_knows_argon2():
    """Only `app/users/passwords.py` imports argon2."""
    assert [module_name(path) for path in MODULES if "argon2" in set(imports(path))] == ["app.users.passwords"]


def test_one_file_normalises_text():
    """Only `app/data/text.py` normalises text, because it checks the length first."""
    calls = re.compile(r"\bunicodedata\.normalize\b|from unicodedata import .*\bnormalize\b")

    assert [module_name(path) for path in MODULES if calls.search(path.read_text())] == ["app.data.text"]


def test_no_file_parses_accept_headers():
    """No file uses Werkzeug's parser of Accept headers, whose time is quadratic."""
    assert [module_name(path) for path in MODULES if re.search(r"\.accept_\w+", path.read_text())] == []


@pytest.mark.parametrize(
    ("importer", "package"),
    [("app.observability.metrics", "prometheus_client"), ("app.observability.traces", "opentelemetry")],
)
def test_optional_packages_are_imported_by_one_file(importer, package):
    """Only this file imports the package, and no file imports this file."""
    importers = {module_name(path) for path in MODULES for module in imports(path) if module.startswith(package)}

    assert importers == {importer}
    assert [module_name(path) for path in MODULES if importer in set(imports(path))] == []


def test_the_guard_is_line_two():
    """Guards come directly below the route decorator, before the arguments are parsed."""
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
            lines = [line for line, name in enumerate(names) if name in guards]
            if lines and lines != list(range(1, 1 + len(lines))):
                misplaced.append(node.name)
    assert misplaced == []


class TestAddAResource:
    """Follows docs/add-a-resource.md in a copy of the project."""

    @pytest.fixture
    def blocks(self):
        page = (ROOT / "docs" / "add-a-resource.md").read_text()
        found = re.findall(r"```(?:python|diff) (file|edit)=(\S+)\n(.*?)```", page, re.DOTALL)
        return [(kind, path, text.removeprefix("+")) for kind, path, text in found]

    def test_costs_one_folder_and_two_lines(self, blocks):
        """The page adds one folder, and two lines in `app/__init__.py`."""
        assert {Path(path).parent for kind, path, _text in blocks if kind == "file"} == {Path("app/orders")}
        edits = [(path, text) for kind, path, text in blocks if kind == "edit"]
        assert [path for path, _text in edits] == ["app/__init__.py"] * 2
        assert all(text.count("\n") == 1 for _path, text in edits)

    @pytest.mark.programs
    def test_works(self, blocks, tmp_path):
        """The new resource is migrated, documented and served."""
        for name in ("app", "migrations", "config.py", "config_rules.py", "config_secrets.py", "wsgi.py"):
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
                contents.write_text(contents.read_text().replace("from app.web.fields", f"{text}from app.web.fields"))
            else:
                contents.write_text(contents.read_text().replace("    system_blp,\n", f"{text}    system_blp,\n"))

        self.flask(tmp_path, "db", "upgrade")
        number = self.next_number(tmp_path / "migrations" / "versions")
        self.flask(tmp_path, "db", "migrate", "--rev-id", number, "-m", "Add orders.")
        self.flask(tmp_path, "db", "upgrade")
        self.flask(tmp_path, "db", "check")
        answer = subprocess.run(
            [sys.executable, "-W", "error", "-c", ORDER_SOMETHING], cwd=tmp_path, env=self.environment(tmp_path),
            capture_output=True, text=True, check=False,
        )  # fmt: skip

        assert answer.stderr == ""
        assert answer.stdout.splitlines()[-1] == "201 404 422 401 [3] ['get', 'post']"

    def test_obeys_the_layers(self, blocks):
        """Each file of the page imports only from its own layer or from lower ones."""
        for kind, path, text in blocks:
            if kind == "file":
                importer = path.removesuffix(".py").replace("/", ".")
                modules = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
                ours = sorted(module for module in modules if module.startswith("app."))
                assert [reason for module in ours if (reason := why_not(importer, module))] == []

    def next_number(self, versions):
        """The next free migration number."""
        numbers = [int(found[0]) for path in versions.glob("*.py") if (found := re.match(r"\d+", path.name))]
        return f"{max(numbers) + 1:04}"

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

def order(recipient_id, quantity, headers=headers):
    body = {"recipient_id": recipient_id, "quantity": quantity}
    return client.post("/api/v1/orders", headers=headers, json=body).status_code

me = tokens["user"]["id"]
statuses = order(me, 3), order(999, 3), order(me, 0), order(me, 3, {})
orders = client.get("/api/v1/orders", headers=headers).json["orders"]
paths = client.get("/openapi.json").json["paths"]
print(*statuses, [order["quantity"] for order in orders], sorted(paths["/api/v1/orders"]))
"""
