"""Questions to the person at the terminal: a line, a secret read unechoed, and notes in docker's form."""

from __future__ import annotations

import os
import sys

from onggi.cli.command import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_RESET = "\033[0m"
PLAIN_HEADER = " Info -> "
# A black "i" on light cyan, then the word in light cyan, all of it bold.
HEADER = f"\033[1m\033[106m\033[30mi{_RESET}{_RESET} \033[96mInfo → {_RESET}{_RESET}"
_PASSWORD = "Password: "
_HEADER_WIDTH = len("i Info → ")


def ask(question: str) -> str:
    """Print ``question`` and return the line that is typed, stripped. Raises Failure at the end of input."""
    sys.stdout.write(question)
    sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        raise Failure("\nprompt terminated: the input has ended")
    return line.strip()


def ask_password() -> str:
    """Ask for a password, unechoed where the input is a terminal."""
    if not os.isatty(0):
        return ask(_PASSWORD)
    import termios

    saved = termios.tcgetattr(0)
    silent = [*saved[:3], saved[3] & ~termios.ECHO, *saved[4:]]
    try:
        termios.tcsetattr(0, termios.TCSADRAIN, silent)
        return ask(_PASSWORD)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)
        sys.stdout.write("\n")
        sys.stdout.flush()


def note(stream: TextIO, text: str) -> None:
    """Print a note of one or several lines."""
    fancy = stream.isatty()
    header, width = (HEADER, _HEADER_WIDTH) if fancy else (PLAIN_HEADER, len(PLAIN_HEADER))
    if fancy:
        text = text.replace("--platform", f"\033[1m--platform{_RESET}")
    lines = [f"\033[3m{line}{_RESET}" if fancy else line for line in text.split("\n")]
    sys.stdout.flush()
    stream.write("\n" + header + ("\n" + " " * width).join(lines) + "\n")
    stream.flush()
