"""``run --trace``: where the time went, as a table with bars. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = Any

_BAR = 30


def table(steps: list[Json]) -> str:
    """Return the table of steps, each ``[name, microseconds]`` or ``{"Name", "Microseconds"}``."""
    rows = [_row(step) for step in steps]
    total = sum(time for _, time in rows) or 1
    width = max((len(name) for name, _ in [*rows, ("total", 0)]), default=0)
    lines = [_line(name, time, total, width) for name, time in rows]
    return "\n".join([*lines, f"{'total':<{width}}  {total / 1000:9.3f} ms"])


def _row(step: Json) -> tuple[str, float]:
    if isinstance(step, dict):
        return str(step["Name"]), float(step["Microseconds"])
    return str(step[0]), float(step[1])


def _line(name: str, time: float, total: float, width: int) -> str:
    bar = "#" * round(_BAR * time / total)
    return f"{name:<{width}}  {time / 1000:9.3f} ms  {bar}".rstrip()
