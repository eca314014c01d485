"""What a monitor takes before it has a container: kB (PSS) of each of many forks of a launcher, by steps.

Arguments: the source directory, and how many forks at once; run it with ``python3 -I -S``. Steps: a fork that
does nothing; with its loop and the reaping of children; with a request parsed. It starts nothing, and has no
stream, no log and no peer.
"""

import os
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])

from onggi.kernel import heap  # noqa: E402
from onggi.launch import launcher, request  # noqa: E402
from onggi.launch.children import Children  # noqa: E402
from onggi.launch.loop import Loop  # noqa: E402

SAMPLE = request.sample()
STEPS = (lambda: None, lambda: Children(Loop()), lambda: request.parse(SAMPLE, []))


def fork(count: int) -> int:
    """A child that has done so many steps, and waits."""
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        kept = [step() for step in STEPS[:count]]
        os.write(done, b"1")
        while kept:
            signal.pause()
    os.read(ready, 1)
    os.close(ready)
    os.close(done)
    return pid


def pss(pid: int) -> int:
    """Its own memory and its share of the rest, in kB (proc_pid_smaps(5))."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        words = file.read().split()
    return int(words[words.index("Pss:") + 1])


def main() -> None:
    assert launcher.main  # all that a launcher imports is there
    heap.settle()
    for count in range(1, len(STEPS) + 1):
        forks = [fork(count) for _ in range(int(sys.argv[2]))]
        print(sum(map(pss, forks)) // len(forks), flush=True)
        for pid in forks:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
