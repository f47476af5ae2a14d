"""Passwords: which are refused, and how much hashing one process does at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.users import gate
from app.users.gate import Gate
from app.users.password_rules import COMMON_PASSWORDS, is_common, resembles
from app.web.errors import ApiError, Code
from support.api import API, PASSWORD, error, log_in, sign_up

COMMON = "This password is too common."
NAME = "The password is too similar to the user name."


class TestRules:
    def test_the_list_is_long_and_says_where_it_comes_from(self):
        """More than the three thousand that a check-list asks for, each of a length that could be chosen."""
        lines = COMMON_PASSWORDS.read_text().splitlines()
        words = [line for line in lines if not line.startswith("#")]

        assert "zxcvbn" in lines[0]
        assert any("MIT" in line for line in lines if line.startswith("#"))
        assert len(words) == len(set(words)) > 10_000
        assert min(map(len, words)) == 8

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
        ],
    )
    def test_what_everybody_tries_is_common(self, password):
        """Whatever the case and the width, and with a number behind it."""
        assert is_common(password)

    @pytest.mark.parametrize("password", [PASSWORD, "1a2b3c4d5e6f", "xkcd 936 staple", "密码学很有意思", "🔑" * 8])
    def test_others_are_not(self, password):
        """Signs of any script, and none of our own rules about what must be in it."""
        assert not is_common(password)

    @pytest.mark.parametrize(
        ("password", "username", "alike"),
        [
            ("gracehopper", "gracehopper", True),
            ("GraceHopper", "gracehopper", True),
            ("gracehopper1906", "gracehopper", True),
            ("gracehopper!", "gracehopper7", True),
            ("a gracehopper", "gracehopper", False),
            ("98765432", "123", False),
            (PASSWORD, "grace", False),
        ],
    )
    def test_the_own_name_is_known_to_everybody(self, password, username, alike):
        """With digits and signs behind it too; not where it is only a part."""
        assert resembles(password, username) is alike


class TestNewPassword:
    @pytest.mark.parametrize(("password", "told"), [("password", COMMON), ("gracehopper", NAME)])
    def test_is_judged_at_registration(self, client, password, told):
        """422 with the reason."""
        body = {"username": "gracehopper", "password": password}
        response = client.post(f"{API}/auth/register", json=body)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"json": {"password": [told]}}

    @pytest.mark.parametrize(("password", "told"), [("12345678", COMMON), ("gracehopper1", NAME)])
    def test_is_judged_at_a_change(self, client, password, told):
        """And the old one stays."""
        user = sign_up(client, "gracehopper")
        body = {"current_password": PASSWORD, "new_password": password}
        response = client.put(f"{API}/auth/password", json=body, headers=user.headers)

        assert error(response) == (422, "validation_failed")
        assert response.json["errors"] == {"json": {"new_password": [told]}}
        log_in(client, "gracehopper")

    @pytest.mark.parametrize(("password", "told"), [("password", COMMON), ("gracehopper", NAME)])
    def test_is_judged_on_the_command_line(self, runner, password, told):
        """The operator's users are no exception."""
        result = runner.invoke(args=["users", "create", "gracehopper"], input=password + "\n")

        assert (result.exit_code, told in result.stderr) == (1, True)

    def test_a_login_judges_nothing(self, client, user):
        """A rule that came later locks nobody out: a login only asks whether it is the right one."""
        response = client.post(f"{API}/auth/login", json={"username": user.username, "password": "password"})

        assert error(response) == (401, "invalid_credentials")


class TestGate:
    def test_runs_no_more_at_once_than_it_has_slots(self):
        """The others wait for their turn."""
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
            results = list(pool.map(lambda _number: narrow.run(job), range(16)))

        assert (most, results) == (2, ["done"] * 16)

    def test_a_full_queue_is_told_at_once(self):
        """Nobody waits for what will not come."""
        narrow, release = Gate(1, 1), threading.Event()
        with ThreadPoolExecutor(2) as pool:
            held = [pool.submit(narrow.run, release.wait) for _ in range(2)]
            while narrow._room._value:  # noqa: SLF001 -- until both are in
                time.sleep(0.001)

            with pytest.raises(ApiError) as refusal:
                narrow.run(release.wait)

            release.set()
            assert [one.result() for one in held] == [True, True]
        assert refusal.value.code is Code.overloaded
        assert narrow.run(str, 7) == "7"

    def test_nobody_waits_long(self, monkeypatch):
        """Who has waited for his turn in vain is told so, and his job is never run."""
        monkeypatch.setattr(gate, "WAIT", 0.05)
        narrow, release, ran = Gate(1, 4), threading.Event(), []
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(narrow.run, release.wait)  # longer than the wait, but its turn has come

            with pytest.raises(ApiError) as refusal:
                narrow.run(ran.append, 1)

            release.set()
            assert slow.result() is True
        assert refusal.value.code is Code.overloaded
        assert ran == []

    def test_what_a_job_raises_reaches_who_asked(self):
        """A wrong password is no fault of the gate."""
        with pytest.raises(ZeroDivisionError):
            Gate(1, 1).run(lambda: 1 // 0)

    def test_a_process_that_may_not_step_back_hashes_all_the_same(self, monkeypatch):
        """One that runs at a lower priority than that already, for one."""

        def refuse(*_args):
            raise PermissionError

        monkeypatch.setattr("os.setpriority", refuse)

        assert Gate(1, 1).run(str, 7) == "7"

    def test_overload_is_a_503(self, another, user, monkeypatch):
        """With the seconds after which to try again, and everything else is served."""
        crowded = another()
        monkeypatch.setattr(crowded.extensions["passwords"].gate._room, "acquire", lambda blocking: False)  # noqa: SLF001
        client = crowded.test_client()

        for path in ("login", "fresh-login", "register"):
            response = client.post(f"{API}/auth/{path}", json={"username": "grace", "password": PASSWORD})
            assert error(response) == (503, "overloaded")
            assert int(response.headers["Retry-After"]) > 0
        assert client.get(f"{API}/users/me", headers=user.headers).status_code == 200
