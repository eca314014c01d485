"""Runs the README's two commands in clean roots of Debian 12 and 13; called once by .ci/run, as root.

Each root is made anew below a scratch directory, gets a clean archive of HEAD and this machine's package
settings, and is entered as root.py says; inside.py does the rest there. Takes a few minutes.
"""

import argparse
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


def archive(target: Path, commit: str) -> None:
    """A clean copy of a commit: nothing of the working tree."""
    target.mkdir(parents=True)
    tar = subprocess.Popen(["git", "-C", CHECKOUT, "archive", commit], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", target], stdin=tar.stdout, check=True)
    if tar.wait() != 0:
        raise SystemExit("git archive failed: the clean-root test needs a git checkout")


def try_suite(suite: str, scratch: Path, commit: str) -> int:
    """Make the root and run inside.py there; its output is shown when it ends, as the suites run at once."""
    began = time.monotonic()
    place = scratch / suite
    root.make(suite, place)
    machine.copy_settings(place, suite)
    archive(place / SOURCE, commit)
    print(f"-- {suite}: clean root made in {time.monotonic() - began:.0f} s", flush=True)
    name = f"onggi-clean-{os.getpid()}-{suite}"
    world = root.World(place, machine.pip_directories(), machine.environment(), name)
    inside = ["python3", f"/{SOURCE}/tests/clean_root/inside.py", f"/{SOURCE}"]
    with open(scratch / f"{suite}.log", "w+b") as output:
        status = root.run(world, inside, output)
        output.seek(0)
        print(f"==== {suite} ====\n{output.read().decode(errors='replace')}", flush=True)
    return status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commit", default="HEAD", help="what to try")
    parser.add_argument(
        "suites", nargs="*", default=SUITES, help=f"Debian releases, default {' '.join(SUITES)}"
    )
    return parser.parse_args()


def main() -> int:
    options = arguments()
    results: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="onggi-clean-", dir="/var/tmp") as scratch:

        def attempt(suite: str) -> None:
            results[suite] = 1
            results[suite] = try_suite(suite, Path(scratch), options.commit)

        threads = [threading.Thread(target=attempt, args=(suite,)) for suite in options.suites]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for suite, status in sorted(results.items()):
        print(f"clean root {suite}: {'passed' if status == 0 else f'failed ({status})'}")
    return int(any(results.values()))


if __name__ == "__main__":
    sys.exit(main())
