"""Gives up, for good, all rights that an unpacking process does not need (rule R9)."""

from __future__ import annotations

import os
import resource
from typing import NamedTuple

from onggi.errors import KernelError
from onggi.kernel import capabilities, syscalls


class Rights(NamedTuple):
    """What a job keeps: capabilities with effect, those that wait for ``take_rights``, and how many
    descriptors it may have.
    """

    capabilities: tuple[str, ...]
    later: tuple[str, ...] = ()
    files: int = 256


NOTHING = Rights(())
WRITER = Rights(("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP"))
READER = Rights(("DAC_OVERRIDE", "DAC_READ_SEARCH"), files=2304)  # one for each directory on the deepest path
# To read overlay's marks takes SYS_ADMIN; each directory on a path is open once in every layer that has it.
DIFFER = Rights((*READER.capabilities, "SYS_ADMIN"), files=1 << 16)
_MAX_MEMORY = 1 << 30  # address space of the fork; a reader's buffers are 1 MiB
_SECONDS = 6 * 3600  # of processor time


def confine(root_fd: int, rights: Rights) -> None:
    """Enter the directory as root, without network, with few capabilities and tight limits. Raises
    KernelError.
    """
    _without_network()
    os.fchdir(root_fd)
    try:
        os.chroot(".")
    except OSError as error:
        raise KernelError("chroot", error.errno or 0) from None
    limits = ((resource.RLIMIT_NOFILE, rights.files), (resource.RLIMIT_NPROC, 0), (resource.RLIMIT_CORE, 0))
    for number, value in (*limits, (resource.RLIMIT_AS, _MAX_MEMORY), (resource.RLIMIT_CPU, _SECONDS)):
        _lower(number, value)
    effective = capabilities.mask(rights.capabilities)
    held = (effective | capabilities.mask(rights.later)) & syscalls.capget().permitted
    capabilities.drop_bounding(held)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.capset(syscalls.Capabilities(held & effective, held, 0))


def take_rights() -> None:
    """Let all capabilities that are held have effect."""
    held = syscalls.capget().permitted
    syscalls.capset(syscalls.Capabilities(held, held, 0))


def _without_network() -> None:
    """New, empty network and IPC namespaces."""
    syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC)


def _lower(number: int, value: int) -> None:
    """Lower a limit, hard and soft; a lower one that is in force stays."""
    _, hard = resource.getrlimit(number)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(number, (value, value))
