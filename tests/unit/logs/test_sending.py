"""Messages of drivers that send records away, and who is told when that cannot be."""

import os
import re
import socket

import pytest

from onggi.errors import InvalidArgument, Unsupported
from onggi.frames import STDERR, STDOUT
from onggi.launch.loop import IN, Loop
from onggi.logs import sending
from onggi.logs.options import readable, validate
from onggi.logs.reader import Reader, Selection
from onggi.logs.record import Record
from onggi.logs.writer import SendingWriter, open_writer

NS = 1_764_119_094_017_565_000  # 2025-11-26T01:04:54.017565Z
ID = "95f1a2f3a144" + "0" * 52
SOURCE = sending.Source(ID, "web", "busybox", "95f1a2f3a144", {"a.b": "c\nd"})


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    import time

    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# As dockerd 28.5.2 was seen to write them, but for times, pids and names.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "<30>Nov 26 01:04:54 95f1a2f3a144[PID]: hi\n"),
        ({"syslog-format": "rfc3164"}, "<30>Nov 26 01:04:54 HOST 95f1a2f3a144[PID]: hi\n"),
        (
            {"syslog-format": "rfc5424"},
            "<30>1 2025-11-26T01:04:54Z HOST 95f1a2f3a144 PID 95f1a2f3a144 - hi\n",
        ),
        (
            {"syslog-format": "rfc5424micro", "syslog-facility": "local3"},
            "<158>1 2025-11-26T01:04:54.017565Z HOST 95f1a2f3a144 PID 95f1a2f3a144 - hi\n",
        ),
    ],
)
def test_syslog_messages(options, message):
    encode = sending.syslog_encoder(options, SOURCE)
    expected = message.replace("PID", str(os.getpid())).replace("HOST", os.uname().nodename)
    assert encode(Record(NS, STDOUT, b"hi\n")).decode() == expected
    number = int(message[1 : message.index(">")])
    assert encode(Record(NS, STDERR, b"hi")).startswith(f"<{number - 3}>".encode())


def test_entries_of_the_journal():
    entry = sending.journal_encoder(SOURCE)(Record(NS, STDERR, b"hi"))
    lines = entry.split(b"\n")
    for line in (
        b"MESSAGE=hi", b"PRIORITY=3", b"CONTAINER_ID=95f1a2f3a144", b"CONTAINER_ID_FULL=" + ID.encode(),
        b"CONTAINER_NAME=web", b"IMAGE_NAME=busybox", b"SYSLOG_IDENTIFIER=95f1a2f3a144",
        b"SYSLOG_TIMESTAMP=2025-11-26T01:04:54.017565Z", b"CONTAINER_PARTIAL_MESSAGE=true",
    ):  # fmt: skip
        assert line in lines
    assert b"A_B\n\x03\0\0\0\0\0\0\0c\nd\n" in entry  # a value of several lines has its length
    assert b"PARTIAL" not in sending.journal_encoder(SOURCE)(Record(NS, STDERR, b"hi\n"))


