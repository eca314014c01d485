"""Which stages a target needs, and what each waits for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from onggi.dockerfile import instructions as typed
from onggi.dockerfile.failure import DockerfileError, hint
from onggi.errors import InvalidArgument


class Node(msgspec.Struct, frozen=True):
    """A stage that is to be built: its number, what it begins on, and the numbers of the stages it needs.

    ``parent`` is the stage it begins on, None for an image, whose name is ``image`` (``scratch`` is none).
    """

    number: int
    stage: typed.Stage
    image: str
    parent: int | None
    needs: frozenset[int]

    @property
    def name(self) -> str:
        """What the stage is called, or its number."""
        return self.stage.origin.name or str(self.number)


def plan(
    dockerfile: typed.Dockerfile,
    bases: Sequence[str],
    target: str = "",
    replaced: Callable[[str], object] = lambda name: False,
) -> list[Node]:
    """The stages that ``target`` (a name or number; the last without one) needs, in the file's order.

    ``bases`` are the words behind each FROM after expansion; of a stage that is ``replaced`` by an image of
    its name, nothing is done. Raises DockerfileError.
    """
    nodes = [_node(dockerfile, number, bases) for number in range(len(dockerfile.stages))]
    nodes = [_from_outside(node) if replaced(node.stage.origin.name) else node for node in nodes]
    wanted = {_target(dockerfile, target)}
    for node in reversed(nodes):
        if node.number in wanted:
            wanted |= node.needs
    return [node for node in nodes if node.number in wanted]


def stage_number(dockerfile: typed.Dockerfile, word: str, before: int) -> int | None:
    """The number of the stage that ``word`` names for stage ``before``; None if it names none."""
    for number in range(before - 1, -1, -1):
        if dockerfile.stages[number].origin.name == word.lower():
            return number
    return int(word) if word.isdecimal() and len(word) < 9 and int(word) < before else None


def _from_outside(node: Node) -> Node:
    stage = typed.Stage(node.stage.origin)
    return Node(node.number, stage, node.stage.origin.name, None, frozenset())


def _node(dockerfile: typed.Dockerfile, number: int, bases: Sequence[str]) -> Node:
    stage, base = dockerfile.stages[number], bases[number]
    parent = next(
        (it for it in range(number - 1, -1, -1) if dockerfile.stages[it].origin.name == base.lower()), None
    )
    found = {parent} if parent is not None else set[int]()
    for instruction in stage.instructions:
        found |= needs(dockerfile, number, instruction)
    return Node(number, stage, base, parent, frozenset(found))


def needs(dockerfile: typed.Dockerfile, number: int, instruction: typed.Instruction) -> set[int]:
    """The stages whose files an instruction of stage ``number`` uses. Raises DockerfileError."""
    found = [_earlier(dockerfile, number, word, instruction) for word in origins(instruction)]
    return {it for it in found if it is not None}


def origins(instruction: typed.Instruction) -> list[str]:
    """What an instruction takes files from: stages, images or contexts by name."""
    if isinstance(instruction, typed.Copy):
        return [instruction.origin] if instruction.origin else []
    if not isinstance(instruction, typed.Run):
        return []
    options = [option.partition("=") for text in instruction.mount_options for option in text.split(",")]
    return [value.strip('"') for name, _, value in options if name.strip('" ').lower() == "from" and value]


def _earlier(
    dockerfile: typed.Dockerfile, number: int, word: str, instruction: typed.Instruction
) -> int | None:
    found = stage_number(dockerfile, word, number)
    if found is not None:
        return found
    name = dockerfile.stages[number].origin.name or str(number)
    later = any(stage.origin.name == word.lower() for stage in dockerfile.stages[number:])
    if later or word.isdecimal():
        problem = f'cannot copy from stage "{word}", it needs to be defined before current stage "{name}"'
        if word.isdecimal() and int(word[:9]) >= len(dockerfile.stages):
            problem = f"invalid from flag value {word}: stage index out of bounds"
        raise DockerfileError(problem, instruction.first_line, instruction.last_line)
    return None


def _target(dockerfile: typed.Dockerfile, target: str) -> int:
    count = len(dockerfile.stages)
    if not target:
        return count - 1
    found = stage_number(dockerfile, target, count)
    if found is None:
        names = [stage.origin.name for stage in dockerfile.stages if stage.origin.name]
        raise InvalidArgument(f'target stage "{target}" could not be found{hint(target, names)}')
    return found
