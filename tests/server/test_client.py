"""The TypeScript client that is generated from openapi.json, and the code of docs/clients.md."""

import re

import pytest

from support.serving import ROOT, serving
from support.typescript import SOURCES, run, tool, walk


def test_tokens_are_renewed_once(built, tmp_path):
    """Parallel requests refresh an expired token once, by header and by cookies."""
    settings = {"JWT_ACCESS_TOKEN_EXPIRES": "4", "JWT_LEEWAY": "0", "REFRESH_GRACE": "0"}
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with serving(DATABASE_URL=url, APP_ENV="testing", **settings) as (port, _process):
        walked = walk(built, "expiry", port)

    assert (walked.returncode, walked.stdout) == (0, "No surprise.\n"), walked.stderr


def test_wrong_calls_do_not_compile(built):
    """The compiler refuses each call of refused.ts with the expected error."""
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
    """The lock file has no URL, so npm uses the configured registry."""
    assert '"resolved"' not in (SOURCES / "package-lock.json").read_text()


@pytest.mark.parametrize("block", re.findall(r"```ts\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL))
def test_the_page_shows_tested_code(block):
    """Each TypeScript block of docs/clients.md is part of a tested program."""
    assert any(unindented(block) in unindented(source.read_text()) for source in SOURCES.glob("*.ts"))


def unindented(text):
    return "\n".join(line.strip() for line in text.splitlines())
