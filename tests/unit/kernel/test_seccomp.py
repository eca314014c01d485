"""What compiled profiles decide, asked of a small interpreter of classic BPF."""

import ctypes
import errno
import json
import platform
import struct

import pytest

from onggi.containers.seccomp import DEFAULT_PROFILE
from onggi.errors import InvalidArgument, Unsupported
from onggi.kernel import seccomp

ALLOW, KILL, TRAP = 0x7FFF0000, 0, 0x00030000
X86_64, I386, AARCH64, PPC64LE = 0xC000003E, 0x40000003, 0xC00000B7, 0xC0000015
# Numbers of the machine that runs the tests.
NUMBERS = {
    "x86_64": {
        "read": 0, "socket": 41, "clone": 56, "personality": 135, "mount": 165, "reboot": 169, "unshare": 272,
        "open_by_handle_at": 304, "ptrace": 101, "bpf": 321, "clone3": 435, "keyctl": 250, "chroot": 161,
        "io_uring_setup": 425, "fsopen": 430, "getpid": 39, "arch_prctl": 158,
    },
    "aarch64": {
        "read": 63, "socket": 198, "clone": 220, "personality": 92, "mount": 40, "reboot": 142, "unshare": 97,
        "open_by_handle_at": 265, "ptrace": 117, "bpf": 280, "clone3": 435, "keyctl": 219, "chroot": 51,
        "io_uring_setup": 425, "fsopen": 430, "getpid": 172,
    },
}  # fmt: skip
MACHINE = platform.machine()
NATIVE = {"x86_64": X86_64, "aarch64": AARCH64}.get(MACHINE, 0)
DOCKER_CAPS = frozenset(
    f"CAP_{name}"
    for name in [
        "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
        "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
    ]
)  # fmt: skip
AF_INET, AF_ALG, AF_KCM, AF_VSOCK = 2, 38, 41, 40


def errno_of(number):
    return 0x00050000 | number


EPERM, ENOSYS = errno_of(errno.EPERM), errno_of(errno.ENOSYS)


def run(program, number, *args, arch=NATIVE):
    """The filter's answer: BPF of linux/bpf_common.h over struct seccomp_data."""
    data = struct.pack("=iIQ6Q", number, arch, 0, *(*args, 0, 0, 0, 0, 0, 0)[:6])
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, position = 0, 0
    while True:
        code, if_true, if_false, value = instructions[position]
        position += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, value)[0]
            case 0x54:
                accumulator &= value
            case 0x05:
                position += value
            case 0x15:
                position += if_true if accumulator == value else if_false
            case 0x25:
                position += if_true if accumulator > value else if_false
            case 0x35:
                position += if_true if accumulator >= value else if_false
            case 0x45:
                position += if_true if accumulator & value else if_false
            case 0x06:
                return value
            case _:
                raise AssertionError(f"unexpected instruction {code:#x}")


def decide(program, name, *args):
    return run(program, NUMBERS[MACHINE][name], *args)


@pytest.fixture(scope="module")
def default():
    with open(DEFAULT_PROFILE) as file:
        return json.load(file)


@pytest.fixture(scope="module")
def program(default):
    return seccomp.compile_profile(default, DOCKER_CAPS, MACHINE)


@pytest.mark.parametrize(
    ("name", "args", "answer"),
    [
        ("read", (), ALLOW),
        ("chroot", (), ALLOW),
        ("ptrace", (), ALLOW),
        ("mount", (), EPERM),
        ("unshare", (), EPERM),
        ("fsopen", (), EPERM),
        ("reboot", (), EPERM),
        ("bpf", (), EPERM),
        ("keyctl", (), EPERM),
        ("io_uring_setup", (), EPERM),
        ("open_by_handle_at", (), EPERM),
        ("clone3", (), ENOSYS),
        ("clone", (0x11,), ALLOW),
        ("clone", (0x10000000,), EPERM),
        ("clone", (0x20000 | 0x11,), EPERM),
        ("socket", (AF_INET,), ALLOW),
        ("socket", (AF_ALG,), EPERM),
        ("socket", (39,), ALLOW),
        ("socket", (AF_VSOCK,), EPERM),
        ("socket", (AF_KCM,), ALLOW),
        ("personality", (0,), ALLOW),
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x0040000,), EPERM),
    ],
)
def test_docker_default(program, name, args, answer):
    assert decide(program, name, *args) == answer


