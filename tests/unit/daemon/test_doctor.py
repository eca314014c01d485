"""doctor and the machine's facts."""

from __future__ import annotations

from typing import Any

import msgspec

from onggi.daemon import doctor, system
from onggi.daemon.doctor import Findings
from onggi.daemon.kernel_fixes import missing_fixes, parse_version
from onggi.daemon.machine import Machine, parse_meminfo, parse_os_release
from onggi.kernel.capabilities import NAMES
from onggi.kernel.cgroups import Hierarchies
from onggi.kernel.features import Features

LIMITS = (*doctor._LIMITS, "CpuCfsPeriod", "OomKillDisable")
GOOD = Machine(
    name="box",
    kernel="6.18.0",
    kernel_build="#1 SMP",
    architecture="x86_64",
    os_name="Debian GNU/Linux 12 (bookworm)",
    os_version="12",
    cpus=2,
    memory=1 << 33,
    hierarchies=Hierarchies(()),
    limits=dict.fromkeys(LIMITS, True),
    features=Features((6, 18), "x86_64", True, True, True, True, True, (1 << 41) - 1),
    capabilities=frozenset(NAMES),
    filesystems=frozenset(("overlay", "ext4")),
)


def problems(facts: Machine, **found: Any) -> dict[str, str]:
    findings = Findings(**{"max_user_namespaces": "1000", "boots": True, **found})
    checks = doctor.examine(facts, findings)
    return {check.name: check.remedy for check in checks if check.status in ("missing", "limited")}


def test_a_good_machine_lacks_only_what_is_not_mounted_in_this_test() -> None:
    assert problems(GOOD) == {"control groups": "mount the cgroup file systems"}


def test_every_lack_is_named_with_its_remedy() -> None:
    facts = msgspec.structs.replace(
        GOOD,
        kernel="5.4.0",
        features=GOOD.features._replace(kernel=(5, 4), mount_setattr=False),
        capabilities=frozenset(NAMES) - {"CAP_SYS_RESOURCE"},
        limits={**GOOD.limits, "SwapLimit": False, "PidsLimit": False},
        filesystems=frozenset(),
    )
    found = problems(facts, libseccomp=False, nft=False, max_user_namespaces="0", always=2, boots=False)
    assert found["version"] == "boot Linux 5.10 or newer"
    assert found["--memory-swap"].startswith("add swapaccount=1")
    assert found["start at boot"] == "onggi daemon --install"
    names = {"CAP_SYS_RESOURCE", "--pids-limit", "overlay", "seccomp", "nft", "user namespaces"}
    assert names <= set(found)
    assert all(found.values())


def test_the_ceiling_of_limits_is_named_where_it_cannot_be_raised() -> None:
    found = Findings(hard_limits={"RLIMIT_NOFILE": 4096, "RLIMIT_CORE": 0})
    lacking = msgspec.structs.replace(GOOD, capabilities=frozenset(NAMES) - {"CAP_SYS_RESOURCE"})
    details = {check.name: check.detail for check in doctor.examine(lacking, found)}
    assert details["--ulimit"] == "at most core=0, nofile=4096"
    assert "--ulimit" not in {check.name for check in doctor.examine(GOOD, found)}


def test_kernel_versions() -> None:
    assert parse_version("6.1.0-18-amd64", "#1 SMP Debian 6.1.76-1 (2024-02-01)") == (6, 1, 76)
    assert parse_version("5.15.80", "#1") == (5, 15, 80)
    assert [fix.cve for fix in missing_fixes("6.1.0-18-amd64", "Debian 6.1.76-1")] == []
    assert [fix.cve for fix in missing_fixes("6.1.70", "")] == ["CVE-2024-1086"]
    assert "CVE-2022-0847" in [fix.cve for fix in missing_fixes("5.10.90", "")]
    assert missing_fixes("6.18.0", "") == []


def test_facts_are_parsed() -> None:
    release = parse_os_release('PRETTY_NAME="A B"\nVERSION_ID=12\n# x=y\n')
    assert release == {"PRETTY_NAME": "A B", "VERSION_ID": "12"}
    memory = parse_meminfo("MemTotal:  16 kB\nHugePages_Total: 0\n")
    assert memory == {"MemTotal": 16384, "HugePages_Total": 0}


def test_version_has_dockers_shape() -> None:
    body = system.version(GOOD, "2026-01-01T00:00:00.000000000+00:00")
    flat = {"Version", "ApiVersion", "MinAPIVersion", "GitCommit", "GoVersion", "Os", "Arch"}
    assert flat | {"KernelVersion", "BuildTime"} <= set(body)
    assert body["Components"][0]["Name"] == "Engine"
    assert all(isinstance(value, str) for value in body["Components"][0]["Details"].values())
    assert body["Arch"] == "amd64"


def test_missing_limits_are_warned_of_in_dockers_words() -> None:
    facts = msgspec.structs.replace(GOOD, limits={**GOOD.limits, "SwapLimit": False})
    assert system.warnings(facts) == ["WARNING: No swap limit support"]
