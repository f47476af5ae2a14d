"""docs/asvs.md, the page about the OWASP Application Security Verification Standard."""

import re
from collections import Counter
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "asvs.md").read_text()
STATUSES = ("holds", "not yet", "yours", "n/a")
# The requirements of version 5.0.0 by their level.
LEVEL_1 = """
1.2.1 1.2.2 1.2.3 1.2.4 1.2.5 1.3.1 1.3.2 1.5.1 2.1.1 2.2.1 2.2.2 2.3.1 3.2.1 3.2.2 3.3.1 3.4.1 3.4.2
3.5.1 3.5.2 3.5.3 4.1.1 4.4.1 5.2.1 5.2.2 5.3.1 5.3.2 6.1.1 6.2.1 6.2.2 6.2.3 6.2.4 6.2.5 6.2.6 6.2.7
6.2.8 6.3.1 6.3.2 6.4.1 6.4.2 7.2.1 7.2.2 7.2.3 7.2.4 7.4.1 7.4.2 8.1.1 8.2.1 8.2.2 8.3.1 9.1.1 9.1.2
9.1.3 9.2.1 10.4.1 10.4.2 10.4.3 10.4.4 10.4.5 11.3.1 11.3.2 11.4.1 12.1.1 12.2.1 12.2.2 13.4.1 14.2.1
14.3.1 15.1.1 15.2.1 15.3.1
"""
LEVEL_2 = """
1.1.1 1.1.2 1.2.6 1.2.7 1.2.8 1.2.9 1.3.3 1.3.4 1.3.5 1.3.6 1.3.7 1.3.8 1.3.9 1.3.10 1.3.11 1.4.1 1.4.2
1.4.3 1.5.2 2.1.2 2.1.3 2.2.3 2.3.2 2.3.3 2.3.4 2.4.1 3.3.2 3.3.3 3.3.4 3.4.3 3.4.4 3.4.5 3.4.6 3.5.4
3.5.5 3.7.1 3.7.2 4.1.2 4.1.3 4.2.1 4.3.1 4.3.2 4.4.2 4.4.3 4.4.4 5.1.1 5.2.3 5.4.1 5.4.2 5.4.3 6.1.2
6.1.3 6.2.9 6.2.10 6.2.11 6.2.12 6.3.3 6.3.4 6.4.3 6.4.4 6.5.1 6.5.2 6.5.3 6.5.4 6.5.5 6.6.1 6.6.2 6.6.3
6.8.1 6.8.2 6.8.3 6.8.4 7.1.1 7.1.2 7.1.3 7.3.1 7.3.2 7.4.3 7.4.4 7.4.5 7.5.1 7.5.2 7.6.1 7.6.2 8.1.2
8.2.3 8.4.1 9.2.2 9.2.3 9.2.4 10.1.1 10.1.2 10.2.1 10.2.2 10.3.1 10.3.2 10.3.3 10.3.4 10.4.6 10.4.7 10.4.8
10.4.9 10.4.10 10.4.11 10.5.1 10.5.2 10.5.3 10.5.4 10.5.5 10.6.1 10.6.2 10.7.1 10.7.2 10.7.3 11.1.1 11.1.2
11.2.1 11.2.2 11.2.3 11.3.3 11.4.2 11.4.3 11.4.4 11.5.1 11.6.1 12.1.2 12.1.3 12.3.1 12.3.2 12.3.3 12.3.4
13.1.1 13.2.1 13.2.2 13.2.3 13.2.4 13.2.5 13.3.1 13.3.2 13.4.2 13.4.3 13.4.4 13.4.5 14.1.1 14.1.2 14.2.2
14.2.3 14.2.4 14.3.2 14.3.3 15.1.2 15.1.3 15.2.2 15.2.3 15.3.2 15.3.3 15.3.4 15.3.5 15.3.6 15.3.7 16.1.1
16.2.1 16.2.2 16.2.3 16.2.4 16.2.5 16.3.1 16.3.2 16.3.3 16.3.4 16.4.1 16.4.2 16.4.3 16.5.1 16.5.2 16.5.3
17.1.1 17.2.1 17.2.2 17.2.3 17.2.4 17.3.1 17.3.2
"""
LEVELS = {"1": LEVEL_1.split(), "2": LEVEL_2.split()}
LEVEL = {requirement: level for level, requirements in LEVELS.items() for requirement in requirements}
ROW = re.compile(r"^\| (v5\.0\.0-[^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
ROWS = [([name.removeprefix("v5.0.0-") for name in names.split(", ")], *rest) for names, *rest in ROW.findall(PAGE)]
LINKS = sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE)) - {"#count"})


def test_each_requirement_is_there_once():
    """The page has each requirement of levels 1 and 2 exactly once, and in the order of the standard."""
    named = [name for names, *_rest in ROWS for name in names]

    assert {level: len(names) for level, names in LEVELS.items()} == {"1": 70, "2": 183}
    assert sorted(named) == sorted(LEVEL)
    chapters = [int(name.partition(".")[0]) for name in named]
    assert chapters == sorted(chapters)


def test_each_row_is_complete():
    """A row has the levels of its requirements, a few words, one of four statuses, and a link."""
    for names, level, words, status, where in ROWS:
        assert level == ", ".join(sorted({LEVEL[name] for name in names})), names
        assert status in STATUSES, names
        assert words.strip()
        assert re.fullmatch(r"\[[^]]+\]\([^)]+\)(, \[[^]]+\]\([^)]+\))*", where), names
    assert PAGE.count("v5.0.0-") == len(LEVEL)  # every row has the form of ROW


@pytest.mark.parametrize("link", [link for link in LINKS if "://" not in link])
def test_each_link_leads_somewhere(link):
    """The linked file exists, and has the linked section."""
    path, _, section = link.partition("#")
    file = DOCS / path

    assert file.exists()
    if section:
        titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
        assert section in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]


def test_the_count_is_right():
    """The table at the end has the number of requirements of each status and level."""
    counted = Counter((status, LEVEL[name]) for names, _level, _words, status, _where in ROWS for name in names)
    lines = [[status, *(counted[status, level] for level in LEVELS)] for status in STATUSES]
    lines.append(["all", *(len(names) for names in LEVELS.values())])

    table = "\n".join(f"| {status} | {first} | {second} | {first + second} |" for status, first, second in lines)
    assert PAGE.rstrip().endswith(table)
