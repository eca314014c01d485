"""System call filters: from profiles to BPF by libseccomp, and BPF into the kernel by seccomp(2).

``docker_to_oci`` is pure: which rules of a docker-format profile hold for these capabilities, this
architecture and kernel. ``compile_oci`` needs libseccomp.so.2, found when called, so that a machine without
it can still run programs compiled elsewhere; ``load`` needs nothing but the kernel.
Source: runtime-spec config-linux.md "Seccomp", moby's profile format, seccomp_rule_add(3).

May import: errors and ``syscalls``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from ctypes import POINTER, c_char_p, c_int, c_uint, c_uint32, c_uint64, c_void_p
from typing import Any

from onggi.errors import InvalidArgument, KernelError, Unsupported
from onggi.kernel import syscalls

Json = Any
Foreign = Any  # what ctypes cannot type

_LIBRARY = "libseccomp.so.2"
_ERRNO, _TRACE = 0x00050000, 0x7FF00000
_ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_TRACE": _TRACE,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_ALLOWING = (_ACTIONS["SCMP_ACT_ALLOW"], _ACTIONS["SCMP_ACT_LOG"])
_OPERATORS = {
    name: number + 1
    for number, name in enumerate(
        f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
    )
}  # fmt: skip
# uname(2)'s machine -> (name in a profile's "arches", architecture in its "archMap").
_MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "i686": ("x86", "SCMP_ARCH_X86"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "loongarch64": ("loong64", "SCMP_ARCH_LOONGARCH64"),
}
_X32_BIT = 0x40000000
# seccomp_attr_set(3), libseccomp 2.5: search the number in a tree, not in a list.
_OPTIMIZE, _TREE = 8, 2
_AUDIT_X86_64, _SCMP_X32 = 0xC000003E, 0x4000003E
# Classic BPF, linux/bpf_common.h: load word, jumps, return. Offsets in struct seccomp_data.
_LD, _JA, _JEQ, _JGT, _JGE, _RET = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
_NUMBER_AT, _ARCH_AT = 0, 4


class _Condition(ctypes.Structure):
    _fields_ = (("arg", c_uint), ("op", c_int), ("datum_a", c_uint64), ("datum_b", c_uint64))


class _Library:
    """libseccomp, with argument types declared."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(_LIBRARY, use_errno=True)
        except OSError:
            raise Unsupported(f"seccomp profiles need {_LIBRARY}, which is not installed") from None
        self.init = self._declare(library.seccomp_init, c_void_p, c_uint32)
        self.release = self._declare(library.seccomp_release, None, c_void_p)
        self.attr_set = self._declare(library.seccomp_attr_set, c_int, c_void_p, c_int, c_uint32)
        self.arch_add = self._declare(library.seccomp_arch_add, c_int, c_void_p, c_uint32)
        self.arch_name = self._declare(library.seccomp_arch_resolve_name, c_uint32, c_char_p)
        self.arch_native = self._declare(library.seccomp_arch_native, c_uint32)
        self.syscall = self._declare(library.seccomp_syscall_resolve_name_arch, c_int, c_uint32, c_char_p)
        self.rule_add = self._declare(
            library.seccomp_rule_add_array, c_int, c_void_p, c_uint32, c_int, c_uint, POINTER(_Condition)
        )
        self.export = self._declare(library.seccomp_export_bpf, c_int, c_void_p, c_int)

    @staticmethod
    def _declare(function: Foreign, restype: Foreign, *argtypes: Foreign) -> Foreign:
        function.restype, function.argtypes = restype, argtypes
        return function


def compile_profile(
    profile: Json, caps: frozenset[str], arch: str, kernel: tuple[int, int] | None = None
) -> bytes:
    """BPF of a docker-format profile for a process with these capabilities ("CAP_X") on this machine.

    ``arch`` is uname's machine, ``kernel`` its version (default: ours). Empty for an empty profile.
    """
    converted = docker_to_oci(profile, caps, arch, kernel or _version(os.uname().release))
    return compile_oci(converted) if converted else b""


