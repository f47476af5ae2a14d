"""The lists in requirements/ install with every pip that ships with Python 3.11."""

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([a-z0-9-]+)(?:\[([a-z0-9,-]+)\])?==", re.MULTILINE)
EXTRAS = re.compile(r"^([A-Za-z0-9._-]+)\[([A-Za-z0-9,._-]+)\]")


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("path", ["prod", "extras", "dev"])
def test_a_pin_names_the_extras_that_others_ask_for(path):
    """A pin names all extras that other pinned packages ask for."""
    # Pip 23 ignores the pin of `coverage` when a package asks for `coverage[toml]`, and takes the newest release.
    pins = {name: set(filter(None, extras.split(","))) for name, extras in PIN.findall(_text(path))}
    asked: dict[str, set[str]] = {}
    for name in pins:
        try:
            requires = distribution(name).requires or []
        except ModuleNotFoundError:  # a package for another system
            continue
        for requirement in requires:
            found = EXTRAS.match(requirement)
            if found and "extra ==" not in requirement and normalised(found[1]) in pins:
                asked.setdefault(normalised(found[1]), set()).update(map(normalised, found[2].split(",")))

    assert "apispec" in asked, "flask-smorest asks for apispec[marshmallow], but the test did not find it"
    assert {name: extras - pins[name] for name, extras in asked.items() if extras - pins[name]} == {}


def _text(path: str) -> str:
    return (ROOT / "requirements" / f"{path}.txt").read_text()
