"""A TypeScript client, generated from openapi.json: it compiles, and does what docs/clients.md says."""

import re

import pytest

from support.serving import ROOT, serving
from support.typescript import SOURCES, run, tool, walk


def test_tokens_are_renewed_once(built, tmp_path):
    """By header and by cookies, with many requests at once, and where there is no grace for a second refresh."""
    settings = {"JWT_ACCESS_TOKEN_EXPIRES": "4", "JWT_LEEWAY": "0", "REFRESH_GRACE": "0"}
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with serving(DATABASE_URL=url, APP_ENV="testing", **settings) as (port, _process):
        walked = walk(built, "expiry", port)

    assert (walked.returncode, walked.stdout) == (0, "No surprise.\n"), walked.stderr


def test_wrong_calls_do_not_compile(built):
    """Each for the reason that stands beside it in refused.ts, and for no other."""
    source = (SOURCES / "refused.ts").read_text()
    wrong = {
        (number + 1, code)
        for number, line in enumerate(source.splitlines(), 1)
        for code in re.findall(r"@ts-expect-error (TS\d+) \w", line)
    }
    (built / "unexpected.ts").write_text(source.replace("@ts-expect-error", "expected:"))
    settings = '{"extends": "./tsconfig.json", "compilerOptions": {"noEmit": true}, "include": ["unexpected.ts"]}'
    (built / "unexpected.json").write_text(settings)

    told = run(built, *tool("tsc"), "--project", "unexpected.json").stdout

    found = re.findall(r"^unexpected\.ts\((\d+),\d+\): error (TS\d+)", told, re.MULTILINE)
    assert {(int(line), code) for line, code in found} == wrong
    assert len(wrong) > 15


def test_the_lock_file_names_no_registry():
    """The packages come from wherever npm is set to get them."""
    assert '"resolved"' not in (SOURCES / "package-lock.json").read_text()


@pytest.mark.parametrize("block", re.findall(r"```ts\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL))
def test_the_page_shows_what_is_tried_here(block):
    """Whatever TypeScript docs/clients.md has stands like this in a program that is compiled and run."""
    assert any(unindented(block) in unindented(source.read_text()) for source in SOURCES.glob("*.ts"))


def unindented(text):
    return "\n".join(line.strip() for line in text.splitlines())
