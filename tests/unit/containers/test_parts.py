"""Small parts: names, signals, detach keys, events, files, the view of a root, processes, times, filters."""

import asyncio
import errno
import os
import sqlite3

import pytest

from onggi.containers import names, processes, times
from onggi.containers.detach import parse_detach_keys
from onggi.containers.events import EventBus, make_filter
from onggi.containers.files import hosts_text, resolv_text
from onggi.containers.request import HostConfig
from onggi.containers.rootview import RootView
from onggi.containers.signals import parse_signal
from onggi.errors import InvalidArgument, KernelError, NotFound
from onggi.oci.until import parse_until


def test_references_are_ids_names_or_unique_prefixes():
    ids = {"ab" + "0" * 62, "ac" + "0" * 62}
    by_name = {"web": "ab" + "0" * 62}.get
    assert names.find_id("/web", ids, by_name).startswith("ab")
    assert names.find_id("ac", ids, by_name).startswith("ac")
    with pytest.raises(InvalidArgument, match="multiple IDs found with provided prefix: a"):
        names.find_id("a", ids, by_name)
    with pytest.raises(InvalidArgument, match='invalid name or ID supplied: ""'):
        names.find_id("", ids, by_name)
    for ref in ("zz", "../x", "x" * 65):
        with pytest.raises(NotFound, match="No such container: "):
            names.find_id(ref, ids, by_name)


def test_generated_names_are_free():
    taken = set()
    for _ in range(500):
        name = names.generate(taken.__contains__)
        assert name not in taken
        taken.add(name)


def test_signals():
    assert [parse_signal(text) for text in ("9", "KILL", "sigterm", "SIGRTMIN+1")] == [9, 9, 15, 35]
    for text in ("", "0", "99", "-9", "SIGNOPE"):
        with pytest.raises(InvalidArgument):
            parse_signal(text)


def test_detach_keys():
    assert parse_detach_keys("") == "1011"
    assert parse_detach_keys("a,ctrl-[,ctrl-@") == "611b00"
    for text in ("ctrl-", "ab", "a,,b", "ctrl-1", "ctrl-A"):
        with pytest.raises(InvalidArgument, match="Invalid detach keys"):
            parse_detach_keys(text)


@pytest.mark.parametrize("wanted", ["sha256:abc", "quay.io/app:1", "quay.io/app"])
def test_events_of_an_image_are_found_by_its_id_too(wanted):
    about = {"Type": "image", "Action": "tag", "Actor": {"ID": "sha256:abc", "Attributes": {}}}
    about["Actor"]["Attributes"]["name"] = "quay.io/app:1"
    assert make_filter({"image": [wanted]})(about)
    assert not make_filter({"image": ["sha256:def"]})(about)


def test_events_replay_filter_and_order():
    async def main():
        bus = EventBus(clock_ns=lambda: 10**18 + 100)
        bus.publish("container", "die", "id1", {"image": "busybox:1", "name": "web"}, 10**18 + 50)
        bus.publish("container", "start", "id1", {"image": "busybox:1", "name": "web"}, 10**18 + 40)
        bus.publish("image", "tag", "sha256:1", {"name": "busybox:1"}, 10**18 + 60)

        async def seen(**filters):
            stream = bus.subscribe(10**18, 10**18 + 90, filters)
            return [message["Action"] async for message in stream]

        assert await seen() == ["start", "die", "tag"]
        assert await seen(container=["web"], event=["die"]) == ["die"]
        assert await seen(image=["busybox"]) == ["start", "die", "tag"]
        assert await seen(type=["image"]) == ["tag"]
        with pytest.raises(InvalidArgument, match="invalid filter 'odd'"):
            await seen(odd=["x"])

    asyncio.run(main())


def test_a_slow_subscriber_is_cut_off_not_waited_for(monkeypatch):
    monkeypatch.setattr("onggi.containers.events.BACKLOG", 3)

    async def main():
        bus = EventBus()
        stream = bus.subscribe()
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        for number in range(10):
            bus.publish("container", f"a{number}", "id", {})
        assert (await first)["Action"] == "a0"
        rest = [message["Action"] async for message in stream]
        assert len(rest) < 10

    asyncio.run(asyncio.wait_for(main(), 30))


