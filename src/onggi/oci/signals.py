"""Signals by name or number, as docker takes them."""

from __future__ import annotations

import signal

from onggi.errors import InvalidArgument

# With their other names: CLD, IOT, POLL.
_BY_NAME = {name.removeprefix("SIG"): entry.value for name, entry in signal.Signals.__members__.items()}
for _offset in range(1, 16):
    _BY_NAME[f"RTMIN+{_offset}"] = signal.SIGRTMIN + _offset
for _offset in range(1, 15):
    _BY_NAME[f"RTMAX-{_offset}"] = signal.SIGRTMAX - _offset


def parse_signal(text: str) -> int:
    """The number of ``TERM``, ``SIGTERM``, ``sigterm`` or ``15``.

    Raises InvalidArgument in docker's words.
    """
    if text.isascii() and text.isdigit() and len(text) < 4:
        number = int(text)
        if 0 < number <= signal.SIGRTMAX:
            return number
    number = _BY_NAME.get(text.upper().removeprefix("SIG"), 0)
    if not number:
        raise InvalidArgument(f"invalid signal: {text}")
    return number