def test_parts_of_a_line_in_the_journal():
    """As dockerd 28.5.2 told systemd's journal; a line of the other stream comes in between."""
    encode = sending.journal_encoder(SOURCE)
    given = [
        (STDOUT, b"a"),
        (STDERR, b"x\n"),
        (STDOUT, b"b"),
        (STDOUT, b"c\n"),
        (STDOUT, b"d\n"),
        (STDOUT, b"e"),
    ]
    entries = [encode(Record(NS, *one)) for one in given]
    found = [dict(line.split(b"=", 1) for line in entry.splitlines() if b"=" in line) for entry in entries]

    def of(name):
        return [entry.get(b"CONTAINER_" + name, b"").decode() for entry in found]

    assert of(b"LOG_ORDINAL") == ["1", "2", "3", "4", "5", "6"]
    assert of(b"PARTIAL_ORDINAL") == ["1", "", "2", "3", "", "1"]
    assert of(b"PARTIAL_LAST") == ["false", "", "false", "true", "", "false"]
    assert of(b"PARTIAL_MESSAGE") == ["true", "", "true", "", "", "true"]
    lines, epochs = of(b"PARTIAL_ID"), of(b"LOG_EPOCH")
    assert len(lines[0]) == len(epochs[0]) == 64
    assert lines == [lines[0], "", lines[0], lines[0], "", lines[5]]
    assert len({*lines}) == 3
    assert {*epochs} == {epochs[0]}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"nosuch": "1"}, InvalidArgument, "unknown log opt 'nosuch' for syslog log driver"),
        ({"max-size": "1"}, InvalidArgument, "unknown log opt 'max-size' for syslog log driver"),
        ({"syslog-address": "foo"}, InvalidArgument, "unsupported scheme: ''"),
        ({"syslog-address": "xyz://a"}, InvalidArgument, "unsupported scheme: 'xyz'"),
        ({"syslog-address": "udp://127.0.0.1:x"}, InvalidArgument, "invalid syslog-address"),
        ({"syslog-address": "tcp+tls://127.0.0.1"}, Unsupported, "tcp+tls is not supported"),
        ({"syslog-tls-cert": "x"}, Unsupported, "log opt 'syslog-tls-cert' is not supported"),
        ({"syslog-facility": "nosuch"}, InvalidArgument, "invalid syslog facility"),
        ({"syslog-format": "nosuch"}, InvalidArgument, "Invalid syslog format"),
        ({"cache-disabled": "x"}, InvalidArgument, "invalid value for option cache-disabled: x"),
    ],
)
def test_words(options, error, words):
    with pytest.raises(error, match=re.escape(words)):
        validate("syslog", options)


def test_addresses():
    found = {
        text: sending.address({"syslog-address": text})
        for text in ("udp://127.0.0.1", "tcp://[::1]:99", "unix:///x", "unixgram:///x", "tcp://localhost:5")
    }
    assert [tuple(it)[0:1] + tuple(it)[2:] for it in found.values()] == [
        (socket.AF_INET, ("127.0.0.1", 514)),
        (socket.AF_INET6, ("::1", 99)),
        (socket.AF_UNIX, "/x"),
        (socket.AF_UNIX, "/x"),
        (socket.AF_INET, ("127.0.0.1", 5)),
    ]


def test_nobody_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr(sending, "JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setattr(sending, "LOCAL_SYSLOG", (str(tmp_path / "log"),))
    with pytest.raises(Unsupported, match="journald is not enabled on this host"):
        sending.check("journald", {})
    with pytest.raises(Unsupported, match="Unix syslog delivery error"):
        sending.check("syslog", {})
    with pytest.raises(InvalidArgument, match="stat /nosuch/x: no such file or directory"):
        sending.check("syslog", {"syslog-address": "unix:///nosuch/x"})
    sending.check("json-file", {})


def listen(path):
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.settimeout(30)
    server.bind(str(path))
    return server


def test_a_writer_sends_and_keeps(tmp_path):
    """A daemon that starts anew gets what comes then; what was lost meanwhile is counted, and kept here."""
    directory, path = tmp_path / ("a" * 64), tmp_path / "log"
    directory.mkdir()
    options = {"syslog-address": f"unixgram://{path}"}
    source = {"id": ID, "name": "web", "image": "busybox", "tag": "web"}
    with listen(path) as server:
        writer = open_writer("syslog", str(directory), options, {}, source)
        writer.write(STDOUT, b"one\ntwo\nthr", NS)
        assert [server.recv(999).rpartition(b": ")[2] for _ in range(2)] == [b"one\n", b"two\n"]
    path.unlink()
    writer.write(STDOUT, b"ee\n", NS)
    assert writer.errors == 1
    with listen(path) as server:
        writer._sender._again = 0.0  # the pause is over
        writer.write(STDERR, b"four\n", NS)
        assert server.recv(999).endswith(b": four\n")
    writer.close()
    cursor = Reader(str(directory), "syslog").open(Selection(), follow=False)
    assert b"".join(record.data for record in cursor.read_more()) == b"one\ntwo\nthree\nfour\n"
    cursor.close()


def test_without_a_copy_nothing_can_be_read(tmp_path):
    directory = tmp_path / ("a" * 64)
    directory.mkdir()
    options = {"cache-disabled": "true", "syslog-address": "udp://127.0.0.1:9"}
    writer = open_writer(
        "syslog", str(directory), options, {}, {"id": ID, "name": "w", "image": "i", "tag": "t"}
    )
    writer.write(STDOUT, b"one\n", NS)
    writer.close()
    assert list(directory.iterdir()) == []
    assert not readable("syslog", options)
    assert readable("syslog", {})
    assert not readable("none", {})


@pytest.mark.parametrize(("number", "shown"), [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "[2001:db8::1]")])
def test_names_become_numbers(monkeypatch, number, shown):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (number, 99))])
    asked = {"syslog-address": "tcp://logs.example:99", "tag": "t"}
    validate("syslog", asked)
    assert sending.resolved(asked) == {"syslog-address": f"tcp://{shown}:99", "tag": "t"}
    for same in ({}, {"syslog-address": "udp://127.0.0.1"}, {"syslog-address": "unix:///x"}):
        assert sending.resolved(same) == same


