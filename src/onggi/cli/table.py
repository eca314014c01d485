"""Columns as Go's text/tabwriter lays them out: cells end with a tab, neighbours of equal column are
aligned. Pure."""

from __future__ import annotations

MINIMUM, PADDING = 10, 3


def align(text: str, minimum: int = MINIMUM, padding: int = PADDING) -> str:
    """Return ``text`` with the tab-separated cells of its lines in columns; a line's last cell is not
    padded."""
    lines = [line.split("\t") for line in text.split("\n")]
    _align_block(lines, 0, len(lines), 0, minimum, padding)
    return "\n".join("".join(cells) for cells in lines)


def _align_block(
    lines: list[list[str]], start: int, end: int, column: int, minimum: int, padding: int
) -> None:
    """Pad one column in each run of lines that have it, then the next column within that run."""
    row = start
    while row < end:
        last = row
        while last < end and len(lines[last]) > column + 1:
            last += 1
        if last > row:
            width = max(_width(lines[at][column]) for at in range(row, last))
            width = max(minimum, width + padding) if width else 0 if minimum == 0 else max(minimum, padding)
            for at in range(row, last):
                lines[at][column] += " " * (width - _width(lines[at][column]))
            _align_block(lines, row, last, column + 1, minimum, padding)
        row = max(last, row + 1)


def _width(text: str) -> int:
    return len(text)
