"""The long forms of tests: what they are asked by, and the pages of docs/proofs that they write."""

import argparse
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def parser(**numbers: int) -> argparse.ArgumentParser:
    """Options for whole numbers, with what they are unless given, and ``--table`` for the page."""
    made = argparse.ArgumentParser()
    for name, number in numbers.items():
        made.add_argument(_option(name), type=int, default=number)
    made.add_argument("--table", type=Path, help="write the page there")
    made.set_defaults(numbers=tuple(numbers))
    return made


def command(given: argparse.Namespace) -> str:
    """How this was asked for, every number spelled out."""
    words = [str(Path(sys.argv[0]).resolve().relative_to(ROOT))]
    for name in given.numbers:
        words += [_option(name), str(getattr(given, name))]
    return f"`{' '.join(words)}`"


def told(given: argparse.Namespace, began: float) -> str:
    """What was asked, how long it took since then (of ``time.monotonic``), and on which kernel."""
    return f"{command(given)}: {round(time.monotonic() - began)} s on Linux {os.uname().release}"


def counts(rows: Iterable[tuple[str, int]]) -> str:
    """A table of what was counted."""
    return "| what | count |\n|---|---:|\n" + "".join(f"| {what} | {count} |\n" for what, count in rows)


def publish(given: argparse.Namespace, title: str, text: str) -> None:
    """Print the text, and write the page that was asked for."""
    print(text)
    if given.table:
        given.table.write_text(f"# {title}\n\n{text}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