def test_a_name_that_nobody_has(monkeypatch):
    def nobody(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(InvalidArgument, match=r"dial udp: lookup logs\.example: no such host"):
        sending.resolved({"syslog-address": "udp://logs.example"})


@pytest.fixture
def daemon(tmp_path):
    """A log daemon that listens, and where."""
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        server.settimeout(30)
        yield server, sending.Address(socket.AF_UNIX, socket.SOCK_STREAM, path)


def test_what_waits_is_sent_though_nothing_more_is_said(daemon, tmp_path):
    server, target = daemon
    sender = sending.sender(target, 1 << 20)
    lines, got = b"%05d\n" * 20_000 % tuple(range(20_000)), bytearray()
    writer, loop = SendingWriter(str(tmp_path), None, sender, lambda record: record.data), Loop()
    writer.follow(loop.after)
    with server.accept()[0] as peer:
        writer.write(STDOUT, lines, NS)
        assert sender.waits

        def ready(_):
            got.extend(peer.recv(1 << 20))
            if len(got) == len(lines):
                loop.stop()

        loop.watch(peer.fileno(), IN, ready)
        loop.after(30, loop.stop)
        loop.run()
    writer.close()
    assert bytes(got) == lines
    assert writer.errors == 0


def test_a_new_connection_begins_with_a_whole_message(daemon):
    server, target = daemon
    sender = sending.sender(target, 1 << 20)
    first, second = b"1" * 900_000 + b"\n", b"2\n"
    with server.accept()[0]:
        assert sender.send(first)
        assert sender.waits  # for a part of it was taken
    assert sender.send(second)
    sender._again = 0.0  # the pause is over
    sender.offer()
    with server.accept()[0] as peer:
        peer.setblocking(False)
        got = b""
        while sender.waits:
            got += peer.recv(1 << 20)
            sender.offer()
        got += peer.recv(1 << 20)
    assert got == first + second
    assert sender.finish() == 0


def test_who_does_not_read_holds_nobody_up(daemon):
    """What finds room in the buffer arrives whole and in order once it is read; the rest is dropped."""
    (server, target), data = daemon, b""
    messages = [b"%06d" % number * 50_000 for number in range(20)]
    sender = sending.sender(target, 400_000)
    with server.accept()[0] as peer:
        peer.setblocking(False)
        taken = [message for message in messages if sender.send(message)]
        assert sender._socket.gettimeout() == 0
        while sender.waits:
            data += peer.recv(1 << 20)
            sender.offer()
        data += peer.recv(1 << 20)
    assert 1 < len(taken) < len(messages)
    assert data == b"".join(taken)
    assert sender.finish() == 0
