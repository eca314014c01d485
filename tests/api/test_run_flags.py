"""Every flag of ``docker run`` has a test: one named after it, or an entry of REFUSED here.

A test of ``--some-flag`` is ``test_flag_some_flag`` in a file ``test_run_flags_*.py`` beside this one.
"""

import re
from pathlib import Path

import pytest
from test_run_flags_limits import SETS, THROTTLES

HERE = Path(__file__).parent
# What later versions will do, and what is for Windows: refused by name, never accepted and ignored.
REFUSED: dict[str, tuple[list[str], str]] = {
    **{
        f"--{name}": (
            [f"--{name}", "10"],
            f'"--{name}" is only supported on a Docker daemon running on windows',
        )
        for name in ("cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops")
    },
    "--gpus": (["--gpus", "all"], 'could not select device driver "" with capabilities: [[gpu]]'),
    "--storage-opt": (["--storage-opt", "size=1g"], "option storage-opt is not supported"),
}


@pytest.mark.parametrize("flag", REFUSED)
def test_refused_by_name(run, flag):
    arguments, words = REFUSED[flag]
    done = run.done(*arguments, network="bridge")
    assert done.returncode == (1 if "windows" in words else 125)
    assert words in done.stderr.decode()
    assert run.command("ps", "-aq", "--filter", "status=created").stdout == b""


def test_every_flag_is_tested():
    listed = (HERE.parent / "data" / "docker-run-flags.txt").read_text().split()
    limits = {row[0] for row in SETS} | set(THROTTLES)
    sources = "".join(path.read_text() for path in HERE.glob("test_run_flags_*.py"))
    tested = {
        f"--{name.replace('_', '-')}" for name in re.findall(r"^def test_flag_(\w+)\(", sources, re.MULTILINE)
    }
    assert len(listed) == 104
    assert sorted(tested | limits | set(REFUSED)) == sorted(listed)
    assert not (tested | limits) & set(REFUSED)
