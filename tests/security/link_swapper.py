"""The long form of every test in which somebody swaps names for links without pause, as a table.

    python tests/security/link_swapper.py --rounds 1000 [--table docs/proofs/link-swapper.md]

What the tests do in a round is theirs; how often names were exchanged meanwhile is counted here. Needs root;
the tests enter private namespaces by themselves.
"""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import proofs  # noqa: E402

FILES = ("test_copies.py", "test_volumes.py", "test_archives.py", "test_hostile_roots.py")


def play(rounds: int, scratch: Path) -> tuple[ElementTree.Element, dict[str, list[int]], int]:
    """What pytest reports, exchanges by test, and pytest's exit code."""
    swaps, report = scratch / "swaps", scratch / "report.xml"
    swaps.touch()
    env = os.environ | {"ONGGI_ROUNDS": str(rounds), "ONGGI_SWAPS": str(swaps)}
    files = [str(HERE / name) for name in FILES]
    code = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "swapper", f"--junit-xml={report}", *files], env=env
    ).returncode
    found = collections.defaultdict(list)
    for line in swaps.read_text().splitlines():
        test, count = line.rsplit(" ", 1)
        found[test].append(int(count))
    return ElementTree.parse(report).getroot(), found, code


def rows(report: ElementTree.Element, swaps: dict[str, list[int]]) -> list[str]:
    return [
        f"| {case.get('name')} | {sum(swaps.get(str(case.get('name')), [0]))} | "
        f"{float(case.get('time', 0)):.0f} | {'failed' if len(case) else 'nothing got out'} |"
        for case in report.iter("testcase")
    ]


def main() -> int:
    given = proofs.parser(rounds=1000).parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        report, swaps, code = play(given.rounds, Path(scratch))
    head = "| test | names exchanged | s | result |\n|---|---:|---:|---|\n"
    text = f"{proofs.told(given, began)}.\n\n{head}" + "".join(f"{row}\n" for row in rows(report, swaps))
    if code:
        given.table = None
    proofs.publish(given, "Links are swapped, and nothing gets out", text)
    return code


if __name__ == "__main__":
    sys.exit(main())
