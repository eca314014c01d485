"""What a try is, and what it is made of: commands, containers, their groups. Standard library only."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
GROUPS = Path("/sys/fs/cgroup")
DEADLINE_S = 240  # software emulation is slow
SPIN = ("sh", "-c", "while :; do :; done")
DISK = "/dev/vda"
TRIES: dict[str, Callable[[], str]] = {}


class Failed(Exception):
    """What a try found wrong."""


def tried(function: Callable[[], str]) -> Callable[[], str]:
    """Enter a function among the tries; its docstring is what the table says of it."""
    TRIES[function.__name__] = function
    return function


def command(*words: str, status: int | None = 0, text: str = "", deadline: int = DEADLINE_S) -> str:
    """What a command prints, both streams; anything but the expected status is a failure (None: any)."""
    done = subprocess.run(
        words,
        input=text.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=deadline,
        check=False,
        cwd=CHECKOUT,
    )
    said = done.stdout.decode(errors="replace").strip()
    if status is not None and done.returncode != status:
        raise Failed(f"{' '.join(words)}: exit {done.returncode}, not {status}: {said[-1500:]}")
    return said


def docker(*words: str, status: int | None = 0, text: str = "") -> str:
    return command("docker", *words, status=status, text=text)


def run(*words: str, sh: str = "true", status: int | None = 0) -> str:
    return docker("run", "--rm", "--network", "none", *words, "box", "sh", "-c", sh, status=status)


def start(*words: str, argv: tuple[str, ...] = ("sleep", "100000")) -> str:
    """The id of a container that keeps running."""
    return docker("run", "-d", "--network", "none", *words, "box", *argv).splitlines()[-1]


def group(container: str, parent: str = "/onggi/c") -> Path:
    return GROUPS / parent.strip("/") / container


def inspect(container: str, format: str) -> str:
    return docker("inspect", "-f", format, container)


def equal(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Failed(f"{what}: {found!r}, not {wanted!r}")


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what} did not come about")
        time.sleep(0.2)


def counters(file: Path) -> dict[str, int]:
    return {name: int(number) for name, number in map(str.split, file.read_text().splitlines())}


def answers() -> bool:
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0
