"""Runs the command lines of docker_cli.txt against dockerd and onggid, and compares what they answer.

    python tests/conformance/docker_cli.py [--dockerd-root DIR] [--only WORD ...] [--rounds N] [--record FILE]
    python tests/conformance/docker_cli.py --checklist CSV

DIR is where a dockerd and a containerd are unpacked (usr/sbin, usr/bin). Three passes: docker's command
against dockerd, docker's command against onggid, our own command against onggid. Standard output, standard
error and exit code are compared after ids, times, sizes and paths are masked; differences are printed.
Without `--dockerd-root` the answers that `--record` wrote stand in for dockerd. A line of docker_cli.txt may
say why it differs; the command fails on a difference without a reason, and on a reason without a difference.

`--checklist` names a table of docker's commands and flags and prints those that no line uses. Needs root, the
docker command, docker-registry and busybox-static; everything runs in private mount and network namespaces.
"""

import argparse
import contextlib
import csv
import difflib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "src")]

import private_world  # noqa: E402
from conformance.dockerd import docker_engine  # noqa: E402 - it is found by the line above
from conformance.foreign import scratch  # noqa: E402
from docker_registry import DockerRegistry  # noqa: E402
from engines import ONGGI, RealEngine, busybox_tar  # noqa: E402
from onggi.cli import registry  # noqa: E402
from onggi.cli.main import load  # noqa: E402

SCRIPT, ANSWERS = HERE / "docker_cli.txt", HERE / "docker_cli_answers.json"
LINE_S = 60
FOREIGN = re.compile(r"docker( \w+)* (build|builder|buildx|plugin|swarm|node|service|stack|secret|config)\b")
MASKS = [
    (re.compile(pattern), text)
    for pattern, text in [
        (r"\x1b\[[0-9;]*m", ""),
        (r"(?m)^host +latest .*\n", ""),  # our image of the machine
        (r"/cgroup/(\w+)/\S*/", r"/cgroup/\1/<group>/"),
        (r"OCI runtime create failed: runc create failed: ", "OCI runtime create failed: "),
        (r"(unable to start container process: )error during container init: ", r"\1"),  # runc from 1.2
        (r"[^\s\":=]*/(data|run)/(?=\w)", "<root>/"),
        (r"sha256:[0-9a-f]{64}", "<digest>"),
        (r"\b[0-9a-f]{64}\b", "<id>"),
        (r"\b(?=[0-9a-f]*\d)[0-9a-f]{12}\b", "<short>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d{4} UTC| ?[+-]\d\d:?\d\d|Z| UTC)?", "<time>"),
        (r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "<time>"),
        (r"\b(About|Less than|Up|Created|Exited) (a|an) (second|minute|hour)( ago)?", "<ago>"),
        (r"\b(\d+|About a|About an|Less than a) (seconds?|minutes?|hours?)( ago)?", "<ago>"),
        (r"\b\d+(\.\d+)?([kMGT]i?)?B\b(?! is)", "<size>"),
        (r'("(Size|SizeRw|SizeRootFs|Pid|timeNano|time|size)": ?)\d+', r"\1<number>"),
        (r'("(Id|SandboxID|SandboxKey|EndpointID)": ?)"[^"]+"', r'\1"<id>"'),
        (r'("(MacAddress)": ?)"[0-9a-f:]{17}"', r'\1"<mac>"'),
        (r'("Raw": ?)"[^"]+"', r'\1"<raw>"'),
        (r"\b127\.0\.0\.1:\d{5}\b", "<registry>"),
        (r"\b172\.\d+(\.\d+){2}\b", "<address>"),
        (r"(digest: <digest> size:) \d+", r"\1 <number>"),
        (r"\bonggi-[0-9a-f]{6}\b", "<bridge>"),
        (r"on endpoint \w+ \(", "on endpoint <name> ("),
        (r"lookup (\S+)( on \S+)?: .*", r"lookup \1: <no answer>"),
        (r"  +", "  "),
        (r"template: :\d+:\d+:", "template: :<place>:"),
        (r"[ \t\r]+(?=\n|$)", ""),
        (r"(?<=[+|])-+(?=[+|])|^-+$", "-"),
    ]
]


