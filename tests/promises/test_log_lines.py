"""The characters of log lines: nothing that a client sends ends a line or controls a terminal."""

import json
import logging

import pytest

from app.web.logs import _formatter
from server.logs import Logger

# Line and paragraph separators, next line, terminal commands (ESC, CSI), DEL, and marks that change the direction.
DANGEROUS = "\n\r\x0b\x1b\x7f\x85\x9b\u061c\u2028\u2029\u202e\u2066\u200f\ufeff"


RAISED = (ValueError, ValueError(DANGEROUS), None)


def record_of(message, exc_info=None):
    return logging.LogRecord("app", logging.INFO, "", 0, message, (), exc_info)


@pytest.mark.parametrize("character", DANGEROUS, ids=ascii)
def test_a_line_of_json_is_one_line_of_printable_ascii(character):
    """A line of JSON has only printable ASCII, and the parser returns each character."""
    text = f"GET /x{character}y 门"
    line = _formatter("json").format(record_of(text, RAISED))

    assert line.isascii()
    assert line.isprintable()
    assert line.splitlines() == [line]
    assert json.loads(line)["message"] == text


@pytest.mark.parametrize("character", DANGEROUS, ids=ascii)
def test_a_line_for_a_terminal_is_printable(character):
    """A line in the console format shows the escape of the character, and other scripts unchanged."""
    line = _formatter("console").format(record_of(f"GET /x{character}y 门"))

    assert line.isprintable()
    assert line.endswith(f"GET /x{repr(character)[1:-1]}y 门")


def test_a_traceback_for_a_terminal_is_printable():
    """A traceback in the console format has no control character but the ends of its lines."""
    text = _formatter("console").format(record_of("A bug", RAISED))

    assert text.replace("\n", "").isprintable()


def test_a_line_of_gunicorn_is_printable():
    """A line that gunicorn writes about a request has no control character."""
    record = record_of("Invalid request: '/x\x1b[31m\u202e\x9b\u2028'")
    Logger._mask(record)  # noqa: SLF001 -- a filter of its loggers

    assert record.getMessage() == r"Invalid request: '/x\x1b[31m\u202e\x9b\u2028'"
