"""The TypeScript client that is generated from openapi.json, and the code of docs/clients.md."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.serving import serving

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tests" / "client"
NODE = 20  # the oldest supported version
UNREACHABLE = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH")
INSTALL = ["npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error",
           "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]  # fmt: skip


def run(folder, *command):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def leave(reason):
    """Skip the test, or fail it in CI."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


def require_node(folder):
    if shutil.which("node") is None or shutil.which("npm") is None:
        leave("no Node: install Node 20 or newer, with npm, to try a generated client")
    version = run(folder, "node", "--version").stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < NODE:
        leave(f"Node is {version}: a generated client is tried with Node {NODE} or newer")


def build(folder):
    """Copy tests/client, install its packages, generate `api.d.ts` and compile everything."""
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules", "build", "api.d.ts"))
    installed = run(folder, *INSTALL)
    if installed.returncode != 0:
        shutil.rmtree(folder)
        if UNREACHABLE.search(installed.stderr):
            leave("npm cannot reach its registry: no client can be generated")
        pytest.fail(f"npm ci: {installed.stderr}")
    generated = run(folder, *tool("openapi-typescript"), ROOT / "openapi.json", "--output", "api.d.ts")
    assert generated.returncode == 0, generated.stderr
    compiled = run(folder, *tool("tsc"))
    assert compiled.returncode == 0, compiled.stdout


def tool(name):
    return "node", f"node_modules/.bin/{name}"


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder of the compiled programs, built once per test run."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = shared / "client"
    require_node(shared)
    with (shared / "client.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "build").exists():
            shutil.rmtree(folder, ignore_errors=True)
            build(folder)
    return folder


def walk(folder, program, port):
    return run(folder, "node", "--enable-source-maps", f"build/{program}.js", f"http://127.0.0.1:{port}")


def test_the_tour_meets_no_surprise(built, database):
    """The generated client runs the tour of docs/tour.sh, and compiles with every check."""
    with serving(DATABASE_URL=database, APP_ENV="testing") as (port, _process):
        tour = walk(built, "tour", port)

    assert (tour.returncode, tour.stdout) == (0, "No surprise.\n"), tour.stderr


def test_tokens_are_renewed_once(built, tmp_path):
    """Parallel requests refresh an expired token once, by header and by cookies."""
    settings = {"JWT_ACCESS_TOKEN_EXPIRES": "4", "JWT_LEEWAY": "0", "REFRESH_GRACE": "0"}
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with serving(DATABASE_URL=url, APP_ENV="testing", **settings) as (port, _process):
        walked = walk(built, "expiry", port)

    assert (walked.returncode, walked.stdout) == (0, "No surprise.\n"), walked.stderr


def test_wrong_calls_do_not_compile(built):
    """The compiler refuses each call of refused.ts with the expected error."""
    source = (SOURCES / "refused.ts").read_text()
    wrong = {
        (number + 1, code)
        for number, line in enumerate(source.splitlines(), 1)
        for code in re.findall(r"@ts-expect-error (TS\d+) \w", line)
    }
    (built / "unexpected.ts").write_text(source.replace("@ts-expect-error", "expected:"))
    settings = '{"extends": "./tsconfig.json", "compilerOptions": {"noEmit": true}, "include": ["unexpected.ts"]}'
    (built / "unexpected.json").write_text(settings)

    told = run(built, *tool("tsc"), "--project", "unexpected.json").stdout

    found = re.findall(r"^unexpected\.ts\((\d+),\d+\): error (TS\d+)", told, re.MULTILINE)
    assert {(int(line), code) for line, code in found} == wrong
    assert len(wrong) > 15


def test_the_lock_file_names_no_registry():
    """The lock file has no URL, so npm uses the configured registry."""
    assert '"resolved"' not in (SOURCES / "package-lock.json").read_text()


@pytest.mark.parametrize("block", re.findall(r"```ts\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL))
def test_the_page_shows_tested_code(block):
    """Each TypeScript block of docs/clients.md is part of a tested program."""
    assert any(unindented(block) in unindented(source.read_text()) for source in SOURCES.glob("*.ts"))


def unindented(text):
    return "\n".join(line.strip() for line in text.splitlines())