def test_the_tree_answers_as_the_list_does(default, monkeypatch):
    oci = seccomp.docker_to_oci(default, DOCKER_CAPS, "x86_64", (6, 1))
    tree = seccomp.compile_oci(oci)
    monkeypatch.setattr(seccomp, "_TREE", 1)
    linear = seccomp.compile_oci(oci)
    asked = [(number, 0) for number in range(-1, 520)]
    flags = (1, 8, 0x11, AF_ALG, AF_VSOCK, 0x20008, 0x10000000, 0x7E020000, 0xFFFFFFFF, 1 << 40)
    asked += [
        (NUMBERS["x86_64"][name], flag) for name in ("clone", "socket", "personality") for flag in flags
    ]
    asked += [(number, flag) for number in (120, 136, 359) for flag in flags]  # those of i386
    for arch, bit in ((X86_64, 0), (X86_64, 0x40000000), (I386, 0), (AARCH64, 0)):
        for number, flag in asked:
            wanted = run(linear, number | bit, flag, arch=arch)
            assert run(tree, number | bit, flag, arch=arch) == wanted, (hex(arch), number, hex(flag))
    assert tree != linear


def test_numbers_that_nobody_knew_yet_are_not_implemented(program):
    assert run(program, 5000) == ENOSYS


def test_all_architectures_of_an_x86_64_machine(default):
    program = seccomp.compile_oci(seccomp.docker_to_oci(default, DOCKER_CAPS, "x86_64", (6, 1)))
    assert run(program, 3, arch=I386) == ALLOW  # read
    assert run(program, 21, arch=I386) == EPERM  # mount
    assert run(program, 5000, arch=I386) == ENOSYS
    assert run(program, 0x40000000, arch=X86_64) == ALLOW  # x32 read
    assert run(program, 0x40000000 | 165, arch=X86_64) == EPERM  # x32 mount
    assert run(program, 0x40000000 | 5000, arch=X86_64) == ENOSYS
    assert run(program, 3, arch=PPC64LE) == KILL


@pytest.mark.parametrize(
    ("cap", "name"),
    [
        ("SYS_ADMIN", "mount"),
        ("SYS_BOOT", "reboot"),
        ("DAC_READ_SEARCH", "open_by_handle_at"),
        ("BPF", "bpf"),
    ],
)
def test_capabilities_open_their_calls(default, cap, name):
    assert decide(seccomp.compile_profile(default, DOCKER_CAPS | {f"CAP_{cap}"}, MACHINE), name) == ALLOW


def test_sys_admin_lifts_what_it_excludes(default):
    program = seccomp.compile_profile(default, DOCKER_CAPS | {"CAP_SYS_ADMIN"}, MACHINE)
    assert decide(program, "clone3") == ALLOW
    assert decide(program, "clone", 0x10000000) == ALLOW


def test_rules_for_newer_kernels_wait(default):
    program = seccomp.compile_profile(default, DOCKER_CAPS, MACHINE, (4, 7))
    assert decide(program, "ptrace") == EPERM


RULE = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ({}, True),
        ({"includes": {"caps": ["CAP_A", "CAP_B"]}}, True),
        ({"includes": {"caps": ["CAP_A", "CAP_Z"]}}, False),
        ({"excludes": {"caps": ["CAP_Z", "CAP_A"]}}, False),
        ({"excludes": {"caps": ["CAP_Z"]}}, True),
        ({"includes": {"arches": ["amd64"]}}, True),
        ({"includes": {"arches": ["arm64"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "5.10"}}, True),
        ({"includes": {"minKernel": "5.11"}}, False),
        ({"excludes": {"minKernel": "5.10"}}, False),
        ({"excludes": {"minKernel": "6.0"}}, True),
    ],
)
def test_which_rules_hold(filters, holds):
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{**RULE, **filters}]}
    found = seccomp.docker_to_oci(profile, frozenset({"CAP_A", "CAP_B"}), "x86_64", (5, 10))
    assert bool(found["syscalls"]) == holds


