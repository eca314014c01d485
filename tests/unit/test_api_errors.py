"""What becomes of an error: docker's shape, and words that a user can act on."""

import errno
import os

from onggi.api.errors import message_of, status_of
from onggi.errors import Unavailable
from onggi.registry.failures import Transient, Unreachable


def test_what_a_disk_does_is_told_in_plain_words():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/fs")
    assert message_of(full) == "write /data/fs: no space left on device"
    assert status_of(full) == 500
    assert message_of(OSError(errno.EBADF, "Bad file descriptor")).startswith("internal error: OSError: ")


def test_what_a_registry_does_is_500_as_docker_says():
    assert status_of(Unreachable("no such host")) == status_of(Transient("EOF")) == 500
    assert status_of(Unavailable("the launcher does not answer")) == 503
