"""What the commands share that run a suite which nobody here wrote: engines, pytest, results."""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from conformance.dockerd import docker_engine
from docker_registry import DockerRegistry
from engines import RealEngine

Results = dict[str, str]  # name of a case -> passed, failed or skipped
INSECURE = ("--insecure-registry", "172.16.0.0/12")  # registries that suites run in containers
_WORDS = ("passed", "failed", "skipped")


class Engine(NamedTuple):
    """One that serves: its name here, a directory that is gone with it, what a client of it has to know.

    ``mirror`` is a registry on loopback that stands in for docker.io, if there is one.
    """

    name: str
    directory: Path
    environment: dict[str, str]
    mirror: str = ""

    def docker(self, *arguments: str, input: bytes = b"") -> None:
        """Run docker's command. Raises CalledProcessError."""
        command = ["docker", *arguments]
        subprocess.run(command, input=input, capture_output=True, env=self.environment, check=True)


def parser(description: str | None, suite: str, only: str) -> argparse.ArgumentParser:
    """What every foreign suite is asked with; ``suite`` and ``only`` are helps."""
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(description=description, formatter_class=raw)
    made.add_argument("--suite", required=True, type=Path, help=suite)
    made.add_argument("--only", nargs="*", default=[], help=only)
    made.add_argument("--dockerd-root", type=Path, help="where a dockerd is unpacked that is to be compared")
    made.add_argument("--expect", type=Path, help="names; those that do not pass here fail this command")
    made.add_argument("--timeout", type=int, default=1200, help="seconds for each of these")
    made.add_argument("--json", type=Path, help="write the result of every case there")
    made.add_argument("--output", type=Path, help="keep what the tests printed in this directory")
    return made


def on_each(
    arguments: argparse.Namespace,
    run: Callable[[argparse.Namespace, Engine], Results],
    mirrored: bool = False,
) -> int:
    """Run a suite on an onggid of its own, then on a dockerd if there is one; print; the exit status."""
    results = {}
    for serving in (onggid, dockerd) if arguments.dockerd_root else (onggid,):
        with scratch("foreign-") as directory, mirror(directory, mirrored) as host:
            options = ("--registry-mirror", f"http://{host}", *INSECURE) if host else ()
            with serving(arguments, directory, *options) as engine:
                results[engine.name] = run(arguments, engine._replace(mirror=host))
    ours = results["onggid"]
    if arguments.json:
        kept = results if len(results) > 1 else ours
        arguments.json.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    print(compared(results) if len(results) > 1 else table(ours))
    return missing(arguments.expect, ours) if arguments.expect else 0


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A directory in which engines mount: where overlays can be, and by a short name, as sockets want it."""
    directory = tempfile.mkdtemp(prefix=prefix, dir="/var/tmp")
    try:
        yield Path(directory)
    finally:
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if (place := line.split()[4]).startswith(directory):
                subprocess.run(["umount", "-l", place])
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def mirror(directory: Path, wanted: bool) -> Iterator[str]:
    """The address of Debian's docker-registry, or nothing."""
    registry = DockerRegistry(directory / "mirror") if wanted else None
    try:
        yield registry.host if registry else ""
    finally:
        if registry:
            registry.close()


@contextlib.contextmanager
def onggid(arguments: argparse.Namespace, directory: Path, *options: str) -> Iterator[Engine]:
    engine = RealEngine(directory, *options)
    try:
        engine.start()
        yield Engine("onggid", directory, engine.environment)
    finally:
        keep(arguments.output, "onggid.log", engine.log())
        engine.destroy()


@contextlib.contextmanager
def dockerd(arguments: argparse.Namespace, directory: Path, *options: str) -> Iterator[Engine]:
    with docker_engine(arguments.dockerd_root, directory / "dockerd", *options) as address:
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "DOCKER_HOST": address}
        yield Engine("dockerd", directory, environment)
    keep(arguments.output, "dockerd.log", (directory / "dockerd/log").read_text(errors="replace"))


