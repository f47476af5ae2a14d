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


@pytest.mark.usefixtures("app")  # it empties the tables afterwards
def test_the_generated_client(built, database):
    """The generated client runs tour.ts against a real server."""
    with serving(DATABASE_URL=database, APP_ENV="testing") as (port, _process):
        tour = walk(built, "tour", port)

    assert (tour.returncode, tour.stdout) == (0, "No surprise.\n"), tour.stderr


@needs_curl
@pytest.mark.usefixtures("app")
def test_the_tour(database, tmp_path):
    """docs/tour.sh succeeds against a real server, on each database."""
    with serving(DATABASE_URL=database, APP_ENV="development") as (port, _process):
        tour = subprocess.run(
            ["/bin/sh", "docs/tour.sh", f"http://127.0.0.1:{port}"],
            cwd=ROOT, env=environment(DATABASE_URL=database), capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert tour.returncode == 0, tour.stdout[-2000:] + tour.stderr
    assert "all as expected" in tour.stdout
    assert "row(s) deleted" in tour.stdout


@needs_curl
def test_the_tour_keeps_other_users(tmp_path):
    """If other users exist, the tour does not delete all users."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with serving(DATABASE_URL=url, APP_ENV="development") as (port, _process):
        post(port, "/api/v1/auth/register", {"username": "grace", "password": PASSWORD})
        tour = subprocess.run(
            ["/bin/sh", "docs/tour.sh", f"http://127.0.0.1:{port}"],
            cwd=ROOT, env=environment(DATABASE_URL=url), capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert tour.returncode == 0, tour.stdout[-2000:] + tour.stderr
    assert "skipped" in tour.stdout
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        names = [name for (name,) in database.execute("SELECT username FROM users ORDER BY username")]
    assert names[0] == "grace"
    assert [name.startswith("tour-admin-") for name in names[1:]] == [True]  # the last administrator