def docker_to_oci(profile: Json, caps: frozenset[str], arch: str, kernel: tuple[int, int]) -> Json:
    """The OCI ``linux.seccomp`` of a docker-format profile, or None if it asks for nothing.

    Raises InvalidArgument for what moby refuses too, in its words.
    """
    if not profile.get("defaultAction") and not profile.get("syscalls"):
        return None
    if profile.get("architectures") and profile.get("archMap"):
        raise InvalidArgument(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    native, token = _MACHINES.get(arch, (arch, ""))
    architectures = list(profile.get("architectures") or [])
    for entry in profile.get("archMap") or []:
        if entry["architecture"] == token:
            architectures = [token, *(entry.get("subArchitectures") or [])]
            break
    rules = [_names(rule) for rule in profile.get("syscalls") or []]
    holding = [rule for rule in rules if _holds(rule, caps, native, kernel)]
    copied = {key: profile[key] for key in ("defaultErrnoRet", "flags", "listenerPath") if key in profile}
    return {
        "defaultAction": profile.get("defaultAction", ""), **copied,
        "architectures": architectures, "syscalls": holding,
    }  # fmt: skip


def compile_oci(linux_seccomp: Json) -> bytes:
    """BPF of an OCI ``linux.seccomp``: an array of ``struct sock_filter``.

    System calls younger than every one the profile names get ENOSYS where the default is a refusal, so that
    programs fall back (as runc does). Names this libseccomp does not know are left out.
    Raises InvalidArgument for a wrong profile, Unsupported for notification and without libseccomp.
    """
    if linux_seccomp.get("listenerPath"):
        raise Unsupported("linux.seccomp.listenerPath: seccomp notification is not supported")
    default = _action(linux_seccomp.get("defaultAction") or "", linux_seccomp.get("defaultErrnoRet"))
    library = _Library()
    architectures = [_architecture(library, name) for name in linux_seccomp.get("architectures") or []]
    rules = linux_seccomp.get("syscalls") or []
    context = library.init(default)
    if not context:
        raise InvalidArgument(
            f"seccomp: default action {linux_seccomp['defaultAction']} is not possible here"
        )
    try:
        # The kernel asks a new filter for every number, to remember what depends on nothing else: of a list
        # that takes longer than all else of becoming a container's user (seen).
        library.attr_set(context, _OPTIMIZE, _TREE)  # a library that knows no trees refuses
        for token in architectures:
            _check(library.arch_add(context, token), "seccomp_arch_add", hex(token), allowed=(errno.EEXIST,))
        for rule in rules:
            _add_rule(library, context, rule, default)
        program = _export(library, context)
    finally:
        library.release(context)
    if default in _ALLOWING or default == _ERRNO | errno.ENOSYS:
        return program
    names = {name for rule in rules for name in rule.get("names") or ()}
    return unknown_stub(_youngest(library, {library.arch_native(), *architectures}, names)) + program


def load(program: bytes, flags: int = 0) -> None:
    """Filter this thread for ever; needs no_new_privs or CAP_SYS_ADMIN. ``flags`` are those of seccomp(2)."""
    syscalls.seccomp_filter(program, flags)


def unknown_stub(youngest: dict[int, int]) -> bytes:
    """BPF to put before a filter: ENOSYS for numbers above the youngest known one of each architecture.

    ``youngest`` maps libseccomp's architecture tokens to numbers. x32 shares x86_64's audit architecture and
    is told by a bit of the number; without x32 its numbers are all unknown.
    """
    plain = {arch: number for arch, number in youngest.items() if arch != _SCMP_X32}
    x32 = youngest.get(_SCMP_X32)
    blocks = []
    for arch, number in sorted(plain.items()):
        checks = _above(number)
        if arch == _AUDIT_X86_64 and x32 is not None:
            other = _above(x32, len(checks))
            checks = [_bpf(_JGE, _X32_BIT, 0, len(other)), *other, *checks]
        blocks.append((arch, [_bpf(_LD, _NUMBER_AT), *checks]))
    code: list[bytes] = []
    for arch, block in reversed(blocks):
        # Each block ends by leaving over all later ones: a jump of the right length is put behind it.
        code = [_bpf(_JEQ, arch, 0, len(block) + 1), *block, _bpf(_JA, len(code)), *code]
    return b"".join([_bpf(_LD, _ARCH_AT), *code])


def _above(number: int, over: int = 0) -> list[bytes]:
    """Refuse greater numbers; what is not greater goes on behind, ``over`` instructions further."""
    return [_bpf(_JGT, number, 0, 1 + over), _bpf(_RET, _ERRNO | errno.ENOSYS)]


def _bpf(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _names(rule: Json) -> Json:
    """A rule whose "names" are filled; the old format has one "name"."""
    if not rule.get("name"):
        return rule
    if rule.get("names"):
        raise InvalidArgument(
            "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
        )
    return {**rule, "names": [rule["name"]]}


def _holds(rule: Json, caps: frozenset[str], native: str, kernel: tuple[int, int]) -> bool:
    excludes, includes = rule.get("excludes") or {}, rule.get("includes") or {}
    if native in (excludes.get("arches") or ()) or caps & set(excludes.get("caps") or ()):
        return False
    if excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]):
        return False
    if includes.get("arches") and native not in includes["arches"]:
        return False
    if not caps >= set(includes.get("caps") or ()):
        return False
    return not includes.get("minKernel") or kernel >= _version(includes["minKernel"])


