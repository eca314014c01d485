"""The seccomp program of a container: docker's default profile or the user's, compiled once and kept.

A program depends on the profile, the capabilities, the machine and its kernel; compiling takes some 15 ms,
so programs are kept in memory and on disk. Which profile holds is decided by the server (rule R16).

On disk, owned here: ``<cache_dir>/<sha256 of what it depends on>.bpf``: sha256 of the program, the program.
Files are only ever replaced whole; a damaged one is compiled anew.
"""

from __future__ import annotations

import os
from functools import cached_property
from hashlib import sha256
from typing import Any

import msgspec

from onggi.errors import InvalidArgument
from onggi.kernel import seccomp
from onggi.kernel.features import Features
from onggi.kernel.files import read_small, write_atomic

Json = Any

DEFAULT_PROFILE = os.path.join(os.path.dirname(__file__), "data", "seccomp-default.json")
# Part of the file's name: raised when the compiler's output for the same profile changes.
_FORMAT = 2
_MOST_IN_MEMORY = 64
_LARGEST_PROGRAM = 1 << 20
_DIGEST_BYTES = 32


class Programs:
    """Compiled programs by (profile text, capabilities); the first use of a pair blocks while it compiles."""

    def __init__(self, features: Features, cache_dir: str) -> None:
        self._features, self._cache_dir = features, cache_dir
        self._ready: dict[tuple[str, frozenset[str]], bytes] = {}

    def __call__(self, profile: str, caps: frozenset[str]) -> bytes:
        """BPF of a profile's JSON text, "" for the default one; empty where the profile asks for nothing."""
        found = self._ready.get((profile, caps))
        if found is None:
            if len(self._ready) >= _MOST_IN_MEMORY:
                self._ready.clear()
            text = profile or self._default
            found = self._ready[profile, caps] = program(text, caps, self._features, self._cache_dir)
        return found

    @cached_property
    def _default(self) -> str:
        return read_small(DEFAULT_PROFILE).decode()


def program(profile: str, caps: frozenset[str], features: Features, cache_dir: str) -> bytes:
    """BPF of a profile's JSON text for a process with these capabilities, from the cache on disk or compiled.

    Raises InvalidArgument in docker's words for what is no profile, Unsupported without libseccomp.
    """
    path = os.path.join(cache_dir, f"{_key(profile, caps, features)}.bpf")
    cached = _cached(path)
    if cached is not None:
        return cached
    compiled = seccomp.compile_profile(_parse(profile), caps, features.machine, features.kernel)
    os.makedirs(cache_dir, mode=0o700, exist_ok=True)
    write_atomic(path, sha256(compiled).digest() + compiled, durable=False)
    return compiled


def _key(profile: str, caps: frozenset[str], features: Features) -> str:
    parts = (str(_FORMAT), features.machine, repr(features.kernel), " ".join(sorted(caps)), profile)
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _cached(path: str) -> bytes | None:
    try:
        data = read_small(path, _LARGEST_PROGRAM)
    except FileNotFoundError:
        return None
    digest, compiled = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return compiled if sha256(compiled).digest() == digest else None


def _parse(profile: str) -> Json:
    try:
        parsed = msgspec.json.decode(profile)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from None
    if not isinstance(parsed, dict):
        raise InvalidArgument("Decoding seccomp profile failed: it is not an object")
    try:
        msgspec.convert(parsed, _Checked)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from None
    return parsed


class _Argument(msgspec.Struct, rename="camel"):
    index: int
    op: str
    value: int = 0
    value_two: int = 0


class _Filter(msgspec.Struct, rename="camel"):
    caps: list[str] | None = None
    arches: list[str] | None = None
    min_kernel: str | None = None


class _Rule(msgspec.Struct, rename="camel"):
    action: str
    names: list[str] | None = None
    name: str | None = None
    errno_ret: int | None = None
    args: list[_Argument] | None = None
    includes: _Filter | None = None
    excludes: _Filter | None = None


class _ArchMap(msgspec.Struct, rename="camel"):
    architecture: str
    sub_architectures: list[str] | None = None


class _Checked(msgspec.Struct, rename="camel"):
    """The shape of a docker-format profile; fields that nobody knows are ignored, as docker does."""

    default_action: str = ""
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    arch_map: list[_ArchMap] | None = None
    syscalls: list[_Rule] | None = None