@dataclass
class Line:
    """A command line; why it differs on onggid (docker's command), and with our own command.

    ``key`` tells lines of the same text apart. With the reason ``machine`` an answer holds only where it was
    recorded.
    """

    number: int
    text: str
    key: str
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass
class Answer:
    """What a line printed, masked, and its exit code."""

    out: str
    err: str
    status: int

    def text(self) -> list[str]:
        streams = [("out", self.out), ("err", self.err)]
        printed = [f"{name}: {line}" for name, text in streams for line in text.splitlines()]
        return [*printed, f"exit {self.status}"]


Answers = dict[str, Answer]


def read_script(path: Path = SCRIPT) -> list[Line]:
    lines: list[Line] = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if text.startswith("  "):
            who, _, reason = text.strip().partition(": ")
            lines[-1].reasons[who] = reason
        elif text and not text.startswith("#"):
            before = sum(line.text == text for line in lines)
            lines.append(Line(number, text, f"{text} #{before + 1}" if before else text))
    return lines


def portable(lines: list[Line]) -> list[Line]:
    """Those that can be compared with what another machine recorded."""
    return [line for line in lines if "machine" not in line.reasons]


def masked(text: str, known: dict[str, str]) -> str:
    for word, mask in known.items():
        text = text.replace(word, mask)
    text = "\n".join(sorted_json(line) for line in sorted_json(text.strip("\n")).split("\n"))
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    return text


def sorted_json(text: str) -> str:
    """The text with the keys of its objects in order, if it is JSON: no client minds the order."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return json.dumps(value, indent=1, sort_keys=True) if isinstance(value, dict | list) else text


class Desk:
    """A directory to work in, with one command line client that is called docker and one engine."""

    def __init__(self, directory: Path, client: list[str], environment: dict[str, str]) -> None:
        self.directory = directory / "here"
        programs = directory / "bin"
        for made in (programs, self.directory / "mounted", directory / "home"):
            made.mkdir(parents=True)
        path = os.environ["PATH"]
        (programs / "docker").write_text(f'#!/bin/sh\nPATH={path}\nexec {shlex.join(client)} "$@"\n')
        (programs / "docker").chmod(0o755)
        (self.directory / "busybox.tar").write_bytes(busybox_tar())
        (self.directory / "env.list").write_text("B=2\nC\n")
        (self.directory / "labels.list").write_text("c=d\n")
        self.known = {environment["DOCKER_HOST"]: "<host>", str(directory): "<here>"}
        here = {"PATH": f"{programs}:{path}", "HOME": str(directory / "home"), "LC_ALL": "C.UTF-8"}
        self.environment = {**environment, **here}

    def answer(self, line: Line) -> Answer:
        process = subprocess.Popen(
            ["sh", "-c", line.text], cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            start_new_session=True,
        )  # fmt: skip
        try:
            out, err = process.communicate(timeout=LINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            out, err = process.communicate()
            err += f"no answer within {LINE_S} s\n"
        return Answer(masked(out, self.known), masked(err, self.known), process.returncode)

    def answers(self, lines: Iterable[Line]) -> Answers:
        return {line.key: self.answer(line) for line in lines}


def on_dockerd(root: Path, directory: Path, lines: list[Line]) -> Answers:
    """What docker's command prints with dockerd."""
    with serving_registry(directory) as address, docker_engine(root, directory / "docker") as host:
        return Desk(directory, ["docker"], {"DOCKER_HOST": host, "REGISTRY": address}).answers(lines)


def on_onggid(client: list[str], directory: Path, lines: list[Line]) -> Answers:
    """What a command prints with an onggid of its own."""
    engine = RealEngine(directory)
    try:
        engine.start()
        with serving_registry(directory) as address:
            return Desk(directory, client, {**engine.environment, "REGISTRY": address}).answers(lines)
    finally:
        engine.destroy()


@contextlib.contextmanager
def serving_registry(directory: Path) -> Iterator[str]:
    serving = DockerRegistry(directory / "registry")
    try:
        yield serving.host
    finally:
        serving.close()


def _renamed(texts: list[str]) -> list[str]:
    return [re.sub(r"(?i)onggi", "docker", text) for text in texts]


