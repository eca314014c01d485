"""Device access: the rules of ``linux.resources.devices``, and the BPF program that enforces them on v2.

v1 takes the rules as text (``devices.allow``, ``devices.deny``); v2 asks a BPF program of type CGROUP_DEVICE
for each access: runtime-spec config-linux.md "Allowed Device list", bpf(2), linux/bpf.h. As on v1 the last
rule that matches decides, so the program asks them last to first. Assembling is pure; ``attach`` loads.

May import: errors and ``syscalls``.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Any, NamedTuple

from onggi.errors import InvalidArgument, KernelError, Unsupported
from onggi.kernel.syscalls import address_of, bpf

Json = Any

# Instruction classes and operations of linux/bpf.h, as used below.
_LDX_W, _MOV_IMM, _MOV_REG, _AND_IMM, _RSH_IMM, _EXIT = 0x61, 0xB4, 0xBC, 0x54, 0x74, 0x95
_JNE_IMM, _JNE_REG = 0x55, 0x5D
_ACCESS_BITS = {"m": 1, "r": 2, "w": 4}
_TYPE_NUMBERS = {"b": 1, "c": 2}
# Registers of the program; the context holds u32 access_type (access << 16 | type), major, minor.
_RESULT, _CONTEXT, _TYPE, _ACCESS, _MAJOR, _MINOR, _SCRATCH = 0, 1, 2, 3, 4, 5, 6

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI = 15, 6, 2
_MOST_PROGRAMS = 64


class Rule(NamedTuple):
    """Allow or deny ``access`` (of "rwm") to devices; ``kind`` is "a", "b" or "c", None means any number."""

    allow: bool
    kind: str
    major: int | None
    minor: int | None
    access: str

    def text(self) -> str:
        """The line for v1's files; "a" alone means everything."""
        if self.kind == "a":
            return "a"
        major, minor = ("*" if number is None else number for number in (self.major, self.minor))
        return f"{self.kind} {major}:{minor} {self.access}"


def parse(devices: list[Json]) -> tuple[Rule, ...]:
    """Rules of ``linux.resources.devices``; raises InvalidArgument for what is no device rule."""
    return tuple(_rule(entry) for entry in devices)


def _rule(entry: Json) -> Rule:
    kind = {"u": "c"}.get(entry.get("type") or "a", entry.get("type") or "a")
    access = entry.get("access") or "rwm"
    if kind not in ("a", "b", "c") or set(access) - set("rwm"):
        raise InvalidArgument(f"invalid device cgroup rule: {kind} {access}")
    major, minor = (
        None if number is None or number < 0 else number for number in map(entry.get, ("major", "minor"))
    )
    return Rule(bool(entry.get("allow")), kind, major, minor, "".join(a for a in "rwm" if a in access))


def program(rules: tuple[Rule, ...]) -> bytes:
    """The BPF program: array of 8-byte instructions; what no rule matches is denied."""
    code = [
        _instruction(_LDX_W, _TYPE, _CONTEXT),
        _instruction(_AND_IMM, _TYPE, immediate=0xFFFF),
        _instruction(_LDX_W, _ACCESS, _CONTEXT),
        _instruction(_RSH_IMM, _ACCESS, immediate=16),
        _instruction(_LDX_W, _MAJOR, _CONTEXT, offset=4),
        _instruction(_LDX_W, _MINOR, _CONTEXT, offset=8),
    ]
    for rule in reversed(rules):
        code += _block(rule)
        if rule.kind == "a":
            return b"".join(code)  # it answers everything: code behind it would be refused as unreachable
    return b"".join([*code, *_answer(False)])


