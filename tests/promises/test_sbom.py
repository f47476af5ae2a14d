"""The software bill of materials that `make sbom` writes."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PERMISSIVE = re.compile(
    r"MIT(-0)?|BSD-[23]-Clause|Apache-2\.0|PSF-2\.0|CNRI-Python|License :: OSI Approved :: BSD License"
)

pytestmark = pytest.mark.programs


@pytest.fixture(scope="module")
def pinned():
    """The packages of requirements/prod.txt for this platform, with their versions."""
    lines = re.findall(r"^([a-z].+?)(?: \\)?$", (ROOT / "requirements" / "prod.txt").read_text(), re.MULTILINE)
    wanted = [
        requirement
        for requirement in map(Requirement, lines)
        if not requirement.marker or requirement.marker.evaluate()
    ]
    return {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==") for requirement in wanted
    }


@pytest.fixture(scope="module")
def bills(tmp_path_factory, pinned):
    """The texts of two runs of the Makefile's command, for two environments that have the production packages."""
    [command] = re.findall(r"cyclonedx-py .+", (ROOT / "Makefile").read_text())
    texts = []
    for run in ("first", "second"):
        folder = tmp_path_factory.mktemp(run)
        venv.create(folder / "venv")
        [packages] = folder.glob("venv/lib/python*/site-packages")
        for name in pinned:  # the command reads only the metadata
            metadata = Path(str(distribution(name).locate_file(""))).glob("*.dist-info/METADATA")
            [found] = [
                path.parent for path in metadata if canonicalize_name(path.parent.name.partition("-")[0]) == name
            ]
            shutil.copytree(found, packages / found.name)
        words = command.replace("$$folder", str(folder / "venv")).replace("sbom.json", str(folder / "sbom.json"))
        program, *arguments = shlex.split(words)
        subprocess.run([Path(sys.executable).parent / program, *arguments], cwd=ROOT, check=True, timeout=120)
        texts.append((folder / "sbom.json").read_text())
    return texts


@pytest.fixture(scope="module")
def components(bills):
    bill = json.loads(bills[0])
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "latchkey")
    return {canonicalize_name(component["name"]): component for component in bill["components"]}


def licences(component):
    """The licences of a component: each one of a choice (`A OR B`) and of a list (`A AND B`)."""
    for choice in component["licenses"]:
        found = choice.get("expression") or choice["license"].get("id") or choice["license"]["name"]
        yield from re.split(" OR | AND ", found)


def test_it_lists_every_production_package(components, pinned):
    """It has each pinned package with version and package URL, and nothing else."""
    assert {name: component["version"] for name, component in components.items()} == pinned
    assert {name: component["purl"] for name, component in components.items()} == {
        name: f"pkg:pypi/{name}@{version}" for name, version in pinned.items()
    }


def test_only_psycopg_has_a_licence_that_is_not_permissive(components):
    """Each package has a licence, and docs/deployment.md names those that are not permissive."""
    others = {
        (name, licence)
        for name, component in components.items()
        for licence in licences(component)
        if not PERMISSIVE.fullmatch(licence)
    }

    assert [name for name, component in components.items() if not component["licenses"]] == []
    assert others == {("psycopg", "LGPL-3.0-only"), ("psycopg-binary", "LGPL-3.0-only")}
    assert "psycopg, the PostgreSQL driver: LGPL-3.0-only" in (ROOT / "docs" / "deployment.md").read_text()


def test_it_is_reproducible(bills):
    """Equal packages in two folders give equal files, without a path of the machine."""
    assert bills[0] == bills[1]
    assert "file:" not in bills[0]
    assert str(ROOT) not in bills[0]


def test_it_is_not_committed():
    """Git ignores the file."""
    assert "sbom.json" in (ROOT / ".gitignore").read_text().splitlines()
