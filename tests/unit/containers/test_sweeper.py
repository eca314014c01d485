"""The sweeper: what was asked for is done, whatever becomes of other jobs."""

import threading

from onggi.containers.sweeper import Sweeper


def refuse():
    raise OSError("no")


def test_a_job_that_fails_harms_no_other():
    sweeper, done = Sweeper(), []
    for job in (refuse, lambda: done.append(1)):
        sweeper.put(job)
    sweeper.close()
    assert done == [1]


def test_work_may_follow_a_close():
    sweeper, done = Sweeper(), []
    sweeper.close()
    for number in range(2):
        sweeper.put(lambda number=number: done.append(number))
        sweeper.close()
    assert done == [0, 1]


def test_whoever_asks_too_much_does_it():
    sweeper, gate, done = Sweeper(), threading.Event(), []
    sweeper.put(gate.wait)
    for _ in range(100):
        sweeper.put(lambda: done.append(threading.current_thread()))
    assert threading.current_thread() in done
    gate.set()
    sweeper.close()
    assert len(done) == 100