def _block(rule: Rule) -> list[bytes]:
    """Tests that jump behind the block where the rule does not match, then its answer."""
    answer = _answer(rule.allow)
    if rule.kind == "a":
        return answer
    tests = [(_JNE_IMM, _TYPE, 0, _TYPE_NUMBERS[rule.kind])]
    mask = sum(_ACCESS_BITS[letter] for letter in rule.access)
    prepare = []
    if mask != 7 and rule.allow:
        # Every wanted right must be among those allowed ...
        prepare = [
            _instruction(_MOV_REG, _SCRATCH, _ACCESS),
            _instruction(_AND_IMM, _SCRATCH, immediate=mask),
        ]
        tests.append((_JNE_REG, _SCRATCH, _ACCESS, 0))
    tests += [(_JNE_IMM, _MAJOR, 0, rule.major)] if rule.major is not None else []
    tests += [(_JNE_IMM, _MINOR, 0, rule.minor)] if rule.minor is not None else []
    if mask != 7 and not rule.allow:
        # ... while one denied right among those wanted is enough to refuse.
        denied = [_instruction(_MOV_REG, _SCRATCH, _ACCESS), _instruction(_AND_IMM, _SCRATCH, immediate=mask)]
        return _jumps(prepare, tests, [*denied, _instruction(0x15, _SCRATCH, offset=len(answer)), *answer])
    return _jumps(prepare, tests, answer)


def _jumps(prepare: list[bytes], tests: list[tuple[int, int, int, int]], rest: list[bytes]) -> list[bytes]:
    code = list(prepare)
    for index, (operation, register, other, immediate) in enumerate(tests):
        behind = len(tests) - index - 1 + len(rest)
        code.append(_instruction(operation, register, other, behind, immediate))
    return code + rest


def _answer(allow: bool) -> list[bytes]:
    return [_instruction(_MOV_IMM, _RESULT, immediate=int(allow)), _instruction(_EXIT)]


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, immediate)


def attach(directory_fd: int, code: bytes) -> None:
    """Make a program the one that decides for a cgroup v2 directory; earlier ones are taken off then."""
    earlier = _attached(directory_fd)
    program_fd = _load(code)
    try:
        _bpf(
            _PROG_ATTACH, struct.pack("=IIII", directory_fd, program_fd, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
        )
    finally:
        os.close(program_fd)
    for number in earlier:
        old_fd = _bpf(_GET_FD_BY_ID, struct.pack("=III", number, 0, 0))
        try:
            _bpf(_PROG_DETACH, struct.pack("=III", directory_fd, old_fd, _ATTACH_CGROUP_DEVICE))
        finally:
            os.close(old_fd)


def _load(code: bytes) -> int:
    instructions, owner = address_of(code)
    licence, licence_owner = address_of(b"Apache-2.0\0")
    # The fields up to prog_ifindex and expected_attach_type; the rest of the union stays zero.
    attributes = struct.pack(
        "=IIQQIIQII16sII",
        _TYPE_CGROUP_DEVICE, len(code) // 8, instructions, licence,
        0, 0, 0, 0, 0, b"onggi_devices", 0, _ATTACH_CGROUP_DEVICE,
    )  # fmt: skip
    try:
        return _bpf(_PROG_LOAD, attributes)
    finally:
        del owner, licence_owner


def _attached(directory_fd: int) -> tuple[int, ...]:
    numbers, owner = address_of(bytes(4 * _MOST_PROGRAMS))
    attributes = struct.pack("=IIIIQI4x", directory_fd, _ATTACH_CGROUP_DEVICE, 0, 0, numbers, _MOST_PROGRAMS)
    try:
        _bpf(_PROG_QUERY, attributes)
    except KernelError as error:
        if error.errno == errno.EINVAL:  # kernels without the query have nothing of ours attached
            return ()
        raise
    return tuple(number for number in struct.unpack(f"={_MOST_PROGRAMS}I", owner.raw) if number)


def _bpf(command: int, attributes: bytes) -> int:
    try:
        return bpf(command, attributes)
    except KernelError as error:
        if error.errno == errno.ENOSYS:
            raise Unsupported("device limits on cgroup v2 need bpf(2), which this kernel lacks") from None
        raise
