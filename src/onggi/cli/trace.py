"""``run --trace``: where the time went, as a table with bars. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_BAR = 30


def table(steps: list[Json], sent_ns: int = 0, answered_ns: int = 0) -> str:
    """Return the table of steps ``[name, time]``: what was reached when, and how long it took from the step
    before.

    All times are nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share; without ``sent_ns``
    the first step is the beginning.
    """
    marks = sorted(((str(name), int(at)) for name, at in steps), key=lambda mark: mark[1])
    if answered_ns:
        marks.append(("answer received", answered_ns))
    before = start = sent_ns or marks[0][1]
    total = max(marks[-1][1] - start, 1)
    width = max(len(name) for name, _ in marks)
    lines = [f"{'STEP':<{width}}   AT (ms)  TOOK (ms)"]
    for name, at in marks:
        bar = "#" * round(_BAR * (at - before) / total)
        lines.append(
            f"{name:<{width}}  {(at - start) / 1e6:8.2f}  {(at - before) / 1e6:9.2f}  {bar}".rstrip()
        )
        before = at
    return "\n".join(lines)
