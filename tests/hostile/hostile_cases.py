"""Hostile requests and strings out of the catalogues (tests/hostile): how each is made, and what it may be answered.

The catalogues' own `format` members explain their language. Where they leave
a choice, `decided.json` has what was chosen, once and for every database.
"""

import gzip
import json
import re
from itertools import count
from pathlib import Path

import pytest

from config import Config

FOLDER = Path(__file__).parent
SIZES = {"limit": Config.MAX_CONTENT_LENGTH, "limit+1": Config.MAX_CONTENT_LENGTH + 1}
FIELDS = ("username", "password", "item_name", "search")
NUMBERS = count(100_000)

# Where the contract says otherwise than the catalogue, which is about APIs of this kind, not about this one.
BEGINNING = "the contract: a user name begins with a letter or a digit"
EXCEPTIONS = {
    ("username", "shell-7"): ("reject", BEGINNING),
    ("username", "word-14"): ("reject", BEGINNING),
    ("username", "word-16"): ("reject", BEGINNING),
    ("username", "dash-lead"): ("reject", BEGINNING),
}


def _load(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


CATALOGUE = {**_load("bodies"), **_load("strings")}
DECIDED = _load("decided")


def cases(kind):
    """The cases of one kind (bodies, urls, wire), each a parameter with its own id."""
    return [pytest.param(case, id=case["id"]) for case in CATALOGUE[kind] if "mode" not in case]


def stalls():
    return [case for case in CATALOGUE["wire"] if case.get("mode") == "stall"]


def strings(field):
    """Each string with the verdict on it in that field."""
    return [pytest.param(text(case), verdict(field, case), id=case["id"]) for case in CATALOGUE["strings"]]


def verdict(field, case):
    if (field, case["id"]) in EXCEPTIONS:
        return EXCEPTIONS[field, case["id"]][0]
    said = case["expect"][field]
    return DECIDED[field][case["id"]] if said == "either" else said


def statuses(kind, case):
    """What the case is answered with: one status, unless it asks for an id that may be there or not."""
    return choices(kind, case["id"]) if len(case["expect"]) > 1 else case["expect"]


def choices(kind, name):
    decided = DECIDED[kind][name]
    return decided if isinstance(decided, list) else [decided]


def text(case):
    if "codepoints" in case:
        return "".join(map(chr, case["codepoints"]))
    if "repeat" in case:
        piece, times = case["repeat"]
        return piece * times
    return case["value"]


def numbered(known):
    """The placeholders of one request: those of its surroundings, and a number that no other has."""
    return {**known, "n": str(next(NUMBERS))}


def expand(words, known):
    """With its placeholders filled in.  What only looks like one (`${jndi:…}`) is data."""
    return re.sub(r"\$\{(\w+)\}", lambda match: known.get(match[1], match[0]), words)


def content(recipe, known):
    """The bytes of a body or of a raw request."""
    if isinstance(recipe, str):
        return expand(recipe, known).encode()
    if "gzip_of" in recipe:
        return gzip.compress(content(recipe["gzip_of"], known))
    if "hex" in recipe:
        return bytes.fromhex(recipe["hex"])
    made = b""
    for part in recipe.get("gen", [recipe]):
        [(kind, argument)] = part.items()
        made = PARTS[kind](made, argument, known)
    return made


def _each(made, argument, _known):
    piece, times = argument
    return made + "".join(piece.replace("${i}", str(number)) for number in range(times)).encode()


def _pad_to(made, argument, _known):
    size, character = argument
    return made.ljust(SIZES[size], character.encode())


PARTS = {
    "text": lambda made, words, known: made + expand(words, known).encode(),
    "repeat": lambda made, argument, known: made + expand(argument[0], known).encode() * argument[1],
    "each": _each,
    "pad_to": _pad_to,
}
