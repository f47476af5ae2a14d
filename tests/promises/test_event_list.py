"""The list of security events in docs/security.md."""

import ast
import re
from pathlib import Path

from app.web.events import REFUSED
from support.events import listed

SOURCES = {path: path.read_text() for path in (Path(__file__).parents[2] / "app").rglob("*.py")}


def logged():
    """The event and the members of each call of `log_event` that names its event."""
    for source in SOURCES.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "log_event" and node.args:
                members = {word.arg for word in node.keywords if word.arg}
                yield ast.literal_eval(node.args[0]), members - {"level", "user_id", "session_id"}


def test_every_event_is_listed():
    """The list has exactly the events that the code logs."""
    assert {event for event, _members in logged()} | REFUSED == listed().keys()


def test_every_member_is_listed():
    """The list has the members that each event has in the code."""
    table = listed()

    assert [(event, members) for event, members in logged() if not members <= table[event]] == []


def test_no_other_member_is_listed():
    """Each member in the list is a name in the code."""
    words = set(re.findall(r"\w+", "\n".join(SOURCES.values())))

    assert {member for members in listed().values() for member in members} <= words
