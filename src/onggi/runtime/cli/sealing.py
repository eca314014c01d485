"""Re-executing from a sealed copy of the interpreter (CVE-2019-5736), for create, run and exec."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from onggi.kernel import sealed

_BOOT = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from onggi.runtime.cli.main import main
sys.exit(main())
"""


def seal(arguments: Sequence[str]) -> None:
    """Return if this process runs from a sealed interpreter already; otherwise become one that does."""
    if sealed.running_sealed():
        return
    source = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
    fd, path = sealed.interpreter()
    sys.stdout.flush()
    os.execve(fd, [path, "-I", "-S", "-c", _BOOT, source, *arguments], dict(os.environ))
