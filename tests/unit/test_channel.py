"""The channel of a first process: what it said is heard, however it ended."""

from onggi.kernel.sockets import send_message
from onggi.runtime import channel


def test_a_failure_is_heard_though_the_go_was_never_read():
    """A socket that is closed with unread data answers the other side's next read with ECONNRESET, once,
    before what is still queued there."""
    outer, inner = channel.pair()
    with outer:
        send_message(outer, channel.GO)
        channel.send_failure(inner, channel.Failure("bind", "openat2", 2, "/x", ""))
        inner.close()
        kind, payload, _ = channel.receive(outer)
        assert (kind, channel.parse_failure(payload).path) == (channel.FAILED, "/x")
        assert channel.receive(outer)[0] == b""
