"""Holes of the kernel, which `doctor` names, and hooks, which get nothing of the image (rules R4, R28)."""

import pytest

from bundles import Bundle, configuration
from onggi.daemon.kernel_fixes import missing_fixes
from onggi.kernel.features import MINIMUM


@pytest.mark.parametrize(
    ("release", "hole"),
    [
        ("5.10.90", "CVE-2022-0185"),
        ("5.10.90", "CVE-2022-0492"),
        ("5.15.20", "CVE-2022-0847"),
        ("6.1.8", "CVE-2023-0386"),
        ("6.1.70", "CVE-2024-1086"),
    ],
)
def test_cve_2022_0847_and_others_are_named_by_doctor(release, hole):
    """CVE-2023-0386, CVE-2024-1086, CVE-2022-0185, CVE-2022-0492: a kernel without the fix is told about."""
    assert hole in [fix.cve for fix in missing_fixes(release, "")]
    assert missing_fixes("6.18.0", "") == []


def test_cve_2016_5195_kernels_with_older_holes_are_too_old_for_us():
    """CVE-2015-8660, CVE-2016-1576, CVE-2017-5123: the newest of them was closed in Linux 4.14."""
    assert MINIMUM > (4, 14)


@pytest.fixture
def bundle(tmp_path):
    made = Bundle(tmp_path)
    yield made
    made.destroy()


def test_cve_2025_23266_hooks_see_no_variable_of_the_image(bundle):
    """CVE-2024-0132, CVE-2025-23359: LD_PRELOAD and PATH of the container are not those of a host's hook."""
    trail = bundle.directory / "trail"
    config = configuration(["/bin/true"], env=["LD_PRELOAD=/evil.so", "PATH=/evil", "SECRET=1"])
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"env >> {trail}; pwd >> {trail}"]}
    names = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    bundle.configure(config | {"hooks": {name: [hook] for name in names}})
    bundle.create()
    bundle("start", bundle.id)
    bundle("delete", "--force", bundle.id)
    seen = trail.read_text()
    assert sum(line.startswith("PATH=") for line in seen.splitlines()) == len(names)
    assert "evil" not in seen
    assert "SECRET" not in seen
