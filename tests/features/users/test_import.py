"""`flask users import`: the file, the hashes of other applications, and their renewal."""

import json
import threading

import pytest
from sqlalchemy import select

from app.data.base import db
from app.users import foreign_hashes, importing, passwords
from app.users.models import User
from support.api import API, count, error, log_in, sign_up, taken_lines

TYPED = "correct horse €²"  # not in NFKC: the sign ² is 2 there
LONG = "correct horse " * 8  # bcrypt ignores all after 72 bytes

# Made by Werkzeug 3.1.9, passlib 1.7.4, bcrypt 3.2.2 and argon2-cffi 25.1.0, mostly at a low cost.
WERKZEUG_SCRYPT = (
    "scrypt:32768:8:1$Iv9ROv3AsAehOLLc$9a162d425bc3416977fed40c0d078b6db537a40d816b655895751844e1fa8cc2"
    "37103d1d4682238e0b0383aaff9e2a59e6e322f47b1e6d0dc557260e88ab4d9d"
)
SHA_512 = (
    "pbkdf2:sha512:1000$QL2d6WmWwRDMYf1M$0cf678f749e8a368ac5c5d127f0c1aedf82213d380bdebf3794c79a27c8d46c3"
    "d67d370499f80494e1a0574fb770bb39b480fb2594177d8e421efefb5e43fbbc"
)
SHA_256 = "pbkdf2:sha256:1000$DQVJitXM0eiDQSIv$9e9c30391ace71511f933af9733f0bd91ceeaabc530ccd410253a004adcdd90a"
PASSLIB = "$pbkdf2-sha256$1000$mFOKsTaGUMqZcw6htDaGcA$.udesk6yM7emp9SMwTQVG0HzsfQyBAzfPYDFMlgnq0E"
PASSLIB_512 = (
    "$pbkdf2-sha512$1000$YGyNUer93/sfQ4gxxjjnHA"
    "$Os2.EFCcRnoPSplT5Aof5TVZ6Aeg38/eWe2lz95uQ/GNSE70UDsr7M2FdKB9XJAmUUCysAZpRYCUiwW6Mz5zwQ"
)
BCRYPT = "$2b$04$dD34u76a.YMvdmPUkMFNXOfSM8ObTGS.gCTDcsOATnv2Sdxpl7HPi"
ARGON2 = "$argon2id$v=19$m=64,t=1,p=1$ihIDTvTIGdlXyLFB9ClfQw$fFe/Cr2Y14CKTnaUOwKqLWrMrpsQWk5gVWPngQrQk70"
OF_TYPED = {
    "werkzeug scrypt": WERKZEUG_SCRYPT,
    "werkzeug pbkdf2:sha256": SHA_256,
    "werkzeug pbkdf2:sha512": SHA_512,
    "passlib pbkdf2_sha1": "$pbkdf2$1000$LqXU2tub8/6/V6r13rsXYg$XyTqzyC4W5jE18hIoduSpQYFp4E",
    "passlib pbkdf2_sha256": PASSLIB,
    "passlib pbkdf2_sha512": PASSLIB_512,
    "bcrypt 2a": "$2a$04$xVXxsfqoaEsLq77/WUPXB.PO/RBnWx53qLb7YaEUbpmMf8vPDSnK2",
    "bcrypt 2b": BCRYPT,
    "bcrypt 2y": "$2y$04$DcZoZWkA3uvCcgCkRVBPxeviKrerEjeqK.zCXqTrTn4v1XyxofGU.",
    "argon2d": "$argon2d$v=19$m=64,t=1,p=1$yabfmuKChIU0jUOXsoJ8UA$fgkddbPJJGxTKakEIqSd9ja1YFvozzK5uDZjAT0r6Kg",
    "argon2i": "$argon2i$v=19$m=64,t=1,p=1$9UgNgMGQ6WxAa575REs/yQ$Blg8Rt2vsGml613OtENy4+JEqeAFioCWkxrFhDIn9ps",
    "argon2id": ARGON2,
    "argon2id, imported before": f"imported{ARGON2}",  # in an export of this project
}
OF_LONG = "$2b$04$H2c4M0lH4PMpY9MK.QoYJ.Wy9WBvkIRKDr/bUyYOsWoh7BSlZC42K"


def line(username="grace", password_hash=SHA_256, **members):
    return json.dumps({"username": username, "password_hash": password_hash, **members})


@pytest.fixture
def load(runner):
    """Import these lines from standard input."""

    def run(*lines, options=()):
        content = b"\n".join(text if isinstance(text, bytes) else text.encode() for text in lines)
        return runner.invoke(args=["users", "import", "-", *options], input=content)

    return run


