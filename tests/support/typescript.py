"""The programs of tests/client, compiled against the generated types of the API."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from support.serving import ROOT

SOURCES = ROOT / "tests" / "client"
NODE = 20  # the oldest supported version
UNREACHABLE = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH")
INSTALL = ["npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error",
           "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]  # fmt: skip


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def leave(reason: str) -> NoReturn:
    """Skip the test; in CI, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require_node(folder: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        leave("no Node: install Node 20 or newer, with npm, to test the generated client")
    version = run(folder, "node", "--version").stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < NODE:
        leave(f"Node is {version}, but the generated client needs Node {NODE} or newer")


def build(folder: Path) -> None:
    """Copy tests/client, install its packages, generate `api.d.ts` and compile."""
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules", "build", "api.d.ts"))
    installed = run(folder, *INSTALL)
    if installed.returncode != 0:
        shutil.rmtree(folder)
        if UNREACHABLE.search(installed.stderr):
            leave("npm cannot reach its registry, so the client is not tested")
        pytest.fail(f"npm ci: {installed.stderr}")
    generated = run(folder, *tool("openapi-typescript"), ROOT / "openapi.json", "--output", "api.d.ts")
    assert generated.returncode == 0, generated.stderr
    compiled = run(folder, *tool("tsc"))
    assert compiled.returncode == 0, compiled.stdout


def tool(name: str) -> tuple[str, str]:
    return "node", f"node_modules/.bin/{name}"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled programs, which all processes of a test run share."""
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


def walk(folder: Path, program: str, port: int) -> subprocess.CompletedProcess[str]:
    return run(folder, "node", "--enable-source-maps", f"build/{program}.js", f"http://127.0.0.1:{port}")
