"""Every refused login costs as much as the dearest hash, whatever hash is stored."""

import argon2
import pytest
from argon2 import PasswordHasher, low_level
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from app.data.base import db
from app.users import hash_costs, passwords
from app.users.hash_costs import Cost, Dearest
from app.users.models import User
from support.api import API, PASSWORD, error, sign_up

PBKDF2 = "pbkdf2:sha256:1000$DQVJitXM0eiDQSIv$9e9c30391ace71511f933af9733f0bd91ceeaabc530ccd410253a004adcdd90a"
CHEAP, USUAL, DEAR = (16, 1, 1), (64, 2, 1), (64, 6, 1)  # KiB, passes, lanes


@pytest.fixture
def work(monkeypatch):
    """The work of all hashes from now on: KiB times passes."""
    spent = []

    def verify(password_hash, secret, kind):
        found = argon2.extract_parameters(password_hash.decode())
        spent.append(found.memory_cost * found.time_cost)
        return low_level.verify_secret(password_hash, secret, kind)

    original = low_level.hash_secret_raw

    def hash_raw(**settings):
        spent.append(settings["memory_cost"] * settings["time_cost"])
        return original(**settings)

    monkeypatch.setattr("argon2._password_hasher.verify_secret", verify)
    monkeypatch.setattr(low_level, "hash_secret_raw", hash_raw)
    return spent


@pytest.fixture
def world(another, client):
    """An application with the usual costs, and users whose hashes have other costs."""
    for name in ("cheap", "usual", "dear", "inactive", "strange"):
        sign_up(client, name)
    usual = another(ARGON2_MEMORY_COST=USUAL[0], ARGON2_TIME_COST=USUAL[1], ARGON2_PARALLELISM=USUAL[2])
    with usual.app_context():
        store("usual", hashed(USUAL))
        store("cheap", hashed(CHEAP))
        store("dear", hashed(USUAL))
        store("inactive", hashed(USUAL))
        store("strange", "scrypt:32768:8:1$salt$0123")
        db.session.execute(update(User).where(User.username == "inactive").values(is_active=False))
        db.session.commit()
    return usual


def hashed(cost):
    memory, passes, lanes = cost
    return PasswordHasher(memory_cost=memory, time_cost=passes, parallelism=lanes).hash(PASSWORD)


def store(name, password_hash):
    db.session.execute(update(User).where(User.username == name).values(password_hash=password_hash))
    db.session.commit()


def costs(app, work, name, password):
    """The status of a login, and the work that it takes."""
    work.clear()
    response = app.test_client().post(f"{API}/auth/login", json={"username": name, "password": password})
    return response.status_code, sum(work)


class TestLogin:
    @pytest.mark.parametrize("dear", [USUAL, DEAR], ids=["costs were raised", "costs were lowered"])
    def test_a_refusal_costs_what_the_dearest_hash_costs(self, world, work, dear):
        """An unknown name, a wrong password of any hash and an inactive user cost the same."""
        with world.app_context():
            store("dear", hashed(dear))
        whole = (401, pytest.approx(dear[0] * dear[1], rel=0.01))

        for name in ("nobody", "cheap", "usual", "dear", "inactive", "strange"):
            assert costs(world, work, name, "wrong wrong wrong") == whole, name
        assert costs(world, work, "inactive", PASSWORD) == whole
        assert costs(world, work, "usual", "x" * 1000) == whole

    def test_an_imported_hash_counts_as_the_work_of_its_time(self, world, work):
        """With an imported hash, an unknown name costs as much as a wrong password for that hash."""
        with world.app_context():
            store("dear", PBKDF2)

        assert costs(world, work, "nobody", "wrong wrong wrong") == (401, pytest.approx(540, rel=0.05))
        assert costs(world, work, "dear", "wrong wrong wrong") == (401, 0)  # PBKDF2 has taken that time
        assert costs(world, work, "usual", "wrong wrong wrong") == (401, pytest.approx(540, rel=0.05))

    def test_a_success_costs_its_own_hash(self, world, work):
        """A correct password costs no more than its hash."""
        with world.app_context():
            store("dear", hashed(DEAR))

        assert costs(world, work, "usual", PASSWORD) == (200, USUAL[0] * USUAL[1])

    def test_a_hash_of_other_costs_is_renewed(self, world):
        """A login renews a hash with other costs, and its session stays alive."""
        client = world.test_client()
        response = client.post(f"{API}/auth/login", json={"username": "cheap", "password": PASSWORD})

        headers = {"Authorization": f"Bearer {response.json['access_token']}"}
        assert client.get(f"{API}/users/me", headers=headers).status_code == 200
        with world.app_context():
            password_hash = db.session.scalar(select(User.password_hash).where(User.username == "cheap"))
            assert passwords.cost_of(password_hash) == Cost(*USUAL)

    def test_a_dear_hash_beyond_the_search_is_met_at_its_login(self, world, work, monkeypatch):
        """The costs of a hash that the search does not reach count from its first login on."""
        monkeypatch.setattr(passwords, "SEARCHED", 1)
        with world.app_context():
            store("dear", hashed(DEAR))

        assert costs(world, work, "nobody", "wrong") == (401, USUAL[0] * USUAL[1])
        costs(world, work, "dear", "wrong")
        assert costs(world, work, "nobody", "wrong") == (401, DEAR[0] * DEAR[1])

    def test_a_process_searches_once(self, world, monkeypatch):
        """Only the first login of a process searches the stored hashes, and a failure is a warning."""
        searches = []

        def fail(statement):
            searches.append(statement)
            raise OperationalError("", {}, Exception())

        monkeypatch.setattr(passwords, "read", fail)
        client = world.test_client()

        for _ in range(2):
            response = client.post(f"{API}/auth/login", json={"username": "usual", "password": PASSWORD})
            assert response.status_code == 200, error(response)
        assert len(searches) == 1


class TestDearest:
    @pytest.mark.parametrize(
        ("whole", "spent", "left"),
        [
            (Cost(64, 4, 1), None, Cost(64, 4, 1)),
            (Cost(64, 4, 1), Cost(64, 4, 1), None),
            (Cost(64, 4, 1), Cost(64, 3, 1), Cost(64, 1, 1)),
            (Cost(64, 4, 1), Cost(100, 1, 1), Cost(52, 3, 1)),
            (Cost(64, 4, 1), Cost(32, 1, 1), Cost(56, 4, 1)),
        ],
    )
    def test_the_rest_is_spent(self, whole, spent, left):
        """The rest has the missing work, and no more memory than the dearest hash."""
        assert Dearest(whole).beyond(spent) == left

    @pytest.mark.parametrize(("number", "work"), [(1, 80), (2, 40), (16, 20)])
    def test_lanes_share_the_work(self, monkeypatch, number, work):
        """Lanes divide the time of a hash, as far as there are cores."""
        monkeypatch.setattr(hash_costs, "cores", lambda: number)

        assert Cost(40, 2, 4).work == work
