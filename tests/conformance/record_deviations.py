"""Asks dockerd what tests/api/test_specification.py asks us, and records its answers.

    python record_deviations.py SOCKET > tests/api/deviations.json

Run it in the network namespace of that dockerd, which has the image ``busybox`` and nothing else. What is
recorded: the sentence of each refusal, each status that differs from the specification's, and each value that
its schema does not allow.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

from specification_cases import CASES, refused  # noqa: E402 - found by the line above
from specification_walk import Walk, broken  # noqa: E402


def main(path):
    schemas, answers = {}, {}
    with tempfile.TemporaryDirectory() as directory:
        walk = Walk(path, Path(directory))
        try:
            for case in (*CASES, *refused()):
                answer = walk.ask(case)
                for at, what in broken(case, answer):
                    schemas.setdefault(case.name, {})[at] = what
                if answer.status >= 400 or answer.status != case.status:
                    answers[case.name] = {"status": answer.status}
                    if answer.status >= 400:
                        answers[case.name]["message"] = walk.mask(answer.message)
        finally:
            walk.close()
    json.dump({"answers": answers, "schemas": schemas}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(sys.argv[1])
