"""How the engine's process is started, by whoever starts it: our own interpreter and source.

Standard library only; commands load it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from onggi.daemon.main import main; sys.exit(main(sys.argv[1:]))"
)
# One heap in huge pages (docs/decisions/0142): after a pause a request finds its objects in a dozen places of
# memory, and not in hundreds.
HEAP = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def engine_command(*arguments: str) -> list[str]:
    """The command line that runs this build of the engine, wherever it is installed."""
    source = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # As isolated as -I makes it, with an ``engine_environment``; -I itself would leave HEAP unread.
    return [sys.executable, "-s", "-P", "-c", _BOOT, source, *arguments]


def engine_environment(env: Mapping[str, str]) -> dict[str, str]:
    """``env`` with what the engine's interpreter is to read, and nothing else that it would."""
    return {**{name: value for name, value in env.items() if not name.startswith("PYTHON")}, **HEAP}
