"""The launcher's decisions, without forking anything."""

import time

import pytest

from onggi.launch.launcher import Launcher


def patience(waiting, pool_size=2, engine_due=0.0):
    """How long a launcher waits that has so many spares."""
    launcher = Launcher.__new__(Launcher)
    launcher.spares = dict.fromkeys(range(waiting))
    launcher.pool_size, launcher.engine_due = pool_size, engine_due
    return launcher._patience()


def test_a_refill_waits_longer_while_another_spare_waits():
    """It waits for the whole life of a container that does little (docs/decisions/0141)."""
    assert patience(0) <= 0.02
    assert patience(1) >= 4 * patience(0)


@pytest.mark.parametrize("pool_size", [0, 2])
def test_a_full_pool_waits_for_ever(pool_size):
    assert patience(pool_size, pool_size) is None


def test_an_engine_that_is_due_comes_first():
    assert patience(0, engine_due=time.monotonic() - 1) == 0.0
    assert patience(2, engine_due=time.monotonic() + 1000) > 500
