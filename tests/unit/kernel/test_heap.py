"""Where objects lie after a launcher's heap has settled."""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"
PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
import json, re
import onggi.launch.monitor
from onggi.kernel import heap
heap.settle()
made = [bytes(31) for _ in range(100)]
print(len({id(one) // 4096 for one in made}))
"""


def test_what_is_made_after_imports_lies_together():
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, SOURCE]
    assert int(subprocess.run(command, capture_output=True, check=True).stdout) <= 3