def test_architectures_come_from_the_map_of_the_machine():
    entries = [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": None},
    ]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "archMap": entries}
    assert seccomp.docker_to_oci(profile, frozenset(), "x86_64", (6, 0))["architectures"] == [
        "SCMP_ARCH_X86_64", "SCMP_ARCH_X86",
    ]  # fmt: skip
    assert seccomp.docker_to_oci(profile, frozenset(), "aarch64", (6, 0))["architectures"] == [
        "SCMP_ARCH_AARCH64"
    ]
    assert seccomp.docker_to_oci(profile, frozenset(), "riscv64", (6, 0))["architectures"] == []


def test_an_empty_profile_is_no_filter():
    assert seccomp.compile_profile({}, frozenset(), MACHINE) == b""


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x"], "archMap": [{}]},
            "'architectures' and 'archMap'",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**RULE, "name": "read"}]}, "'name' and 'names'"),
        ({"defaultAction": "SCMP_ACT_NONE"}, "SCMP_ACT_NONE"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**RULE, "includes": {"minKernel": "x"}}]},
            "kernel version",
        ),
        (
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{**RULE, "args": [{"index": 9, "op": "SCMP_CMP_EQ", "value": 0}]}],
            },
            "condition",
        ),
    ],
)
def test_wrong_profiles_are_refused(profile, words):
    with pytest.raises(InvalidArgument, match=words):
        seccomp.compile_profile(profile, frozenset(), MACHINE)


def oci(default_action, *rules, **more):
    return seccomp.compile_oci({"defaultAction": default_action, "syscalls": list(rules), **more})


def test_default_errno_and_errno_of_a_rule():
    program = oci(
        "SCMP_ACT_ERRNO",
        {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9},
        {"names": ["read"], "action": "SCMP_ACT_TRAP"},
        {"names": ["clone3"], "action": "SCMP_ACT_ALLOW"},
        defaultErrnoRet=12,
    )
    assert decide(program, "getpid") == errno_of(9)
    assert decide(program, "read") == TRAP
    assert decide(program, "mount") == errno_of(12)
    assert run(program, 5000) == ENOSYS


def test_an_allowing_default_stays_open_to_the_future():
    program = oci("SCMP_ACT_ALLOW", {"names": ["mount"], "action": "SCMP_ACT_KILL_PROCESS"})
    assert run(program, 5000) == ALLOW
    assert decide(program, "mount") == 0x80000000


def test_arguments_are_anded_and_repeated_ones_ored():
    def condition(index, value, op="SCMP_CMP_EQ", two=0):
        return {"index": index, "value": value, "valueTwo": two, "op": op}

    both = {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [condition(0, 1), condition(1, 2)]}
    either = {
        "names": ["personality"],
        "action": "SCMP_ACT_ALLOW",
        "args": [condition(0, 1), condition(0, 2)],
    }
    masked = {
        "names": ["keyctl"], "action": "SCMP_ACT_ALLOW",
        "args": [condition(0, 0xF0, "SCMP_CMP_MASKED_EQ", 0x10)],
    }  # fmt: skip
    program = oci("SCMP_ACT_ERRNO", both, either, masked)
    assert decide(program, "socket", 1, 2) == ALLOW
    assert decide(program, "socket", 1, 3) == EPERM
    assert [decide(program, "personality", value) for value in (1, 2, 3)] == [ALLOW, ALLOW, EPERM]
    assert [decide(program, "keyctl", value) for value in (0x1F, 0x2F)] == [ALLOW, EPERM]
    # All 64 bits of an argument count.
    assert decide(program, "personality", 1 << 32 | 1) == EPERM


def test_unknown_names_and_rules_without_effect_are_left_out():
    program = oci(
        "SCMP_ACT_ERRNO",
        {"names": ["no_such_call", "read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO"},
    )
    assert decide(program, "read") == ALLOW
    assert decide(program, "mount") == EPERM


@pytest.mark.parametrize(
    "asked",
    [
        {"listenerPath": "/run/agent.sock"},
        {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]},
        {"architectures": ["SCMP_ARCH_PDP11"]},
    ],
)
def test_what_we_do_not_do_is_refused_by_name(asked):
    with pytest.raises(Unsupported, match=r"listenerPath|SCMP_ACT_NOTIFY|PDP11"):
        seccomp.compile_oci({"defaultAction": "SCMP_ACT_ALLOW", **asked})


def test_without_the_library_only_compiling_fails(monkeypatch):
    def missing(name, **_):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(Unsupported, match=r"libseccomp\.so\.2"):
        oci("SCMP_ACT_ALLOW")
