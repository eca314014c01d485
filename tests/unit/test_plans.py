"""Plans as golden files: `describe` of bundles compared with tests/data/plans/*.txt.

When a plan changes on purpose: `ONGGI_GOLDEN=write pytest tests/unit/test_plans.py`, then read the diff.
"""

import json
import os
from pathlib import Path

import pytest

from onggi.errors import InvalidArgument, Unsupported
from onggi.kernel.features import Features
from onggi.runtime import plan as plans
from onggi.runtime.compile import Environment, compile_plan
from onggi.runtime.plan import Overlay, Root

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "plans"
FEATURES = Features((6, 12), "x86_64", True, True, True, True, True, (1 << 41) - 1)
DIRECTORY = Root("/bundle/rootfs", "/bundle/rootfs", ())
LAYERS = Overlay("/", ("/layers/2", "/layers/1"), "/run/upper", "/run/work", (), False)
OVERLAY = Root("/run/root", "", (LAYERS,))
V1 = (("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/x"), ("pids", "/sys/fs/cgroup/pids/x"))
V2 = (("", "/sys/fs/cgroup/x"),)
STRICT = ["nosuid", "noexec", "nodev"]
BASIC = [
    {"destination": "/proc", "type": "proc", "options": STRICT},
    {"destination": "/dev", "type": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]},
    {"destination": "/dev/pts", "type": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": [*STRICT, "ro"]},
]
ALL = ("pid", "mount", "uts", "ipc", "network", "cgroup")


def configuration(linux=None, process=None, **other):
    return {
        "ociVersion": "1.0.2",
        "process": {"args": ["true"], "env": ["PATH=/bin"], "cwd": "/", **(process or {})},
        "root": {"path": "rootfs"},
        "mounts": BASIC,
        "linux": {"namespaces": [{"type": name} for name in ALL], "cgroupsPath": "/x", **(linux or {})},
        **other,
    }


def bind(target, *options):
    return {"destination": target, "source": "/srv", "type": "bind", "options": ["rbind", *options]}


CASES = {
    "default-v1": (configuration(), OVERLAY, V1),
    "default-v2": (configuration(), OVERLAY, V2),
    "directory": (configuration(root={"path": "rootfs", "readonly": True}), DIRECTORY, V2),
    "host-network": (
        configuration({"namespaces": [{"type": "pid"}, {"type": "network", "path": "/proc/1/ns/net"}]}),
        DIRECTORY,
        V2,
    ),
    "terminal": (
        configuration(process={"terminal": True, "consoleSize": {"height": 24, "width": 80}}),
        DIRECTORY,
        V2,
    ),
    "mounts": (
        configuration(mounts=[*BASIC, bind("/data", "ro"), bind("/shared", "rshared", "nosuid")]),
        DIRECTORY,
        V2,
    ),
    "limits": (
        configuration(
            {
                "resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 10}},
                "sysctl": {"net.core.somaxconn": "128"},
                "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}],
                "maskedPaths": ["/proc/kcore"],
                "readonlyPaths": ["/proc/sys"],
                "personality": {"domain": "LINUX32"},
                "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1,3"},
            },
            {
                "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
                "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
                "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3},
                "cwd": "/work",
                "oomScoreAdj": 100,
            },
            hostname="box",
            domainname="example",
        ),
        DIRECTORY,
        V2,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_plans_are_as_checked_in(name):
    config, root, dirs = CASES[name]
    text = plans.describe(compile_plan(config, Environment(FEATURES, root, dirs)))
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ONGGI_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", CASES)
def test_plans_survive_the_trip_through_json(name):
    config, root, dirs = CASES[name]
    text = json.dumps(plans.dump(compile_plan(config, Environment(FEATURES, root, dirs))))
    assert json.dumps(plans.dump(plans.load(json.loads(text)))) == text


def own(*namespaces):
    return {"namespaces": [{"type": name} for name in namespaces]}


REFUSED = [
    (configuration({"namespaces": [{"type": "user"}]}), Unsupported, "user namespaces"),
    (configuration(mounts=[bind("/proc")]), InvalidArgument, "inside /proc"),
    (configuration(mounts=[bind("/proc/sys")]), InvalidArgument, "inside /proc"),
    (configuration(mounts=[bind("/data", "idmap")]), Unsupported, "'idmap'"),
    (configuration({"sysctl": {"kernel.panic": "1"}}), InvalidArgument, "not in a separate"),
    (
        configuration({"sysctl": {"net.core.x": "1"}, **own("pid")}),
        InvalidArgument,
        "hosts network namespace",
    ),
    (configuration({"sysctl": {"kernel.msgmax": "1"}, **own("pid")}), InvalidArgument, "hosts IPC namespace"),
    (configuration({"sysctl": {"net/../kernel/panic": "1"}}), InvalidArgument, "not a valid name"),
    (configuration(own("pid"), hostname="x"), InvalidArgument, "hostname needs a uts namespace"),
    (configuration(process={"args": []}), InvalidArgument, "no command"),
    (configuration(process={"cwd": "tmp"}), InvalidArgument, "absolute"),
    (configuration(process={"user": {"uid": 2**32 - 1}}), InvalidArgument, "between 0 and"),
    (configuration(process={"oomScoreAdj": 1001}), InvalidArgument, "oomScoreAdj"),
    (configuration(process={"scheduler": {"policy": "X"}}), InvalidArgument, "unsupported policy"),
    (configuration({"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "x"}}), InvalidArgument, "nodes"),
    (configuration({"personality": {"domain": "BSD"}}), InvalidArgument, "unknown domain"),
]


@pytest.mark.parametrize(("config", "error", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_what_a_bundle_may_not_ask_for(config, error, words):
    with pytest.raises(error, match=words):
        compile_plan(config, Environment(FEATURES, DIRECTORY, V2))
