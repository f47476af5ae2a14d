"""Compare every security event in the suite with the list in docs/security.md."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.web.logs import event_logged

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
OF_ALL = {"user_id", "session_id", "ip_address"}
ROW = re.compile(r"^\| (`[a-z_`, ]+`) \| .+ \| (.*)\|$", re.MULTILINE)
WORD = re.compile(r"`(\w+)`")


def listed() -> dict[str, set[str]]:
    """The events of the page, with the members that each has besides those of all."""
    rows = ROW.findall(PAGE.read_text().partition("\n## The log\n")[2])
    return {event: set(WORD.findall(members)) for events, members in rows for event in WORD.findall(events)}


@contextmanager
def watching() -> Iterator[None]:
    """Collect the events of all applications; compare them after the block."""
    known, wrong = listed(), set()

    def compare(_app: Any, *, event: str, **members: Any) -> None:
        unlisted = members.keys() - OF_ALL - known.get(event, set())
        if event not in known or unlisted:
            wrong.add((event, *sorted(unlisted)))

    with event_logged.connected_to(compare):
        yield
    assert not wrong, f"add these events, or members, to the table in {PAGE.name}: {sorted(wrong)}"
