import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from support.api import PASSWORD
from support.serving import ROOT, environment, post, serving
from support.typescript import walk

pytestmark = pytest.mark.programs
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the tour needs curl")


def tour(port, url):
    """Run docs/tour.sh, and return what it prints."""
    command = ["/bin/sh", "docs/tour.sh", f"http://127.0.0.1:{port}"]
    env = environment(DATABASE_URL=url)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout


@pytest.mark.usefixtures("app")  # it empties the tables afterwards
def test_the_generated_client(built, database):
    """The generated client runs tour.ts against a real server."""
    with serving(DATABASE_URL=database, APP_ENV="testing") as (port, _process):
        done = walk(built, "tour", port)

    assert (done.returncode, done.stdout) == (0, "No surprise.\n"), done.stderr


@needs_curl
@pytest.mark.usefixtures("app")
def test_the_tour(database, tmp_path):
    """docs/tour.sh succeeds against a real server, on each database."""
    with serving(DATABASE_URL=database, APP_ENV="development") as (port, _process):
        shown = tour(port, database)

    assert "all as expected" in shown
    assert "row(s) deleted" in shown


@needs_curl
def test_the_tour_keeps_other_users(tmp_path):
    """If other users exist, the tour does not delete all users."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with serving(DATABASE_URL=url, APP_ENV="development") as (port, _process):
        post(port, "/api/v1/auth/register", {"username": "grace", "password": PASSWORD})
        shown = tour(port, url)

    assert "skipped" in shown
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        names = [name for (name,) in database.execute("SELECT username FROM users ORDER BY username")]
    assert names[0] == "grace"
    assert [name.startswith("tour-admin-") for name in names[1:]] == [True]  # the last administrator