def test_events_that_could_not_be_written_are_written_with_the_next():
    written = []

    class Storage:
        full = True

        async def run(self, fn):
            if self.full:
                raise KernelError("write", errno.ENOSPC, "meta.db")
            connection = sqlite3.connect(":memory:")
            connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, time_ns INTEGER, message BLOB)")
            fn(connection)
            written.extend(connection.execute("SELECT * FROM events").fetchall())
            connection.close()

    async def main():
        storage = Storage()
        bus = EventBus(storage)
        bus.publish("image", "tag", "one", {})
        with pytest.raises(KernelError):
            await bus.close()
        storage.full = False
        bus.publish("image", "tag", "two", {})
        await bus.close()

    asyncio.run(main())
    assert len(written) == 2


def test_hosts_and_resolvers():
    host = HostConfig(extra_hosts=["db:10.0.0.1", "six=[::2]"], network_mode="none")
    assert hosts_text(host, "").endswith("10.0.0.1\tdb\n::2\tsix\n")
    machine = "# c\nnameserver 127.0.0.53\nnameserver 10.1.1.1\nsearch a b\noptions edns0\n"
    assert resolv_text(host, machine) == "nameserver 10.1.1.1\nsearch a b\noptions edns0\n"
    assert "127.0.0.53" in resolv_text(HostConfig(network_mode="host"), machine)
    assert resolv_text(HostConfig(dns=["9.9.9.9"], dns_search=["."]), "") == "nameserver 9.9.9.9\n"


def test_root_view_is_the_union_of_its_layers(tmp_path):
    top, bottom = tmp_path / "top", tmp_path / "bottom"
    (top / "etc").mkdir(parents=True)
    (bottom / "etc").mkdir(parents=True)
    (bottom / "etc/group").write_text("below")
    (bottom / "etc/real").write_text("linked")
    (top / "etc/passwd").symlink_to("../../../../etc/real")
    os.mkfifo(top / "etc/fifo")
    (top / "etc/loop").symlink_to("loop")
    with RootView([str(top), str(bottom)]) as view:
        assert view.read("etc/group") == b"below"
        assert view.read("/etc/passwd") == b"linked"
        assert view.read("etc/none") is None
        for name in ("fifo", "loop"):
            with pytest.raises(InvalidArgument):
                view.read(f"etc/{name}")


def test_cve_2024_9676_a_huge_passwd_fails_fast(tmp_path):
    (tmp_path / "etc").mkdir()
    with open(tmp_path / "etc/passwd", "wb") as file:
        file.truncate(200 << 20)
    with RootView([str(tmp_path)]) as view, pytest.raises(InvalidArgument, match="larger than"):
        view.read("etc/passwd")


def test_top_reads_proc_in_the_columns_of_ps():
    table = processes.table([os.getpid()], "-ef")
    assert table["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert table["Processes"][0][1] == str(os.getpid())
    table = processes.table([os.getpid(), 2**22 + 1], "-o pid,comm=NAME")
    assert table["Titles"] == ["PID", "NAME"]
    assert len(table["Processes"]) == 1
    with pytest.raises(InvalidArgument):
        processes.table([], "-o nope")


def test_top_sorts_as_it_is_asked(monkeypatch):
    one = processes.read_process(os.getpid())
    monkeypatch.setattr(processes, "read_process", lambda pid: one._replace(pid=pid, nice=pid % 2))
    for order, shown in (("--sort=-pid", "12 9 8"), ("--sort ni,-pid", "12 8 9"), ("", "8 9 12")):
        rows = processes.table([9, 12, 8], f"-o pid {order}")["Processes"]
        assert [row[0] for row in rows] == shown.split()
    assert processes.table([9], "--sort=-pid,+etime")["Titles"] == ["PID", "TTY", "TIME", "COMMAND"]
    with pytest.raises(InvalidArgument, match="nope"):
        processes.table([], "-ef --sort=-nope")


def test_times():
    assert times.rfc3339(0) == "0001-01-01T00:00:00Z"
    assert times.rfc3339(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert [times.human(value) for value in (0, 59, 60, 3600, 7300, 86400 * 3)] == [
        "Less than a second", "59 seconds", "About a minute", "About an hour", "2 hours", "3 days",
    ]  # fmt: skip
    assert parse_until("1h30m", 10**13) == 10**13 - 5400 * 10**9
    with pytest.raises(InvalidArgument):
        parse_until("soon", 0)
