"""The person's terminal: raw mode that is always undone, its size, and the detach keys."""

from __future__ import annotations

import os
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_DETACH = b"\x10\x11"  # ctrl-p, ctrl-q
_CONTROLS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def detach_sequence(text: str) -> bytes:
    """Return the bytes of ``ctrl-p,ctrl-q``; "" is the default. Raises ValueError in docker's words."""
    if not text:
        return DEFAULT_DETACH
    return bytes(_key(name) for name in text.split(","))


def _key(name: str) -> int:
    if len(name) == 1:
        return ord(name) & 0xFF
    letter = name.removeprefix("ctrl-").lower()
    if name.startswith("ctrl-") and len(letter) == 1:
        if "a" <= letter <= "z":
            return ord(letter) - 96
        if letter in _CONTROLS:
            return _CONTROLS[letter]
    raise ValueError(f"Unknown character: '{name}'")


class RawMode:
    """A terminal in raw mode between ``enter`` and ``leave``; does nothing where ``fd`` is no terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: list[Any] | None = None

    def enter(self) -> None:
        """Pass every key on unread and unechoed (cfmakeraw(3))."""
        if not os.isatty(self._fd):
            return
        mode = termios.tcgetattr(self._fd)
        self._saved = [*mode[:6], list(mode[6])]
        mode[0] &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
        )
        # The container's terminal makes its own line ends; ours must not add to them.
        mode[1] &= ~termios.OPOST
        mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)

    def leave(self) -> None:
        """Put the terminal back; safe to call again."""
        saved, self._saved = self._saved, None
        if saved is not None:
            try:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, saved)
            except termios.error:
                return  # the terminal itself is gone
