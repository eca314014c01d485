"""Sentences for what failed inside."""

import errno

from onggi.containers.failures import remote_error
from onggi.errors import Conflict, KernelError


def test_an_exec_into_a_container_that_ends_is_a_conflict() -> None:
    gone = {"kind": "KernelError", "call": "setns", "errno": errno.ESRCH, "step": "namespaces"}
    error = remote_error(gone)
    assert isinstance(error, Conflict)
    assert str(error) == "cannot exec in a stopped container"
    assert isinstance(remote_error({**gone, "errno": errno.EPERM}), KernelError)
