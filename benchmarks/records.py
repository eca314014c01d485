"""What a benchmark leaves: one JSON document with when, where, by which command, verdicts and all samples."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import sampling
from benchmarks.engines import CHECKOUT


def alone(program: str) -> None:
    """Begin again in mount and network namespaces of our own, unless that is done."""
    if "ONGGI_BENCH_INSIDE" in os.environ:
        return
    os.environ["ONGGI_BENCH_INSIDE"] = "1"
    inside = 'ip link set lo up; exec "$0" "$@"'
    words = [sys.executable, os.path.abspath(program), *sys.argv[1:]]
    os.execvp("unshare", ["unshare", "-mn", "--propagation", "private", "sh", "-c", inside, *words])


def machine() -> dict[str, Any]:
    """What was measured on."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
    }


def version(*command: str) -> str:
    """The first line that a program says of itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[0]


def verdict(case: str, found: float, limit: float, *, least: bool = False) -> dict[str, Any]:
    """Whether a promise is kept: ``found`` is at most (or ``least``: at least) the limit."""
    kept = found >= limit if least else found <= limit
    return {"case": case, "found": found, "limit": f"{'>=' if least else '<='} {limit:.4g}", "kept": kept}


def _shown(word: str) -> str:
    """An argument without the directories of the machine that was measured on."""
    return re.sub(r"/[^ ]*/", "…/", word)


def write(
    name: str,
    directory: Path,
    verdicts: list[dict[str, Any]],
    results: Mapping[str, list[sampling.Sample]],
    facts: Mapping[str, Any],
) -> None:
    """Keep ``DATE-NAME.json`` and print what is in it."""
    when = time.strftime("%Y-%m-%dT%H%M%S", time.gmtime())
    document = {
        "when": when,
        "command": [f"benchmarks/{Path(sys.argv[0]).name}", *map(_shown, sys.argv[1:])],
        "onggi": version("git", "-C", str(CHECKOUT), "rev-parse", "HEAD"),
        "machine": machine(),
        "verdicts": verdicts,
        **facts,
        "samples": {case: [it._asdict() for it in samples] for case, samples in results.items()},
    }
    directory.mkdir(exist_ok=True)
    path = directory / f"{when[:10]}-{name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(sampling.table(results))
    for row in verdicts:
        word = "kept" if row["kept"] else "BROKEN"
        print(f"{row['case']}: {row['found']:.3f} (asked: {row['limit']}) {word}")
    print(path)
