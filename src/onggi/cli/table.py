"""Columns as Go's text/tabwriter lays them out: cells end with a tab, neighbours are aligned. Pure."""

from __future__ import annotations

MINIMUM, PADDING = 10, 3


def align(text: str, minimum: int = MINIMUM) -> str:
    """Return ``text`` with the tab-separated cells of its lines in columns; the last is not padded."""
    lines = [line.split("\t") for line in text.split("\n")]
    _align_block(lines, 0, len(lines), 0, minimum)
    return "\n".join("".join(cells) for cells in lines)


def _align_block(lines: list[list[str]], start: int, end: int, column: int, minimum: int) -> None:
    """Pad one column in each run of lines that have it, then the next column within that run."""
    row = start
    while row < end:
        last = row
        while last < end and len(lines[last]) > column + 1:
            last += 1
        if last > row:
            width = max(minimum, PADDING + max(len(lines[at][column]) for at in range(row, last)))
            for at in range(row, last):
                lines[at][column] += " " * (width - len(lines[at][column]))
            _align_block(lines, row, last, column + 1, minimum)
        row = max(last, row + 1)
