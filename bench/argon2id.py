"""Measure Argon2 alone on all cores, the upper limit of logins."""

import multiprocessing
import time

from argon2 import PasswordHasher

from app.users.gate import cores
from config import Config

PASSWORD = "correct horse battery"  # noqa: S105 -- no account has it


def _hash_for(seconds: float) -> float:
    """The passwords per second that this process verifies."""
    hasher = PasswordHasher(Config.ARGON2_TIME_COST, Config.ARGON2_MEMORY_COST, Config.ARGON2_PARALLELISM)
    stored = hasher.hash(PASSWORD)
    number, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        hasher.verify(stored, PASSWORD)
        number += 1
    return number / took


def hashes_per_second(seconds: float) -> float:
    """The passwords per second that all cores verify, with one process per core."""
    with multiprocessing.get_context("spawn").Pool(cores()) as pool:
        return sum(pool.map(_hash_for, [seconds] * cores()))
