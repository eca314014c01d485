"""What is wrong with a Dockerfile, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from onggi.errors import InvalidArgument

_CONTEXT = 2  # lines shown before and after
_WIDTH = 200  # of a line that is shown
_FAR = 3  # so many letters wrong are another word


class DockerfileError(InvalidArgument):
    """A Dockerfile that cannot be built as written; ``first_line`` is 0 where no line is to blame."""

    def __init__(self, problem: str, first_line: int = 0, last_line: int = 0) -> None:
        self.problem, self.first_line, self.last_line = problem, first_line, max(first_line, last_line)
        where = f"dockerfile parse error on line {first_line}: " if first_line else ""
        super().__init__(f"{where}{problem}")


class Placed(Protocol):
    """A statement or an instruction: what has lines."""

    @property
    def first_line(self) -> int: ...
    @property
    def last_line(self) -> int: ...


@contextmanager
def placed(place: Placed) -> Iterator[None]:
    """Gives complaints the lines of a statement or an instruction."""
    try:
        yield
    except DockerfileError:
        raise
    except InvalidArgument as error:
        raise DockerfileError(str(error), place.first_line, place.last_line) from None


def excerpt(error: DockerfileError, name: str, lines: Sequence[str]) -> str:
    """The lines around an error, those to blame marked, as a terminal shows them; "" without a line."""
    if not error.first_line:
        return ""
    first, last = error.first_line, min(error.last_line, len(lines))
    rows = range(max(first - _CONTEXT, 1), min(last + _CONTEXT, len(lines)) + 1)
    rule = "-" * 20
    shown = [
        f"{row:4} | {'>>>' if first <= row <= last else '   '} {lines[row - 1][:_WIDTH]}".rstrip()
        for row in rows
    ]
    return "\n".join([f"{name}:{first}", rule, *shown, rule])


def hint(word: str, known: Iterable[str], *, fold: bool = False) -> str:
    """`` (did you mean X?)`` if one of the known words is close, else ""."""
    near = nearest(word, known, fold=fold)
    return f" (did you mean {near}?)" if near else ""


def nearest(word: str, known: Iterable[str], *, fold: bool = False) -> str:
    """The known word closest to ``word``, "" if none is near or one is the same."""
    wanted, best, least = (word.upper() if fold else word), "", _FAR
    for candidate in sorted(known):
        if candidate == wanted:
            return ""
        distance = _distance(wanted, candidate, least)
        if distance < least:
            best, least = candidate, distance
    return best.lower() if fold and word == word.lower() else best


def _distance(left: str, right: str, limit: int) -> int:
    """Edits that make one word the other (Levenshtein); ``limit`` for all that are not below it."""
    if abs(len(left) - len(right)) >= limit:
        return limit
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return min(row[-1], limit)
