"""Seats of spares: one process at a time has one, and nobody clears what has become another's."""

import fcntl
import os
import secrets

import pytest

from onggi.kernel import cgroups
from onggi.launch.spare import Seat, Seats


@pytest.fixture
def seats(tmp_path):
    seats = Seats(str(tmp_path), f"/onggi-test-{secrets.token_hex(4)}", cgroups.detect())
    seats.open()
    yield seats
    cgroups.Group(seats.hierarchies, seats.parent).remove()


class Holder:
    """A process that has taken a seat; told to, it does ``last`` and ends."""

    def __init__(self, seat: Seat, last) -> None:
        taken, taken_end = os.pipe()
        end, self.end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.end)
                seat.take()
                os.write(taken_end, b"1")
                os.read(end, 1)
                last(seat)
            finally:
                os._exit(0)
        os.read(taken, 1)
        for fd in (taken, taken_end, end):
            os.close(fd)

    def finish(self) -> None:
        os.close(self.end)
        os.waitpid(self.pid, 0)


def settled_beside(seat, holder):
    """Settle while the holder has the seat: the process that does, waiting for it."""
    pid = os.fork()
    if pid == 0:
        try:
            os.close(holder.end)
            seat.settle()
        finally:
            os._exit(0)
    with open("/proc/locks", encoding="ascii") as file:
        while f"-> FLOCK  ADVISORY  WRITE {pid} " not in file.read():
            file.seek(0)
    holder.finish()
    os.waitpid(pid, 0)


def test_what_a_spare_leaves_is_cleared_behind_its_end(seats):
    seat = seats.new()
    settled_beside(seat, Holder(seat, lambda seat: None))
    assert not seat.group.exists()
    assert not os.listdir(seats.exec_root + "/waiting")


def test_a_group_that_became_a_containers_is_let_alone(seats):
    seat = seats.new()
    settled_beside(seat, Holder(seat, Seat.leave))
    assert seat.group.exists()
    seat.group.remove()


def test_seats_of_living_spares_are_no_leftovers(seats):
    dead, living = seats.new(), seats.new()
    holder = Holder(living, Seat.clear)
    Holder(dead, lambda seat: None).finish()
    assert [seat.id for seat in seats.left()] == [dead.id]
    holder.finish()
    dead.clear()
    assert not os.listdir(seats.exec_root + "/waiting")


def test_a_seat_that_was_cleared_while_it_was_taken(seats, monkeypatch):
    """Who looks for seats of the dead may come between the making of the file and its lock."""
    seat, real, visits = seats.new(), fcntl.flock, []

    def flock(fd, operation):
        if not visits:
            visits.append(fd)
            seat.clear()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    seat.take()
    assert visits
    assert os.listdir(os.path.dirname(seat.path)) == [seat.id]
    assert [left.id for left in seats.left()] == []
    seat.clear()
