"""Runs docker-py's integration tests (a checkout of github.com/docker/docker-py, not copied) on onggid.

    python tests/conformance/docker_py_suite.py --suite DIR [--only FILE ...] [--json FILE] [--output DIR]

Needs root, pytest, paramiko and docker-py for the Python that runs it, and busybox-static for the images. An
engine of its own serves in private mount and network namespaces; every file gets a pytest process of its own,
because context_api_test.py changes the environment of those after it. Prints a table by area; what does not
pass is listed by name.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

import private_world  # noqa: E402
from engines import RealEngine, busybox_tar  # noqa: E402 - it is found by the line above

HELLO = b"#!/bin/sh\necho\necho Hello from Docker!\n"
PASSWD = b"""root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
postgres:x:70:70::/var/lib/postgresql:/bin/sh
"""
GROUP = b"root:x:0:\ndaemon:x:1:\nwheel:x:10:root\naudio:x:29:\nstaff:x:50:\n"
BUSYBOX_NAMES = ("busybox:latest", "busybox:glibc", "alpine:3.10", "alpine:latest")
HELLO_NAMES = ("hello-world:latest", "hello-world:linux")


def main() -> int:
    arguments = parser(__doc__, "directory with tests/integration", "files, as api_exec_test.py").parse_args()
    private_world.enter()
    return told(arguments, run_suite(arguments))


def parser(description: str | None, suite: str, only: str) -> argparse.ArgumentParser:
    """What every foreign suite is asked with; ``suite`` and ``only`` are helps."""
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(description=description, formatter_class=raw)
    made.add_argument("--suite", required=True, type=Path, help=suite)
    made.add_argument("--only", nargs="*", default=[], help=only)
    made.add_argument("--expect", type=Path, help="names; those that do not pass fail this command")
    made.add_argument("--timeout", type=int, default=1200, help="seconds for each of these")
    made.add_argument("--json", type=Path, help="write the result of every case there")
    made.add_argument("--output", type=Path, help="keep what the tests printed in this directory")
    return made


def told(arguments: argparse.Namespace, results: dict[str, str]) -> int:
    """Write and print the results; the exit status."""
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    print(table(results))
    return missing(arguments.expect, results) if arguments.expect else 0


@contextlib.contextmanager
def serving(arguments: argparse.Namespace) -> Iterator[RealEngine]:
    """An engine of its own; its log goes to ``--output``."""
    # Not below pytest's long names: sockets and overlay options hold short paths only.
    directory = Path(tempfile.mkdtemp(prefix="foreign-"))
    engine = RealEngine(directory)
    try:
        engine.start()
        yield engine
    finally:
        if arguments.output and arguments.output.is_dir():
            shutil.copy(directory / "onggid.log", arguments.output)
        engine.destroy()
        shutil.rmtree(directory)


def run_suite(arguments: argparse.Namespace) -> dict[str, str]:
    """Name as pytest writes it -> passed, failed or skipped."""
    results: dict[str, str] = {}
    with serving(arguments) as engine:
        # With a configuration there, docker-py keeps its contexts beside it, otherwise below its checkout.
        (engine.directory / ".docker").mkdir()
        (engine.directory / ".docker/config.json").write_text("{}\n")
        make_images(engine)
        for path in sorted((arguments.suite / "tests/integration").rglob("*_test.py")):
            if not arguments.only or path.name in arguments.only:
                results |= run_file(arguments, path, engine, engine.directory / "report.xml")
    return results


def make_images(engine: RealEngine) -> None:
    """Stand-ins for what the suite expects to find, since nothing is pulled."""
    root = furnished(busybox_tar())
    import_image(engine, root, BUSYBOX_NAMES, ["sh"])
    import_image(engine, root, HELLO_NAMES, ["/hello"])


def furnished(root: bytes) -> bytes:
    """The root with hello-world's program, and what the suite uses of alpine: a user and a directory."""
    buffer = io.BytesIO(root)
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        for name, data, mode in [
            ("hello", HELLO, 0o755),
            ("etc/passwd", PASSWD, 0o644),
            ("etc/group", GROUP, 0o644),
        ]:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
        entry = tarfile.TarInfo("var/opt")
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(entry)
    return buffer.getvalue()


def import_image(engine: RealEngine, root: bytes, names: tuple[str, ...], command: list[str]) -> None:
    changes = [
        "-c",
        f"CMD {json.dumps(command)}",
        "-c",
        "ENV PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    engine.docker("import", *changes, "-", names[0], input=root, check=True)
    for name in names[1:]:
        engine.docker("tag", names[0], name, check=True)


def run_file(arguments: argparse.Namespace, path: Path, engine: RealEngine, report: Path) -> dict[str, str]:
    name = path.relative_to(arguments.suite)
    report.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        str(name),
    ]
    environment = {**os.environ, **engine.environment, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=arguments.suite, env=environment, timeout=arguments.timeout, text=True,
            errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output = done.stdout
    except subprocess.TimeoutExpired as expired:
        output = (expired.stdout or b"").decode(errors="replace") + "\n# timeout\n"
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / f"{path.stem}.log").write_text(output)
    return read_report(report) if report.exists() else {f"{name}::(the whole file)": "failed"}


def read_report(report: Path) -> dict[str, str]:
    results = {}
    for case in ElementTree.parse(report).iter("testcase"):
        module, classname = case.get("classname", ""), ""
        if not module.endswith("_test"):
            module, _, classname = module.rpartition(".")
        parts = [module.replace(".", "/") + ".py", classname, case.get("name", "")]
        kinds = {child.tag for child in case}
        result = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        results["::".join(filter(None, parts))] = result
    return results


def table(results: dict[str, str]) -> str:
    """Counts by file, then the names of what failed."""
    files = sorted({name.partition("::")[0] for name in results})
    lines = ["| file | passed | failed | skipped |", "|---|---:|---:|---:|"]
    for file in [*files, ""]:
        counts = Counter(result for name, result in results.items() if name.startswith(file))
        cells = " | ".join(str(counts[word]) for word in ("passed", "failed", "skipped"))
        lines.append(f"| {Path(file).name or 'all'} | {cells} |")
    return "\n".join([*lines, "", *(name for name, result in sorted(results.items()) if result == "failed")])


def missing(expected: Path, results: dict[str, str]) -> int:
    """Say which of the expected names ran and did not pass; 1 if there are any."""
    names = [name for name in expected.read_text().split("\n") if name and not name.startswith("#")]
    wrong = [name for name in names if results.get(name, "passed") != "passed"]
    print(f"\nof {len(names)} expected names {len(wrong)} did not pass" + "".join(f"\n  {n}" for n in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
