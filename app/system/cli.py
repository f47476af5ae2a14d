from pathlib import Path

import click
from flask import json

from app.web.codes import Code
from app.web.commands import Group
from app.web.openapi import document

openapi_cli = Group("openapi", help="The API document.")
errors_cli = Group("errors", help="The page docs/errors.md.")

ERRORS_PAGE = """# Errors

Every error has this shape. `error` is one of the stable codes below. Only a 422 has `errors`.
`flask errors write` makes this page from the table in `app/web/codes.py`.

```json
{"error": "validation_failed", "message": "The request is not valid.", "status": 422,
 "request_id": "3f1c…", "errors": {"json": {"username": ["Shorter than minimum length 3."]}}}
```

| Status | `error` | When | What to do |
|---|---|---|---|
"""


@openapi_cli.command("write")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default="openapi.json")
def write_document(path: Path) -> None:
    """Write the API document to PATH."""
    _write(path, json.dumps(document(), indent=2) + "\n")


@errors_cli.command("write")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default="docs/errors.md")
def write_errors(path: Path) -> None:
    """Write docs/errors.md, or another PATH."""
    rows = sorted(Code, key=lambda code: code.status)
    _write(path, ERRORS_PAGE + "".join(f"| {c.status} | `{c.name}` | {c.when} | {c.remedy} |\n" for c in rows))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written ({error.strerror}).") from error
    click.echo(f"Wrote {path}.")
