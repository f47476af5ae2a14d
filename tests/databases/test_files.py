"""The files of `instance/` and of SQLite are private to their owner."""

import os
import stat
import subprocess
import sys

import pytest
from flask_migrate import upgrade
from sqlalchemy import make_url

from app import create_app
from app.data.base import db
from app.data.files import make_private, open_to_others
from config import TestingConfig
from support.serving import copy_of_the_project, environment


@pytest.fixture(autouse=True)
def _usual_umask():
    """The umask of most systems, which lets everybody read a new file."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder):
    """The modes of the folder and of the files in it, by name."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}


RELATIVE = make_url("sqlite:///latchkey.db")


class TestMakePrivate:
    def test_corrects_what_is_there(self, tmp_path):
        """Looser modes of the folder and of its files are corrected; other bits stay."""
        folder = tmp_path / "instance"
        folder.mkdir(mode=0o755)
        for name, mode in (("jwt_secret_key", 0o644), ("latchkey.db", 0o666), ("latchkey.db-wal", 0o604), ("x", 0o400)):
            (folder / name).touch()
            (folder / name).chmod(mode)

        make_private(folder, RELATIVE)

        assert modes(folder) == {
            "instance": 0o700, "jwt_secret_key": 0o600, "latchkey.db": 0o600, "latchkey.db-wal": 0o600, "x": 0o400,
        }  # fmt: skip
        assert list(open_to_others(folder)) == []

    def test_creates_the_folder_for_a_database(self, tmp_path):
        """The folder is created only for a database in it."""
        folder = tmp_path / "instance"
        for url in ("postgresql://h/d", "sqlite://", f"sqlite:///{tmp_path}/x.db"):
            make_private(folder, make_url(url))
            assert not folder.exists()

        make_private(folder, RELATIVE)

        assert modes(folder) == {"instance": 0o700}

    def test_leaves_what_a_link_names(self, tmp_path):
        """A file outside the folder keeps its mode, also if a link in the folder names it."""
        outside = tmp_path / "outside"
        outside.touch(mode=0o644)
        folder = tmp_path / "instance"
        folder.mkdir(mode=0o700)
        (folder / "link").symlink_to(outside)

        make_private(folder, RELATIVE)

        assert stat.S_IMODE(outside.stat().st_mode) == 0o644

    def test_what_cannot_be_changed(self, tmp_path, monkeypatch):
        """A file of another owner stops nothing, and is found open."""
        folder = tmp_path / "instance"
        folder.mkdir(mode=0o755)

        def refuse(*_args, **_options):
            raise PermissionError

        monkeypatch.setattr("pathlib.Path.chmod", refuse)
        make_private(folder, RELATIVE)

        assert list(open_to_others(folder)) == [folder]


def test_a_new_database_is_private(tmp_path):
    """A new SQLite file, and the files beside it, are readable by their owner only."""
    config = TestingConfig()
    config.DATABASE_URL = f"sqlite:///{tmp_path / 'data' / 'x.db'}"
    (tmp_path / "data").mkdir()
    with create_app(config).app_context():
        upgrade()
        with db.engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1 FROM users")
            found = modes(tmp_path / "data")
        db.engine.dispose()

    assert found.keys() == {"data", "x.db", "x.db-wal", "x.db-shm"}
    assert {mode for name, mode in found.items() if name != "data"} == {0o600}


@pytest.mark.programs
def test_each_way_in(tmp_path):
    """`flask db upgrade` makes everything private, and a server corrects looser modes."""
    copy = copy_of_the_project(tmp_path)
    private = {"instance": 0o700, "jwt_secret_key": 0o600, "latchkey.db": 0o600}
    env = environment(JWT_SECRET_KEY=None, APP_ENV="development")

    def run(*command):
        subprocess.run([sys.executable, *command], cwd=copy, env=env, check=True, capture_output=True)
        return modes(copy / "instance")

    assert run("-m", "flask", "--app", "wsgi", "db", "upgrade") == private
    (copy / "instance").chmod(0o755)
    for path in (copy / "instance").iterdir():
        path.chmod(0o644)
    assert run("-c", "import wsgi") == private
