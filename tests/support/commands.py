"""The result of a `flask` command."""

from click.testing import Result


def fails(result: Result, *words: str) -> None:
    """Assert that the command failed with one line, which contains these words."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)  # anything else is a traceback at a shell
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("Error: ")
    for word in words:
        assert word in line
