"""Which stages a target needs, and what an instruction takes from where."""

import pytest

from onggi.build import graph
from onggi.dockerfile.failure import DockerfileError
from onggi.dockerfile.parser import parse
from onggi.errors import InvalidArgument

FILE = b"""
FROM base AS one
RUN a
FROM base AS two
COPY --from=one /a /b
FROM two AS three
RUN --mount=from=one,target=/x --mount=type=cache,target=/c b
FROM scratch AS unused
COPY --from=0 / /
FROM three
COPY --from=image:tag /a /b
COPY --from=TWO /a /b
"""


def needed(target=""):
    dockerfile = parse(FILE)
    nodes = graph.plan(dockerfile, [stage.origin.base for stage in dockerfile.stages], target)
    return {node.name: (node.parent, sorted(node.needs)) for node in nodes}


def test_only_what_the_last_stage_needs():
    assert needed() == {"one": (None, []), "two": (None, [0]), "three": (1, [0, 1]), "4": (2, [1, 2])}


@pytest.mark.parametrize(
    ("target", "stages"),
    [("one", {"one"}), ("unused", {"one", "unused"}), ("1", {"one", "two"}), ("THREE", None)],
)
def test_targets(target, stages):
    assert set(needed(target)) == (stages or {"one", "two", "three"})


def test_a_target_that_is_none():
    with pytest.raises(
        InvalidArgument, match=r'target stage "thre" could not be found \(did you mean three\?\)'
    ):
        needed("thre")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"FROM a AS x\nCOPY --from=x /a /b", "needs to be defined before current stage"),
        (b"FROM a\nCOPY --from=y /a /b\nFROM a AS y", "needs to be defined before current stage"),
        (b"FROM a\nRUN --mount=from=y,target=/z b\nFROM a AS y", "needs to be defined before current stage"),
        (b"FROM a\nCOPY --from=0 /a /b", "needs to be defined before current stage"),
        (b"FROM a\nCOPY --from=7 /a /b", "stage index out of bounds"),
    ],
)
def test_stages_that_come_later(text, message):
    dockerfile = parse(text)
    with pytest.raises(DockerfileError, match=message) as failure:
        graph.plan(dockerfile, [stage.origin.base for stage in dockerfile.stages])
    assert failure.value.first_line == 2