def _version(text: str) -> tuple[int, int]:
    words = text.replace("-", ".").split(".")
    if len(words) < 2 or not (words[0].isdigit() and words[1].isdigit()):
        raise InvalidArgument(f"invalid kernel version {text!r} in the seccomp profile")
    return int(words[0]), int(words[1])


def _action(name: str, number: int | None) -> int:
    """The return value of an action, with its errno (EPERM by default) where it has one."""
    if name == "SCMP_ACT_NOTIFY":
        raise Unsupported("SCMP_ACT_NOTIFY: seccomp notification is not supported")
    if name not in _ACTIONS:
        raise InvalidArgument(f"invalid seccomp action {name!r}")
    action = _ACTIONS[name]
    if action in (_ERRNO, _TRACE):
        return action | ((errno.EPERM if number is None else number) & 0xFFFF)
    return action


def _architecture(library: _Library, name: str) -> int:
    token = library.arch_name(name.removeprefix("SCMP_ARCH_").lower().encode())
    if not token:
        raise Unsupported(f"linux.seccomp.architectures: {name} is not known to libseccomp here")
    return int(token)


def _add_rule(library: _Library, context: int, rule: Json, default: int) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:
        return  # libseccomp refuses what changes nothing
    conditions = [_condition(argument) for argument in rule.get("args") or []]
    indexes = [condition.arg for condition in conditions]
    # One call's conditions are ANDed by the library, which takes one for each argument; several for the same
    # argument have always meant OR (runc), that is, a rule for each.
    groups = [conditions] if len(set(indexes)) == len(indexes) else [[c] for c in conditions]
    for name in rule.get("names") or ():
        number = library.syscall(library.arch_native(), name.encode())
        if number == -1:
            continue
        for group in groups:
            array = (_Condition * len(group))(*group)
            _check(library.rule_add(context, action, number, len(group), array), "seccomp_rule_add", name)


def _condition(argument: Json) -> _Condition:
    operator = _OPERATORS.get(argument["op"])
    values = argument.get("value") or 0, argument.get("valueTwo") or 0
    if (
        operator is None
        or not 0 <= argument["index"] <= 5
        or not all(0 <= value < 1 << 64 for value in values)
    ):
        raise InvalidArgument(f"invalid seccomp argument condition {argument}")
    return _Condition(argument["index"], operator, *values)


def _export(library: _Library, context: int) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        _check(library.export(context, fd), "seccomp_export_bpf", "")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def _youngest(library: _Library, architectures: set[int], names: set[str]) -> dict[int, int]:
    found = {}
    for token in architectures:
        numbers = [library.syscall(token, name.encode()) for name in names]
        found[token] = max([number for number in numbers if number >= 0], default=0)
    return {token: number for token, number in found.items() if number}


def _check(result: int, call: str, what: str, allowed: tuple[int, ...] = ()) -> None:
    if result < 0 and -result not in allowed:
        raise KernelError(call, -result, what)
