"""A walk through Docker's specification: each operation, each documented status, each answer's schema.

deviations.json is what dockerd 28.5.2 answered to the same requests (tests/conformance/record_deviations.py):
the sentences of its refusals, the statuses that it never gives, the nulls that its schema does not allow.
"""

import json
from pathlib import Path

import pytest

from engines import engine_at
from specification import OPERATIONS, problems
from specification_cases import CASES, ELSEWHERE, NOT_OFFERED, REFUSED, Case, refused
from specification_walk import Walk, broken

RECORDED = json.loads((Path(__file__).parent / "deviations.json").read_text())


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    directory = tmp_path_factory.mktemp("walk")
    with engine_at(directory) as engine:
        walk = Walk(str(engine.socket), directory)
        engine.kill()  # what is shared runs already, and a second engine has found it
        engine.start()
        yield walk
        walk.close()


def test_every_status_has_a_case():
    """500 is nobody's intention and has none."""
    documented = {
        f"{name} {status}"
        for name, entry in OPERATIONS.items()
        if entry["tag"] not in REFUSED and name not in ELSEWHERE
        for status in entry["responses"]
        if status != "500"
    }
    assert documented == {case.name for case in CASES}


@pytest.mark.parametrize("case", [*CASES, *refused()], ids=lambda case: case.name)
def test_answers(walk, case):
    """The documented status, or the one that dockerd gives instead; its words; the schema."""
    answer = walk.ask(case)
    dockerd = RECORDED["answers"].get(case.name, {"status": case.status})
    assert answer.status in (case.status, dockerd["status"]), answer
    if answer.status == dockerd["status"] and "message" in dockerd:
        assert walk.mask(answer.message) == dockerd["message"]
    known = RECORDED["schemas"].get(case.name, {})
    assert [problem for problem in broken(case, answer) if known.get(problem.at) != problem.what] == []


@pytest.mark.parametrize(("operation", "what"), NOT_OFFERED.items())
def test_what_is_not_offered_says_so(walk, operation, what):
    path = operation.partition(" ")[2].replace("{id}", "{run}" if "start" not in operation else "{created}")
    answer = walk.ask(Case(operation, 501, path))
    assert (answer.status, answer.message.startswith(f"{what} not offered")) == (501, True), answer


def test_the_check_of_schemas_sees_what_is_wrong():
    schema = {"$ref": "#/definitions/ContainerState"}
    good = {"Status": "running", "Running": True, "Pid": 1, "Health": None}
    assert list(problems(schema, good)) == []
    for name, value in [("Status", "walking"), ("Pid", True), ("Running", 1), ("Health", {"Log": {}})]:
        assert [problem.at.split("/")[1] for problem in problems(schema, good | {name: value})] == [name]
