"""Starting a launcher: from a sealed interpreter, in a clean environment."""

from __future__ import annotations

import json
import os

import onggi
from onggi.errors import Unavailable
from onggi.kernel import sealed
from onggi.kernel.process import CLEAN, spawn

SPARES = 2  # monitors ready before they are asked for; each costs about what a container's does
_PROGRAM = (
    "import sys, json; options = json.loads(sys.argv[1]); sys.path.insert(0, options.pop('package')); "
    "from onggi.launch.launcher import main; main(**options)"
)


def start_launcher(exec_root: str, build: str, cgroup_parent: str, log_fd: int, spares: int = SPARES) -> int:
    """Start a launcher and return its pid once it serves ``<exec-root>/launcher.sock``.

    It lives in ``monitors`` below the ``cgroup_parent``; ``log_fd`` takes what it prints; ``spares`` monitors
    are kept ready. Raises Unavailable if it ends before it is ready.
    """
    memfd, path = sealed.interpreter()
    ready, ready_child = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    package = os.path.dirname(os.path.dirname(os.path.abspath(onggi.__file__)))
    options = {
        "package": package,
        "exec_root": exec_root,
        "build": build,
        "ready_fd": 3,
        "monitors_group": f"{cgroup_parent}/monitors",
        "containers_group": f"{cgroup_parent}/c",
        "spares": spares,
    }
    try:
        pid = spawn(
            [path, "-I", "-S", "-c", _PROGRAM, json.dumps(options)],
            executable=f"/proc/self/fd/{memfd}",
            env=CLEAN,
            fds={0: null, 1: log_fd, 2: log_fd, 3: ready_child},
            setsid=True,
        )
    finally:
        for fd in (memfd, ready_child, null):
            os.close(fd)
    try:
        if os.read(ready, 1) != b"1":
            os.waitpid(pid, 0)
            raise Unavailable("the launcher ended before it was ready; see the engine's log")
        return pid
    finally:
        os.close(ready)
