"""Make the hostile requests and strings of the catalogues, with their expected answers.

The `format` members of the catalogues explain their language. If a catalogue allows
several answers, `decided.json` has the one that we chose for every database.
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

# Cases in which our contract differs from the catalogue, which describes APIs in general.
BEGINNING = "the contract: a user name begins with a letter or a digit"
RESERVED = "the contract: a reserved name"
EXCEPTIONS = {
    ("username", "shell-7"): ("reject", BEGINNING),
    ("username", "word-14"): ("reject", BEGINNING),
    ("username", "word-16"): ("reject", BEGINNING),
    ("username", "dash-lead"): ("reject", BEGINNING),
    ("username", "nfkc-fullwidth"): ("reject", RESERVED),
    ("username", "word-1"): ("reject", RESERVED),
    ("username", "word-4"): ("reject", RESERVED),
    ("username", "word-18"): ("reject", RESERVED),
    ("username", "unicode-digit-name"): ("reject", "the contract: letters and digits of one script"),
}


def _load(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


CATALOGUE = {**_load("bodies"), **_load("strings")}
DECIDED = _load("decided")


def cases(kind):
    """The cases of one kind (bodies, urls, wire) as parameters with ids."""
    return [pytest.param(case, id=case["id"]) for case in CATALOGUE[kind] if "mode" not in case]


def stalls():
    return [case for case in CATALOGUE["wire"] if case.get("mode") == "stall"]


def strings(field):
    """Each string with its verdict for the field, as parameters with ids."""
    return [pytest.param(text(case), verdict(field, case), id=case["id"]) for case in CATALOGUE["strings"]]


def verdict(field, case):
    if (field, case["id"]) in EXCEPTIONS:
        return EXCEPTIONS[field, case["id"]][0]
    said = case["expect"][field]
    return DECIDED[field][case["id"]] if said == "either" else said


def statuses(kind, case):
    """The expected statuses: one, except for an id that may or may not exist."""
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
    """The placeholders of one request, with a unique number."""
    return {**known, "n": str(next(NUMBERS))}


def expand(words, known):
    """Replace the placeholders.  An unknown one (`${jndi:…}`) is data and stays."""
    return re.sub(r"\$\{(\w+)\}", lambda match: known.get(match[1], match[0]), words)


def content(recipe, known):
    """The bytes of a body or raw request."""
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