def keep(output: Path | None, name: str, text: str) -> None:
    """In ``--output``, if one was given."""
    if output:
        output.mkdir(parents=True, exist_ok=True)
        (output / name).write_text(text)


def printed(
    command: Sequence[str], *, cwd: Path, env: dict[str, str], timeout: int
) -> tuple[str, int | None]:
    """Both streams and the exit status, None after a timeout."""
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, timeout=timeout, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.stdout, done.returncode
    except subprocess.TimeoutExpired as expired:
        return (expired.stdout or b"").decode(errors="replace") + "\n# timeout\n", None


def run_files(
    arguments: argparse.Namespace,
    engine: Engine,
    files: Sequence[Path],
    python: str = sys.executable,
    options: Sequence[str] = (),
) -> Results:
    """A pytest process for each file: one that hangs or changes its environment harms no other."""
    results: Results = {}
    report = engine.directory / "report.xml"
    environment = {**os.environ, **engine.environment, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    for path in files:
        name = str(path.relative_to(arguments.suite))
        report.unlink(missing_ok=True)
        pytest = [
            python,
            "-m",
            "pytest",
            "-v",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *options,
            name,
        ]
        text, _ = printed(pytest, cwd=arguments.suite, env=environment, timeout=arguments.timeout)
        keep(arguments.output, f"{engine.name}-{path.stem}.log", text)
        results |= read_report(report, name) if report.exists() else {f"{name}::(the whole file)": "failed"}
    return results


def read_report(report: Path, file: str) -> Results:
    """pytest's names; a case that passes and cannot be cleaned up has failed."""
    results: Results = {}
    for case in ElementTree.parse(report).iter("testcase"):
        inner = f".{case.get('classname', '')}".partition(f".{Path(file).stem}")[2].strip(".")
        name = "::".join(filter(None, [file, inner, case.get("name", "")]))
        kinds = {child.tag for child in case}
        result = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        results[name] = "failed" if results.get(name) == "failed" else result
    return results


def table(results: Results) -> str:
    """Counts by file, then the names of what failed."""
    files = sorted({name.partition("::")[0] for name in results})
    lines = ["| file | passed | failed | skipped |", "|---|---:|---:|---:|"]
    for file in [*files, ""]:
        counts = Counter(result for name, result in results.items() if name.startswith(file))
        lines.append(f"| {Path(file).name or 'all'} | {_cells(counts)} |")
    return "\n".join([*lines, "", *named(results, "failed")])


def named(results: Results, word: str) -> list[str]:
    return sorted(name for name, result in results.items() if result == word)


def compared(results: dict[str, Results]) -> str:
    """Counts by engine, then the names of what did not pass everywhere, and how it went."""
    lines = [f"| engine | {' | '.join(_WORDS)} |", "|---|---:|---:|---:|"]
    lines += [f"| {engine} | {_cells(Counter(cases.values()))} |" for engine, cases in results.items()]
    ways: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(set().union(*results.values())):
        ways.setdefault(tuple(cases.get(name, "absent") for cases in results.values()), []).append(name)
    for way, names in sorted(ways.items()):
        if len({*way}) > 1 or "failed" in way:
            told = ", ".join(f"{engine} {word}" for engine, word in zip(results, way, strict=True))
            lines += ["", f"{told}: {len(names)}", *(f"  {name}" for name in names)]
    return "\n".join(lines)


def _cells(counts: Counter[str]) -> str:
    return " | ".join(str(counts[word]) for word in _WORDS)


def missing(expected: Path, results: Results) -> int:
    """Say which of the expected names ran and did not pass; 1 if there are any."""
    names = [name for name in expected.read_text().split("\n") if name and not name.startswith("#")]
    wrong = [name for name in names if results.get(name, "passed") != "passed"]
    print(f"\nof {len(names)} expected names {len(wrong)} did not pass" + "".join(f"\n  {n}" for n in wrong))
    return 1 if wrong else 0
