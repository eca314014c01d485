"""Runs moby's integration tests (compiled in a checkout of github.com/moby/moby, not copied) on onggid.

    python tests/conformance/moby_suite.py --suite DIR [--only WORD ...] [--dockerd-root ROOT] [--output DIR]

In DIR each package below integration/ that is to run has its compiled tests beside it, made by

    cp vendor.mod go.mod; cp vendor.sum go.sum
    GOFLAGS=-mod=vendor go test -vet=off -c -o integration/network/ ./integration/network

with a t.Skip as the first line of New of testutil/daemon, for tests that start a dockerd of their own. Needs
root and busybox-static for the images. An engine of its own serves in private mount and network namespaces.
Prints a table by package; what does not pass is listed by name.
"""

import argparse
import os
import re
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

import private_world  # noqa: E402 - it is found by the line above
from conformance import foreign, stand_ins  # noqa: E402

# What moby's suites look for before anything else, and would pull.
IMAGES = {
    "busybox": ("busybox:latest", "busybox:glibc", "debian:bookworm-slim"),
    "hello": ("hello-world:frozen", "hello-world:latest", "hello-world:amd64", "hello-world:arm64"),
}
_RESULT = re.compile(r"^ *--- (PASS|FAIL|SKIP): (\S+) \(", re.MULTILINE)
_WORDS = {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}


def main() -> int:
    asked = foreign.parser(__doc__, "moby's tree, with compiled tests in it", "packages, as network")
    asked.add_argument("--run", default=".", help="go's pattern of tests")
    arguments = asked.parse_args()
    private_world.enter()
    return foreign.on_each(arguments, run_suite)


def run_suite(arguments: argparse.Namespace, engine: foreign.Engine) -> foreign.Results:
    """``package::Test/case`` -> passed, failed or skipped."""
    stand_ins.make_images(engine, IMAGES)
    results: foreign.Results = {}
    for program in sorted((arguments.suite / "integration").rglob("*.test")):
        if not arguments.only or program.stem in arguments.only:
            results |= run_package(arguments, program.resolve(), engine)
    return results


def run_package(arguments: argparse.Namespace, program: Path, engine: foreign.Engine) -> foreign.Results:
    """Run in the package's directory, where its test data is."""
    limit = f"-test.timeout={arguments.timeout}s"
    command = [str(program), "-test.v", f"-test.run={arguments.run}", limit]
    environment = {**os.environ, **engine.environment, "DEST": str(engine.directory)}
    # Go's own limit ends it with a trace of what hangs.
    text, status = foreign.printed(
        command, cwd=program.parent, env=environment, timeout=arguments.timeout + 60
    )
    foreign.keep(arguments.output, f"{engine.name}-{program.stem}.log", text)
    results = read_results(program.stem, text)
    if status != 0 and "failed" not in results.values():
        results[f"{program.stem}::(the whole package)"] = "failed"
    return results


def read_results(package: str, printed: str) -> foreign.Results:
    """What ``go test -v`` says of each test and of each case in one."""
    return {f"{package}::{name}": _WORDS[word] for word, name in _RESULT.findall(printed)}


if __name__ == "__main__":
    sys.exit(main())
