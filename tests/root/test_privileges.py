"""Seccomp programs and capability sets, taken by a process that cannot give them back."""

import errno
import json
import os
import socket
from collections.abc import Callable

import pytest

from onggi.containers.seccomp import DEFAULT_PROFILE
from onggi.errors import KernelError
from onggi.kernel import capabilities, seccomp, syscalls
from onggi.kernel.capabilities import CapSets


def in_child(work: Callable[[], object]) -> object:
    """What ``work`` returns in a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else None


def errno_of(call: Callable[[], object]) -> int:
    try:
        call()
    except (OSError, KernelError) as error:
        return error.errno
    return 0


@pytest.fixture(scope="module")
def program():
    with open(DEFAULT_PROFILE) as file:
        return seccomp.compile_profile(json.load(file), frozenset({"CAP_CHOWN"}), os.uname().machine)


def forbidden():
    return [
        errno_of(lambda: syscalls.unshare(syscalls.CLONE_NEWNS)),
        errno_of(lambda: syscalls.mount("none", "/proc", "tmpfs")),
        errno_of(lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)),
        errno_of(lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)),
        errno_of(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()),
    ]


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_default_program_is_taken_by_the_kernel(program, no_new_privileges):
    def work():
        if no_new_privileges:
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.load(program)
        return forbidden()

    assert in_child(work) == [errno.EPERM] * 4 + [0]


def test_a_program_that_is_none_is_refused_by_the_kernel():
    assert in_child(lambda: errno_of(lambda: seccomp.load(bytes(8)))) == errno.EINVAL


def test_capabilities_are_dropped_for_good():
    keep = capabilities.mask(["CHOWN", "SETPCAP"])

    def work():
        capabilities.drop_bounding(keep)
        capabilities.apply(CapSets(keep, keep, keep))
        back = CapSets(keep, keep | 1 << 7, keep | 1 << 7)
        return [
            *capabilities.current(),
            errno_of(lambda: os.setuid(1)),
            errno_of(lambda: capabilities.apply(back)),
        ]

    assert in_child(work) == [keep, keep, keep, 0, 0, errno.EPERM, errno.EPERM]


def test_ambient_capabilities_survive_when_asked():
    bind = capabilities.mask(["NET_BIND_SERVICE"])

    def work():
        capabilities.apply(CapSets(bind, bind, bind, bind, bind))
        return list(capabilities.current())[1:]

    assert in_child(work) == [bind] * 4