def differences(
    who: str, lines: list[Line], expected: Answers, seen: Answers
) -> Iterator[tuple[Line, str, str]]:
    """(line, its reason or nothing, the difference or nothing) where there is one of them."""
    for line in lines:
        wanted, got = expected[line.key].text(), seen[line.key].text()
        if who == "ours":  # the program's own name
            wanted, got = (
                [re.sub(r"(?i)onggi", "docker", text) for text in texts] for texts in (wanted, got)
            )
        reason = line.reasons.get(who, "")
        if wanted != got:
            yield line, reason, "\n".join(list(difflib.unified_diff(wanted, got, lineterm="", n=0))[2:])
        elif reason:
            yield line, reason, ""


def report(who: str, found: list[tuple[Line, str, str]], count: int) -> int:
    """Print; the number of differences without a reason and of reasons without a difference."""
    wrong = 0
    for line, reason, difference in found:
        if reason and difference:
            continue
        wrong += 1
        print(f"\n{line.number}: {line.text}")
        print(difference or f"has a reason to differ and does not: {reason}")
    explained = sum(bool(reason and difference) for _, reason, difference in found)
    print(f"\n{who}: {count} lines, {explained} differ for a reason, {wrong} wrong", flush=True)
    return wrong


def uncovered(checklist: Path, lines: list[Line]) -> Iterator[str]:
    """Commands that no line uses, and flags that neither they nor their aliases are used with."""
    used: dict[str, set[str]] = {}
    for line in lines:
        for command in re.findall(r"docker [^|;]*", line.text):
            words = re.split(r"[\s=]+", command)
            for length in (2, 3, 4):
                used.setdefault(" ".join(words[:length]), set())
                used.setdefault(family(words[1:length]), set()).update(words)
    for row in csv.DictReader(checklist.open()):
        command = row["command"]
        if FOREIGN.match(command) or row["subcommands"]:
            continue
        name = family(command.split()[1:])
        seen = used.get(name, set())
        if command not in used:
            yield command
        for flag in set(row["flags"].split()) - {"--help", *seen}:
            if f"-{short_flags(name).get(flag)}" not in seen:
                yield f"{command} {flag}"


def family(words: list[str]) -> str:
    """One name for a command and its aliases; `create` has the flags of `run`."""
    module = registry.find(words)[1]
    module = "run" if module == "create" else module
    return f"module {module}" if module else " ".join(words)


def short_flags(name: str) -> dict[str, str]:
    module = name.removeprefix("module ")
    return {f"--{flag[0]}": flag[1] for flag in load(module).flags} if module != name else {}


def within(arguments: argparse.Namespace, directory: Path) -> int:
    lines = read_script()
    if arguments.only:
        lines = [line for line in lines if any(word in line.text for word in arguments.only)]
    if arguments.dockerd_root:
        expected = on_dockerd(arguments.dockerd_root, directory / "dockerd", lines)
    else:
        expected = recorded()
    if arguments.record:
        arguments.record.write_text(as_json(expected))
    wrong, compared = 0, lines if arguments.dockerd_root else portable(lines)
    for number in range(arguments.rounds):
        for who, client in (("differs", ["docker"]), ("ours", ONGGI)):
            home = directory / f"{who}{number}"
            home.mkdir()
            seen = on_onggid(client, home, lines)
            if who == "differs":
                reference, docker = expected, seen
            else:
                reference = docker
            wrong += report(who, list(differences(who, compared, reference, seen)), len(compared))
    return 1 if wrong else 0


def as_json(answers: Answers) -> str:
    """One answer a line."""
    rows = [f"{json.dumps(key)}: {json.dumps([a.out, a.err, a.status])}" for key, a in answers.items()]
    return "{\n" + ",\n".join(rows) + "\n}\n"


def recorded() -> Answers:
    """What dockerd answered."""
    return {key: Answer(*row) for key, row in json.loads(ANSWERS.read_text()).items()}


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--dockerd-root", type=Path, help="where dockerd and containerd are unpacked")
    parser.add_argument("--only", nargs="*", default=[], help="lines with one of these words in them")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--record", type=Path, help="write dockerd's answers there")
    parser.add_argument("--checklist", type=Path, help="docker's commands and flags; print those not used")
    arguments = parser.parse_args()
    if arguments.checklist:
        print("\n".join(uncovered(arguments.checklist, read_script())))
        return 0
    private_world.enter()
    with scratch("cli-") as directory:
        return within(arguments, directory)


if __name__ == "__main__":
    sys.exit(main())
