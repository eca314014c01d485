"""What becomes of an error: docker's shape, and words that a user can act on."""

import errno
import os

from onggi.api.errors import message_of, status_of


def test_what_a_disk_does_is_told_in_plain_words():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/fs")
    assert message_of(full) == "write /data/fs: no space left on device"
    assert status_of(full) == 500
    assert message_of(OSError(errno.EBADF, "Bad file descriptor")).startswith("internal error: OSError: ")
