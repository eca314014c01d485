"""Kernel holes by which containers were left, and the stable releases that closed them.

Upstream numbers: a distribution may have closed a hole under an old number, so this is a hint, no verdict.
Sources: the kernel's CVE announcements and stable change logs.
"""

from __future__ import annotations

import re
from typing import NamedTuple

Version = tuple[int, int, int]


class Fix(NamedTuple):
    """``since`` brought the hole, ``fixed`` is the first good release of each stable series."""

    cve: str
    what: str
    since: tuple[int, int]
    fixed: tuple[Version, ...]

    @property
    def fixed_in(self) -> str:
        return " / ".join(".".join(map(str, version)) for version in self.fixed)


FIXES = (
    Fix("CVE-2022-0185", "heap overflow in fsconfig(2)", (5, 1), ((5, 10, 93), (5, 15, 16), (5, 16, 2))),
    Fix("CVE-2022-0492", "cgroup v1 release_agent", (2, 6), ((5, 10, 97), (5, 15, 20), (5, 16, 6))),
    Fix("CVE-2022-0847", "pipes overwrite read-only files", (5, 8), ((5, 10, 102), (5, 15, 25), (5, 16, 11))),
    Fix("CVE-2023-0386", "overlay copies up foreign setuid files", (5, 11), ((5, 15, 91), (6, 1, 9))),
    Fix(
        "CVE-2023-32233",
        "use after free in nf_tables",
        (3, 13),
        ((5, 10, 180), (5, 15, 111), (6, 1, 28), (6, 2, 15), (6, 3, 2)),
    ),
    Fix(
        "CVE-2024-1086",
        "use after free in nf_tables",
        (3, 15),
        ((5, 10, 210), (5, 15, 149), (6, 1, 76), (6, 6, 15), (6, 7, 3)),
    ),
)


def parse_version(release: str, build: str) -> Version | None:
    """The upstream version of uname(2)'s fields; Debian's release says 6.1.0 while its build names 6.1.76."""
    match = re.search(r"Debian (\d+)\.(\d+)\.(\d+)", build) or re.match(r"(\d+)\.(\d+)\.?(\d*)", release)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def missing_fixes(release: str, build: str) -> list[Fix]:
    """Fixes that the running kernel's number does not contain."""
    version = parse_version(release, build)
    return [fix for fix in FIXES if version and _open(fix, version)]


def _open(fix: Fix, version: Version) -> bool:
    if version[:2] < fix.since or version >= fix.fixed[-1]:
        return False
    series = next((fixed for fixed in fix.fixed if fixed[:2] == version[:2]), None)
    return version < series if series else True