def faults(result):
    """The lines about faults of a refused import.  Asserts that its last line says that nothing is imported."""
    assert (result.exit_code, result.stdout) == (1, "")
    *listed, last = result.stderr.splitlines()
    assert last.startswith("Error: ")
    assert "Nothing is imported." in last
    return listed


def attempt(client, password, username="grace"):
    return client.post(f"{API}/auth/login", json={"username": username, "password": password})


def hash_of(app, username="grace"):
    with app.app_context():
        return db.session.scalar(select(User.password_hash).where(User.username == username))


class TestHashes:
    @pytest.mark.parametrize("password_hash", OF_TYPED.values(), ids=OF_TYPED)
    def test_a_login_renews_the_hash(self, app, client, load, password_hash):
        """The password matches as typed; after the login only an Argon2id hash of ours is left."""
        assert load(line(password_hash=password_hash)).output == "Imported 1 user(s).\n"

        assert error(attempt(client, "correct horse €3")) == (401, "invalid_credentials")
        assert hash_of(app).endswith(password_hash)
        log_in(client, "grace", TYPED)

        renewed = hash_of(app)
        assert renewed.startswith("$argon2id$")
        with app.app_context():
            assert not passwords.is_outdated(renewed)
        log_in(client, "grace", TYPED)
        assert hash_of(app) == renewed

    def test_normal_forms_count_after_the_renewal_only(self, app, client, load):
        """Another spelling of the password fails before the renewal and succeeds after it."""
        load(line(password_hash=SHA_256))

        assert error(attempt(client, "correct horse €2")) == (401, "invalid_credentials")
        log_in(client, "grace", TYPED)
        log_in(client, "grace", "correct horse €2")

    def test_a_hash_of_another_installation(self, app, client, load):
        """An Argon2 hash of this project matches every spelling of the password."""
        sign_up(client, "linus", TYPED)

        load(line(password_hash=hash_of(app, "linus")))

        log_in(client, "grace", TYPED)
        assert not foreign_hashes.is_foreign(hash_of(app))

    def test_bcrypt_reads_72_bytes(self, app, client, load):
        """Before the renewal bcrypt ignores what follows 72 bytes; afterwards every character counts."""
        load(line(password_hash=OF_LONG))

        assert error(attempt(client, LONG[:71])) == (401, "invalid_credentials")
        log_in(client, "grace", LONG)
        assert error(attempt(client, LONG + "x")) == (401, "invalid_credentials")

    @pytest.mark.parametrize("password_hash", [WERKZEUG_SCRYPT, PASSLIB, BCRYPT])
    def test_is_verified_in_a_thread_for_hashes(self, app, client, load, monkeypatch, password_hash):
        """The gate, which limits concurrent hashes, also runs the check of a foreign hash."""
        threads, verify = [], passwords.verify_foreign

        def watched(*args):
            threads.append(threading.current_thread().name)
            return verify(*args)

        monkeypatch.setattr(passwords, "verify_foreign", watched)
        load(line(password_hash=password_hash))

        log_in(client, "grace", TYPED)

        assert [name.rpartition("_")[0] for name in threads] == ["hash"]

    def test_a_too_long_password(self, client, load):
        """A password of more than 512 characters is refused as any wrong one."""
        load(line(password_hash=OF_LONG))

        assert error(attempt(client, LONG * 5)) == (401, "invalid_credentials")

    def test_a_password_change(self, client, load):
        """The imported hash counts as the current password, and the new one replaces it."""
        load(line())
        tokens = log_in(client, "grace", TYPED)

        body = {"current_password": TYPED, "new_password": "another horse battery"}
        assert client.put(f"{API}/auth/password", json=body, headers=tokens.headers).status_code == 200

        log_in(client, "grace", "another horse battery")

    @pytest.mark.parametrize(
        ("password_hash", "word"),
        [
            ("correct horse", "Not a hash"),
            ("", "Not a hash"),
            ("5f4dcc3b5aa765d61d8327deb882cf99", "Not a hash"),  # MD5
            ("pbkdf2_sha256$1000$salt$aGFzaA==", "Not a hash"),  # Django
            ("$argon2id$v=19$m=64,t=1,p=1$c2FsdA$c2hvcnQ", "malformed"),
            (ARGON2.replace("m=64", "m=7"), "malformed"),
            (ARGON2[:-1] + "*", "malformed"),
            (ARGON2.replace("argon2id", "argon2x"), "malformed"),
            (WERKZEUG_SCRYPT.replace("32768", "32767"), "malformed"),
            (WERKZEUG_SCRYPT.replace("32768", "512"), "malformed"),
            (WERKZEUG_SCRYPT.replace("32768:8", "65536:1"), "malformed"),
            (WERKZEUG_SCRYPT[:-1], "malformed"),
            (SHA_256.replace("1000", "0"), "malformed"),
            (SHA_256.replace("sha256", "md5"), "malformed"),
            (SHA_256[:-2], "malformed"),
            (PASSLIB[:-3], "malformed"),
            (PASSLIB.replace("$mFOKsTaGUMqZcw6htDaGcA", "$mFOKs"), "malformed"),
            (BCRYPT.replace("$2b", "$2x"), "malformed"),
            (BCRYPT.replace("$04", "$03"), "malformed"),
            (BCRYPT.replace("XOfS", "Xzfz"), "malformed"),
            (BCRYPT + "\n", "malformed"),
            (SHA_256.replace("DQVJitXM0eiDQSIv", "x" * 170), "malformed"),  # more than the column holds
            (ARGON2.replace("m=64", "m=131073"), "too much"),
            (ARGON2.replace("m=64,t=1", "m=65536,t=17"), "too much"),
            (ARGON2.replace("m=64,t=1,p=1", "m=1024,t=1,p=17"), "too much"),
            (WERKZEUG_SCRYPT.replace("32768", "262144"), "too much"),
            (WERKZEUG_SCRYPT.replace(":1$", ":17$"), "too much"),
            (WERKZEUG_SCRYPT.replace("32768:8:1", "131072:8:5"), "too much"),
            (WERKZEUG_SCRYPT.replace("32768:8:1", "9999999999:9999999999:9999999999"), "too much"),
            (SHA_256.replace("1000", "2000001"), "too much"),
            (PASSLIB.replace("1000", "2000001"), "too much"),
            (BCRYPT.replace("$04", "$15"), "too much"),
        ],
    )
    def test_refused_hashes(self, app, load, password_hash, word):
        """A hash that is unknown, malformed or too costly to check is refused without being shown."""
        [fault] = faults(load(line(password_hash=password_hash)))

        assert fault.startswith("line 1: password_hash: ")
        assert word in fault
        assert not password_hash or password_hash not in fault
        assert count(app, User) == 0

    @pytest.mark.parametrize(
        "password_hash",
        [
            ARGON2.replace("m=64,t=1,p=1", "m=131072,t=8,p=16"),
            WERKZEUG_SCRYPT.replace("32768:8:1", "131072:8:4"),
            SHA_256.replace("1000", "2000000"),
            BCRYPT.replace("$04", "$14"),
        ],
    )
    def test_the_dearest_hashes(self, app, load, password_hash):
        """Hashes at the limits of the cost are accepted."""
        assert load(line(password_hash=password_hash)).exit_code == 0
        assert count(app, User) == 1

    def test_without_the_package_bcrypt(self, app, client, load, monkeypatch, caplog):
        """Without the package, an import names it; a login fails, and the log names it."""
        load(line(password_hash=BCRYPT))
        monkeypatch.setattr(foreign_hashes, "HAS_BCRYPT", False)

        [fault] = faults(load(line("linus", BCRYPT)))
        assert "requirements/extras.txt" in fault
        taken_lines(caplog, app.logger.name)
        assert error(attempt(client, TYPED)) == (401, "invalid_credentials")
        [logged] = taken_lines(caplog, app.logger.name)
        assert (logged["level"], "requirements/extras.txt" in logged["message"]) == ("ERROR", True)

    def test_a_hash_above_the_limits_in_the_database(self, app, client, user, caplog):
        """A stored hash above the limits, which another program has written, is not verified."""
        with app.app_context():
            db.session.get(User, user.id).password_hash = WERKZEUG_SCRYPT.replace("32768", str(2**30))
            db.session.commit()

        assert error(attempt(client, TYPED)) == (401, "invalid_credentials")
        assert "would cost too much" in caplog.text


