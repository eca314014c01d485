"""Close the door: after this, the process imports nothing any more.

After pivot_root a Python import would run the container's files as host code (seen), and printing an
exception would open source files by name in the container (a FIFO there hangs for ever: seen). Python looks
modules up in mutable lists, so emptying them is enough; what is already imported stays.
"""

from __future__ import annotations

import sys


def close() -> None:
    """Forbid every later import, here and in all forks; silence the hooks that would open files."""
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path.clear()
    sys.path_importer_cache.clear()
    sys.excepthook = _silent
    sys.unraisablehook = _silent


def _silent(*_: object) -> None:
    """Print nothing: printing is what opens files."""
