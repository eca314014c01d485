"""What is done inside a clean root: the README's first command twice, then its second with --quick.

Standard library only: this runs under the root's bare python3, as its first process. Argument: the source.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

# What running (not installing) may change.
CHANGING = {"proc", "sys", "dev", "run", "tmp", "__pycache__"}
ENGINE_STATE = Path("/var/lib/onggi")


def installed() -> dict[str, tuple[int, int]]:
    """Path -> size and modification time of every file that set-up could have put here."""
    found = {}
    for directory, names, files in os.walk("/"):
        inside = Path(directory)
        names[:] = [name for name in names if name not in CHANGING and inside / name != ENGINE_STATE]
        for name in files:
            status = (inside / name).lstat()
            found[str(inside / name)] = (status.st_size, status.st_mtime_ns)
    return found


def command(source: str, *words: str) -> float:
    """Run a command of the README; its time in seconds. Ends this process if it fails."""
    print(f"$ {' '.join(words)}", flush=True)
    began = time.monotonic()
    status = subprocess.run(words, cwd=source, stdin=subprocess.DEVNULL, check=False).returncode
    took = time.monotonic() - began
    print(f"-- {' '.join(words)}: exit {status} after {took:.1f} s", flush=True)
    if status != 0:
        sys.exit(status)
    return took


def main() -> int:
    source = sys.argv[1]
    command(source, "./onggi", "try")
    before = installed()
    command(source, "./onggi", "try")
    after = installed()
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    if changed:
        print(f"the second call changed {len(changed)} files: {changed[:10]}")
        return 1
    command(source, "./check", "--quick")
    return 0


if __name__ == "__main__":
    sys.exit(main())