class TestFile:
    def test_members_of_a_line(self, app, client, load):
        """The optional members make administrators and inactive users."""
        result = load(line("grace"), line("ada", is_admin=True), line("linus", is_active=False))

        assert result.output == "Imported 3 user(s).\n"
        assert log_in(client, "grace", TYPED).username == "grace"
        admin = log_in(client, "ada", TYPED)
        users = client.get(f"{API}/users", headers=admin.headers).json["users"]
        assert [(user["username"], user["is_admin"], user["is_active"]) for user in users] == [
            ("grace", False, True),
            ("ada", True, True),
            ("linus", False, False),
        ]
        assert error(attempt(client, TYPED, "linus")) == (401, "invalid_credentials")

    def test_a_name_is_normalised(self, client, load):
        """The stored name is in NFKC, and the login ignores its case."""
        load(line("Ｇｒａｃｅ"))

        assert log_in(client, "grace", TYPED).username == "Grace"

    def test_a_file(self, app, runner, tmp_path):
        """The file may have a byte order mark, CRLF and blank lines, and no line end."""
        path = tmp_path / "users.jsonl"
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([line("grace"), "", "  ", line("linus")]).encode())

        assert runner.invoke(args=["users", "import", str(path)]).output == "Imported 2 user(s).\n"
        assert count(app, User) == 2

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("{", "It is not JSON."),
            (b'"\xff"', "It is not UTF-8."),
            ('{"a": 1, "a": 1}', "An object contains a name twice."),
            ("[" * 40 + "]" * 40, "It nests deeper than 32 levels."),
            ("[]", "It is not a JSON object."),
            ('{"username": "grace"}', "password_hash: Missing data for required field."),
            (line(is_admin="yes"), "is_admin: Not a valid boolean."),
            (line(is_admin=None), "is_admin: Field may not be null."),
            (line(username=7), "username: Not a valid string."),
            (line(username="ab"), "username: Length must be between 3 and 64."),
            (line(password_hash=7), "password_hash: Not a valid string."),
            (line(email="grace@example.com"), "email: Unknown field."),
            (line(**{"\u202e\x1b[31m": 1}), "a member: Unknown field."),
            (line(email="x" * 4096), "It is longer than 4096 bytes."),
        ],
    )
    def test_a_wrong_line(self, app, load, text, fault):
        """A wrong line is named with its number and the reason, and no user is created."""
        assert faults(load(line("linus"), text, line("ada"))) == [f"line 2: {fault}"]
        assert count(app, User) == 0

    def test_names_that_are_taken(self, app, load, user):
        """Names of users, and names that come twice, are named by their lines in any spelling."""
        listed = faults(load(line("ada"), line("GRACE"), line("linus"), line("Ada"), line("ADA")))

        assert listed == [
            "line 2: username: This name is taken.",
            "line 4: username: Line 1 has the same name.",
            "line 5: username: Line 1 has the same name.",
        ]
        assert count(app, User) == 1

    def test_a_second_run(self, app, load):
        """A second import of a file fails, and changes nothing."""
        assert load(line("ada"), line("linus")).exit_code == 0
        before = hash_of(app, "ada")

        assert len(faults(load(line("ada", PASSLIB), line("linus")))) == 2
        assert (count(app, User), hash_of(app, "ada")) == (2, before)

    def test_many_faults(self, app, load):
        """At most 20 lines are listed, and the last line says how many are wrong."""
        result = load(*["[]"] * 30)

        assert len(faults(result)) == 20
        assert "30 line(s) are wrong" in result.stderr

    def test_batches(self, app, load, monkeypatch):
        """A file of several batches is checked and imported as a whole."""
        monkeypatch.setattr(importing, "BATCH", 2)
        names = [f"user{number}" for number in range(5)]

        assert load(*map(line, names)).output == "Imported 5 user(s).\n"
        assert count(app, User) == 5
        assert faults(load(line("ada"), line("linus"), line("user4"))) == ["line 3: username: This name is taken."]

    def test_a_name_that_is_taken_meanwhile(self, app, client, load, monkeypatch):
        """If somebody registers a name during the import, no user is created."""
        monkeypatch.setattr(importing, "BATCH", 1)
        insert = importing.UserFile.insert

        def insert_late(content):
            sign_up(client, "linus")
            yield from insert(content)

        monkeypatch.setattr(importing.UserFile, "insert", insert_late)

        assert faults(load(line("ada"), line("linus"))) == []
        assert count(app, User) == 1

    def test_dry_run(self, app, load):
        """With `--dry-run` the file is checked, and nothing is imported."""
        assert load(line(), options=["--dry-run"]).output == "The file is right. It has 1 user(s).\n"
        assert faults(load("[]", options=["--dry-run"])) == ["line 1: It is not a JSON object."]
        assert count(app, User) == 0

    @pytest.mark.parametrize("content", ["", "\n \n"])
    def test_no_users(self, load, content):
        """A file without users fails, because an export may have failed."""
        assert faults(load(content)) == []

    def test_no_file(self, runner):
        """A file that does not exist fails with its name."""
        result = runner.invoke(args=["users", "import", "nowhere.jsonl"])

        assert (result.exit_code, "nowhere.jsonl" in result.stderr) == (2, True)

    def test_without_a_database(self, another):
        """Without a usable database the command names DATABASE_URL."""
        runner = another(DATABASE_URL="mysql://nobody@127.0.0.1:1/x").test_cli_runner()

        result = runner.invoke(args=["users", "import", "-"], input=line())

        assert (result.exit_code, "DATABASE_URL" in result.stderr) == (1, True)

    def test_is_an_event(self, load, caplog):
        """The import is one event with the numbers of users and administrators."""
        load(line("grace"), line("ada", is_admin=True))

        [event] = taken_lines(caplog, "app.security")
        assert (event["event"], event["number"], event["admins"]) == ("users_imported", 2, 1)
        assert event["by"] == "command line"
