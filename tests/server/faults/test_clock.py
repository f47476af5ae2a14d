"""F10: two instances of the service with different clocks."""

import pytest
from harness import Client, running

from support.api import API, PASSWORD

HOUR = 3600


class Instance:
    """A client of one instance."""

    def __init__(self, server):
        self._client = Client(server.port)
        self.answers = []

    def post(self, path, token=None, body=None):
        self._client.token = token
        self.answers.append(self._client.post(f"{API}/auth/{path}", body))
        return self.answers[-1]

    def me(self, token):
        """200 if this instance accepts the token, else its error code."""
        self._client.token = token
        self.answers.append(self._client.get(f"{API}/users/me"))
        return self.answers[-1].body.get("error", 200)

    def sign_up(self):
        self._client.token = None
        return self._client.sign_up()

    def log_in(self, username):
        return self.post("login", body={"username": username, "password": PASSWORD}).body

    def hang_up(self):
        self._client.hang_up()


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clock")
    clock = folder / "clock"
    clock.write_text("0")
    url = f"sqlite:///{folder / 'x.db'}"
    with (
        running(folder, DATABASE_URL=url) as right,
        running(folder, DATABASE_URL=url, app="faulty:app", FAULT_CLOCK=str(clock)) as wrong,
    ):
        yield right, wrong, clock


@pytest.fixture
def pair(servers):
    """Two instances, and a function that sets the clock of the second one."""
    right, wrong, clock = servers
    instances = Instance(right), Instance(wrong)
    yield *instances, lambda seconds: clock.write_text(str(seconds))
    for instance in instances:
        instance.hang_up()


@pytest.mark.parametrize("ahead", [5, -5])
@pytest.mark.parametrize("first", ["right", "wrong"])
def test_five_seconds_break_nothing(pair, ahead, first, figure):
    """Clocks that differ by less than the leeway cause no error."""
    right, wrong, set_clock = pair
    set_clock(ahead)
    one, other = (right, wrong) if first == "right" else (wrong, right)

    account = one.sign_up()
    assert other.me(account["access_token"]) == 200
    renewed = other.post("refresh", account["refresh_token"]).body
    again = one.post("refresh", account["refresh_token"]).body  # within the grace, on both clocks
    assert again["refresh_token"] == renewed["refresh_token"]
    assert one.me(renewed["access_token"]) == other.me(again["access_token"]) == 200
    later = one.post("refresh", renewed["refresh_token"]).body
    assert other.post("logout/access", later["access_token"]).status == 200
    assert one.me(later["access_token"]) == other.me(later["access_token"]) == "token_revoked"
    assert other.post("logout", renewed["access_token"]).status == 200
    assert one.me(again["access_token"]) == other.me(again["access_token"]) == "token_revoked"

    statuses = [answer.status for answer in right.answers + wrong.answers]
    figure(
        f"F10 clock {ahead:+} s, login where it is {first}",
        answers=len(statuses),
        failed=sum(s >= 500 for s in statuses),
    )
    assert set(statuses) == {200, 401}


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_an_hour_refuses(pair, ahead, figure):
    """With clocks an hour apart, each instance refuses the other's tokens with 401."""
    right, wrong, set_clock = pair
    set_clock(ahead)
    mine, theirs = right.sign_up(), wrong.sign_up()

    too_old, too_new = "token_expired", "invalid_token"
    assert wrong.me(mine["access_token"]) == (too_old if ahead > 0 else too_new)
    assert right.me(theirs["access_token"]) == (too_new if ahead > 0 else too_old)
    assert wrong.me(theirs["access_token"]) == right.me(mine["access_token"]) == 200
    wrong.post("refresh", mine["refresh_token"])
    right.post("refresh", theirs["refresh_token"])
    wrong.post("logout", mine["access_token"])
    right.post("logout", theirs["access_token"])

    statuses = [answer.status for answer in right.answers + wrong.answers]
    figure(f"F10 clock {ahead:+} s", answers=len(statuses), failed=sum(status >= 500 for status in statuses))
    assert set(statuses) == {200, 401}


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_revoked_tokens_stay_revoked(pair, ahead):
    """Revoked tokens stay revoked when an instance with a wrong clock prunes."""
    right, wrong, set_clock = pair
    set_clock(ahead)
    account = right.sign_up()
    username = account["user"]["username"]
    one, another = right.log_in(username), right.log_in(username)
    assert right.post("logout/access", one["access_token"]).status == 200
    assert right.post("logout", another["access_token"]).status == 200

    for _ in range(3):
        wrong.post("refresh", wrong.log_in(username)["refresh_token"])  # each deletes expired rows

    for instance in (right, wrong):
        for token in (one["access_token"], another["access_token"]):
            assert instance.me(token) in ("token_revoked", "token_expired", "invalid_token")
        assert instance.post("refresh", another["refresh_token"]).status == 401
    assert right.me(one["access_token"]) == "token_revoked"
