"""What a fork of a monitor keeps of the monitor's event loop: nothing."""

import os
import signal

from onggi.runtime.init import fork_inside
from onggi.runtime.plan import Shape


def test_a_forks_children_wake_nobody():
    """Python would write its complaint about the closed descriptor to the container's standard error."""
    read, write = os.pipe2(os.O_NONBLOCK)
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    previous = signal.set_wakeup_fd(write)
    try:
        pid = fork_inside(Shape(0, (), ()), None)
        if pid == 0:
            alone = signal.set_wakeup_fd(-1) == -1 and signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
            os._exit(0 if alone else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        signal.set_wakeup_fd(previous)
        signal.signal(signal.SIGCHLD, before)
        os.close(read)
        os.close(write)
