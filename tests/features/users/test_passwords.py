"""The rules of passwords, and the gate that limits concurrent hashing."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.data.text import folded
from app.users import gate, password_list
from app.users.gate import FairQueue, Gate
from app.users.password_list import PasswordList
from app.users.password_rules import COMMON_PASSWORDS, is_common, is_predictable, resembles
from app.web.errors import ApiError, Code
from support.api import API, PASSWORD, error, log_in, sign_up

COMMON = "This password is too common."
PATTERN = "This password repeats itself or follows a pattern."
SERVICE = "The password is too similar to the name of this service."
NAME = "The password is too similar to the user name."


class TestRules:
    def test_the_list(self):
        """The list names sources and licence, and has enough passwords of every length."""
        lines = COMMON_PASSWORDS.read_text().splitlines()
        head = "\n".join(line for line in lines if line.startswith("#"))
        words = [line for line in lines if not line.startswith("#")]

        assert all(word in head for word in ("zxcvbn", "SecLists", "MIT License"))
        assert len(words) == len(set(words))
        assert [word for word in words if word != folded(word, "NFKC", 128)] == []
        assert [sum(len(word) >= length for word in words) for length in (8, 12, 15, 20)] == [22275, 10893, 4695, 1019]
        assert COMMON_PASSWORDS.stat().st_size < 600_000

    @pytest.mark.parametrize(
        "password",
        [
            "password",
            "12345678",
            "PassWord",
            "ｐａｓｓｗｏｒｄ",
            "password1",
            "password2026!",
            "Baseball 99",
            "trustno1",
            "1a2b3c4d5e6f",
            "2026password",
            "P@55w0rd!!",
            "nick1234-rem936",
        ],
    )
    def test_common(self, password):
        """A common password is found in any case and width, with digits added."""
        assert is_common(password)

    @pytest.mark.parametrize(
        "password",
        [
            "passwordpassword", "password password", "iloveyouiloveyou", "password1password2", "footballbaseball",
            "qwertyuiopasdfgh", "qwer1234", "1q2w3e4r5t6y", "йцукен123", "123456789012345", "abcdefgh7654321",
            "x" * 30, "🔑" * 8, "xk7#" * 16, "ab" * 64, "P4SSW0RD-p4ssw0rd", "0987654321zyxwvuts", "aaaaaaaabbbbbbbb!",
        ],
    )  # fmt: skip
    def test_predictable(self, password):
        """Repetitions, keyboard walks, sequences and joins of common words are found at any length."""
        assert is_predictable(password)

    @pytest.mark.parametrize(
        "password",
        [
            PASSWORD, "correct horse", "xkcd 936 staple", "密码学很有意思", "пароль не скажу", "7d1m5x9r3q8b",
            "k9#vR2xq", "were poppy property", "sunshine, football and princess", "the cat and the hat",
        ],
    )  # fmt: skip
    def test_good(self, password):
        """Other passwords of any script are accepted, whatever characters they have."""
        assert not is_common(password)
        assert not is_predictable(password)

    @pytest.mark.parametrize("password", ["x" * 128, "ab" * 64, "qwertyuiop1" * 11, "".join(map(chr, range(200, 328)))])
    def test_costs_little(self, password):
        """The longest passwords take at most 50 ms of CPU time."""
        is_common(password)  # reads the list
        began = time.process_time()
        is_common(password)
        is_predictable(password)
        resembles(password, "ab" * 32)

        assert time.process_time() - began < 0.05

    @pytest.mark.parametrize(
        ("password", "username", "alike"),
        [
            ("gracehopper", "gracehopper", True),
            ("GraceHopper", "gracehopper", True),
            ("gracehopper1906", "gracehopper", True),
            ("gracehopper!", "gracehopper7", True),
            ("a gracehopper", "gracehopper", True),
            ("2026gr4c3h0pp3r!!", "GraceHopper", True),
            ("g-r-a-c-e-hopper", "gracehopper", True),
            ("reppohecarg", "gracehopper", True),
            ("gracehoppergracehopper", "grace.hopper", True),
            ("gráce1906gráce", "grace", True),
            ("$ecure$ecure", "secure", True),
            ("123-123-123", "123", True),
            ("20261124!!", "20261124", True),
            ("grace and ada", "grace", False),
            ("12398765432", "123", False),
            ("98765432", "123", False),
            ("al2026xyz", "a.l", False),
            (PASSWORD, "grace", False),
        ],
    )
    def test_resembles_the_name(self, password, username, alike):
        """A password resembles the name if it is the name in any disguise, and at most two letters more."""
        assert resembles(password, username) is alike


class TestNewPassword:
    @pytest.mark.parametrize(
        ("password", "reason"),
        [
            ("password", COMMON),
            ("gracehopper", NAME),
            ("Latchkey2026!", SERVICE),
            ("yekhctal-yekhct4l", SERVICE),
            ("asdfghj-4567", PATTERN),
        ],
    )
    def test_registration(self, client, password, reason):
        """A registration with a bad password gets 422 with the reason."""
        body = {"username": "gracehopper", "password": password}
        response = client.post(f"{API}/auth/register", json=body)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"json": {"password": [reason]}}

    @pytest.mark.parametrize(("password", "reason"), [("12345678", COMMON), ("gracehopper1", NAME)])
    def test_change(self, client, password, reason):
        """A change to a bad password gets 422, and the old one stays."""
        user = sign_up(client, "gracehopper")
        body = {"current_password": PASSWORD, "new_password": password}
        response = client.put(f"{API}/auth/password", json=body, headers=user.headers)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"json": {"new_password": [reason]}}
        log_in(client, "gracehopper")

    @pytest.mark.parametrize(("password", "reason"), [("password", COMMON), ("gracehopper", NAME)])
    def test_command_line(self, runner, password, reason):
        """`flask users create` refuses a bad password with the reason."""
        result = runner.invoke(args=["users", "create", "gracehopper"], input=password + "\n")

        assert (result.exit_code, reason in result.stderr) == (1, True)

    def test_login(self, client, user):
        """A login does not apply the rules, which may be newer than the password."""
        response = client.post(f"{API}/auth/login", json={"username": user.username, "password": "password"})

        assert error(response) == (401, "invalid_credentials")


class TestPasswordList:
    @pytest.fixture
    def path(self, tmp_path):
        words = "Tr0ub4dor&3 staple\r\n\nshort\nＷＩＤＥ ＨＯＲＳＥ\n".encode() + b"caf\xe9 au lait\n" + b"x" * 5000
        (tmp_path / "words.txt").write_bytes(words + b"\nthe last line")
        return tmp_path / "words.txt"

    def test_is_refused_as_common(self, another, path):
        """A password in the file of PASSWORD_LIST is too common, whatever its case, width and digits at the end."""
        client = another(PASSWORD_LIST=str(path)).test_client()

        for password in ("tr0ub4dor&3 staple", "Wide Horse", "wide horse 99", "The last line"):
            response = client.post(f"{API}/auth/register", json={"username": "grace", "password": password})
            assert response.json["errors"] == {"json": {"password": [COMMON]}}
        sign_up(client, "grace")

    def test_lines_that_are_no_passwords_are_left_out(self, path):
        """Short and long lines and those that are not UTF-8 are left out."""
        words = PasswordList(path)

        assert len(words) == 3
        assert "the last line" in words
        assert "short" not in words

    def test_needs_little_memory(self, tmp_path, monkeypatch):
        """Words are sorted in chunks of hashes of 8 bytes, and every word is found."""
        monkeypatch.setattr(password_list, "CHUNK", 7)
        (tmp_path / "many.txt").write_text("\n".join(f"password {number}" for number in range(100)))
        words = PasswordList(tmp_path / "many.txt")

        assert all(f"password {number}" in words for number in range(100))
        assert "password 100" not in words
        assert {chunk.itemsize for chunk in words._chunks} == {8}  # noqa: SLF001


class TestFairQueue:
    """A network is one letter, and a job its number."""

    @pytest.fixture
    def queue(self, monkeypatch):
        monkeypatch.setattr(gate, "SHARES", 4)
        return FairQueue(8)

    def put(self, queue, *jobs):
        for job in jobs:
            assert queue.enter(job[0])
            queue.put(job[0], job)

    def test_a_network_gets_a_quarter(self, queue):
        """A network may have a quarter of the room, and gets it back."""
        assert [queue.enter("a") for _ in range(3)] == [True, True, False]
        assert queue.enter("b")
        queue.leave("a")
        assert [queue.enter("a") for _ in range(2)] == [True, False]

    def test_a_network_gets_at_least_one(self, monkeypatch):
        """In a small room, each network may have one job."""
        monkeypatch.setattr(gate, "SHARES", 4)
        small = FairQueue(3)

        assert [small.enter(network) for network in "aabc"] == [True, False, True, True]

    def test_the_room_is_full(self, queue):
        """When the room is full, no network gets in."""
        assert [queue.enter(network) for network in "aabbccdde"] == [True] * 8 + [False]

    def test_a_new_network_goes_first(self, queue):
        """A network that was not served yet goes before one that was."""
        self.put(queue, "a1", "a2")
        assert queue.get() == "a1"
        self.put(queue, "b1", "b2")

        assert [queue.get() for _ in range(3)] == ["b1", "a2", "b2"]

    def test_networks_take_turns(self, queue):
        """Networks are served in turn, and each of their jobs in its order."""
        self.put(queue, "a1", "a2", "b1", "b2", "c1")

        assert [queue.get() for _ in range(5)] == ["a1", "b1", "c1", "a2", "b2"]

    def test_a_job_can_be_taken_back(self, queue):
        """A job that gives up costs its network no turn, and cannot be taken back twice or after its turn."""
        self.put(queue, "a1", "b1", "a2")
        assert [queue.take_back("a", job) for job in ("a1", "a1")] == [True, False]

        assert [queue.get() for _ in range(3)] == ["b1", "a2", None]
        assert not queue.take_back("a", "a2")

    def test_a_network_that_left_is_new(self, queue):
        """A network without jobs is forgotten, so that the queue does not grow."""
        self.put(queue, "a1")
        queue.get()
        queue.leave("a")

        assert (queue._inside, queue._served_at) == ({}, {})  # noqa: SLF001


class TestGate:
    def test_runs_no_more_at_once_than_it_has_slots(self):
        """The gate runs at most as many jobs at once as it has slots."""
        running, most, lock = 0, 0, threading.Lock()

        def job():
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.01)
            with lock:
                running -= 1
            return "done"

        narrow = Gate(2, 30)
        with ThreadPoolExecutor(16) as pool:
            results = list(pool.map(lambda _number: narrow.run("", job), range(16)))

        assert (most, results) == (2, ["done"] * 16)

    def test_full_queue(self):
        """A job beyond slots and queue is refused at once."""
        narrow, release = Gate(1, 1), threading.Event()
        with ThreadPoolExecutor(2) as pool:
            held = [pool.submit(narrow.run, "", release.wait) for _ in range(2)]
            while narrow._queue._inside.total() < 2:  # noqa: SLF001 -- until both are in
                time.sleep(0.001)

            with pytest.raises(ApiError) as refusal:
                narrow.run("", release.wait)

            release.set()
            assert [one.result() for one in held] == [True, True]
        assert refusal.value.code is Code.overloaded
        assert narrow.run("", str, 7) == "7"

    def test_the_wait_is_bounded(self, monkeypatch):
        """A job that waits longer than WAIT is refused and never runs."""
        monkeypatch.setattr(gate, "WAIT", 0.05)
        narrow, release, ran = Gate(1, 4), threading.Event(), []
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(narrow.run, "", release.wait)  # it runs longer than WAIT, but does not wait

            with pytest.raises(ApiError) as refusal:
                narrow.run("", ran.append, 1)

            release.set()
            assert slow.result() is True
        assert refusal.value.code is Code.overloaded
        assert ran == []

    def test_a_flood_of_one_network_leaves_room(self, monkeypatch):
        """While one network waits with all jobs that it may have, another one is served next."""
        monkeypatch.setattr(gate, "SHARES", 4)
        narrow, release, ran = Gate(1, 15), threading.Event(), []

        def job(name):
            release.wait()
            ran.append(name)

        with ThreadPoolExecutor(20) as pool:
            flood = [pool.submit(narrow.run, "flood", job, "flood") for _ in range(10)]
            while len(refused := [one for one in flood if one.done()]) < 6:
                time.sleep(0.001)
            owner = pool.submit(narrow.run, "owner", job, "owner")
            while narrow._queue._inside.total() < 5:  # noqa: SLF001 -- until the owner is in
                time.sleep(0.001)
            release.set()
            owner.result()

        assert {one.exception().code for one in refused} == {Code.overloaded}
        assert ran == ["flood", "owner", "flood", "flood", "flood"]

    def test_exception(self):
        """An exception of the job reaches the caller."""
        with pytest.raises(ZeroDivisionError):
            Gate(1, 1).run("", lambda: 1 // 0)

    def test_the_priority_cannot_be_changed(self, monkeypatch):
        """If the priority cannot be changed, the job still runs."""

        def refuse(*_args):
            raise PermissionError

        monkeypatch.setattr("os.setpriority", refuse)

        assert Gate(1, 1).run("", str, 7) == "7"

    def test_overload_is_a_503(self, another, user, monkeypatch):
        """An overload gets 503 with Retry-After, and other requests are served."""
        crowded = another()
        monkeypatch.setattr(crowded.extensions["passwords"].gate._queue, "enter", lambda network: False)  # noqa: SLF001
        client = crowded.test_client()

        for path in ("login", "fresh-login", "register"):
            response = client.post(f"{API}/auth/{path}", json={"username": "grace", "password": PASSWORD})
            assert error(response) == (503, "overloaded")
            assert int(response.headers["Retry-After"]) > 0
        assert client.get(f"{API}/users/me", headers=user.headers).status_code == 200
