"""What commands for foreign suites read and tell (tests/conformance/foreign.py)."""

import io
import os
import tarfile

import pytest

from conformance import foreign, stand_ins
from engines import BUSYBOX

REPORT = """<testsuites><testsuite>
<testcase classname="tests.core.test_exec.Inner" name="test_a[1]"/>
<testcase classname="tests.core.test_exec" name="test_b"><failure/></testcase>
<testcase classname="tests.core.test_exec" name="test_c"/>
<testcase classname="tests.core.test_exec" name="test_c"><error/></testcase>
<testcase classname="tests.core.test_exec" name="test_d"><skipped/></testcase>
</testsuite></testsuites>"""


def test_names_and_results_of_pytest(tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)
    file = "tests/core/test_exec.py"
    assert foreign.read_report(tmp_path / "report.xml", file) == {
        f"{file}::Inner::test_a[1]": "passed",
        f"{file}::test_b": "failed",
        f"{file}::test_c": "failed",
        f"{file}::test_d": "skipped",
    }


def test_what_is_told_of_two_engines():
    ours = {"a": "passed", "b": "failed", "c": "failed", "d": "skipped"}
    theirs = {"a": "passed", "b": "passed", "c": "failed"}
    assert foreign.compared({"onggid": ours, "dockerd": theirs}).splitlines()[2:] == [
        "| onggid | 1 | 2 | 1 |",
        "| dockerd | 2 | 1 | 0 |",
        *("", "onggid failed, dockerd failed: 1", "  c"),
        *("", "onggid failed, dockerd passed: 1", "  b"),
        *("", "onggid skipped, dockerd absent: 1", "  d"),
    ]


@pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="busybox is not installed")
@pytest.mark.parametrize("programs", [(), ("sh",), (stand_ins.PYTHON,)])
def test_roots_have_each_name_once(programs):
    """docker refuses an archive with a name twice."""
    root = stand_ins.root_with(programs, "/usr/bin:/bin")
    with tarfile.open(fileobj=io.BytesIO(root)) as archive:
        names = archive.getnames()
    assert len(names) == len({*names})
    assert {"bin/sh", "hello", "etc/passwd"} <= {*names}
    assert ("lib/x86_64-linux-gnu/libc.so.6" in names) == bool(programs)
