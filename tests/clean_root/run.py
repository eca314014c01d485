"""Runs the README's two commands in clean roots of Debian 12 and 13; called once by .ci/run, as root.

Each root is made anew below a scratch directory, gets a clean archive of HEAD and this machine's package
settings, and is entered as root.py says; inside.py does the rest there. Takes a few minutes.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clean_root import machine, root

CHECKOUT = Path(__file__).resolve().parents[2]
SUITES = ["bookworm", "trixie"]
SOURCE = "root/onggi"  # in a home directory, which a `host` container does not see


def archive(target: Path) -> None:
    """A clean copy of HEAD: nothing of the working tree."""
    target.mkdir(parents=True)
    tar = subprocess.Popen(["git", "-C", CHECKOUT, "archive", "HEAD"], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", target], stdin=tar.stdout, check=True)
    if tar.wait() != 0:
        raise SystemExit("git archive failed: the clean-root test needs a git checkout")


def try_suite(suite: str, scratch: Path) -> int:
    began = time.monotonic()
    place = scratch / suite
    root.make(suite, place)
    machine.copy_settings(place, suite)
    archive(place / SOURCE)
    print(f"-- {suite}: clean root made in {time.monotonic() - began:.0f} s", flush=True)
    inside = ["python3", f"/{SOURCE}/tests/clean_root/inside.py", f"/{SOURCE}"]
    env = machine.environment()
    return root.run(place, inside, machine.pip_directories(), env, f"onggi-clean-{os.getpid()}-{suite}")


def main() -> int:
    results: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="onggi-clean-", dir="/var/tmp") as scratch:

        def attempt(suite: str) -> None:
            results[suite] = 1
            results[suite] = try_suite(suite, Path(scratch))

        threads = [threading.Thread(target=attempt, args=(suite,)) for suite in sys.argv[1:] or SUITES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for suite, status in sorted(results.items()):
        print(f"clean root {suite}: {'passed' if status == 0 else f'failed ({status})'}")
    return int(any(results.values()))


if __name__ == "__main__":
    sys.exit(main())
