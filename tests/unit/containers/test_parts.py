"""Small parts: names, signals, detach keys, events, files, the view of a root, processes, times, filters."""

import asyncio
import errno
import os
import re
import sqlite3
import threading

import pytest

from onggi import times
from onggi.containers import names, processes
from onggi.containers.detach import parse_detach_keys
from onggi.containers.events import EventBus, make_filter
from onggi.containers.files import hosts_text, resolv_text
from onggi.containers.listing import check_filters
from onggi.containers.request import HostConfig
from onggi.containers.rootview import RootView, inherits
from onggi.errors import InvalidArgument, KernelError, NotFound
from onggi.oci.signals import parse_signal
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
    assert [parse_signal(text) for text in ("CLD", "SIGIOT", "POLL")] == [17, 6, 29]
    for text in ("", "0", "99", "-9", "SIGNOPE"):
        with pytest.raises(InvalidArgument):
            parse_signal(text)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("is-task", "x", "invalid filter 'is-task=[x]'"),
        ("exited", "x", "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        (
            "expose",
            "x",
            'error while looking up for expose x: strconv.ParseUint: parsing "x": invalid syntax',
        ),
        (
            "expose",
            "81-80",
            "error while looking up for expose 81-80: Invalid range specified for the Port: 81-80",
        ),
        (
            "publish",
            "99999",
            'looking up for publish 99999: strconv.ParseUint: parsing "99999": value out of range',
        ),
    ],
)
def test_filters_that_say_nothing(name, value, words):
    with pytest.raises(InvalidArgument, match=re.escape(words)):
        check_filters({name: [value]}, frozenset([name]))


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


@pytest.mark.parametrize("wanted", [{"container": ["we"]}, {"volume": ["web"]}, {"network": ["x", "abc"]}])
def test_events_are_found_by_beginnings_whatever_their_type(wanted):
    about = {"Type": "container", "Action": "die", "Actor": {"ID": "abc1", "Attributes": {"name": "web"}}}
    assert make_filter(wanted)(about)
    assert not make_filter({"container": ["eb", "bc"]})(about)


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


def test_accounts_are_inherited_until_somebody_touches_them(tmp_path):
    def inherited():
        return inherits(str(tmp_path), "etc", ("passwd", "group"))

    assert inherited()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").touch()
    assert inherited()
    (tmp_path / "etc/group").symlink_to("nowhere")
    assert not inherited()
    (tmp_path / "etc/group").unlink()
    os.setxattr(tmp_path / "etc", "user.overlay.opaque", b"y")
    assert not inherited()
    (tmp_path / "etc").rename(tmp_path / "elsewhere")
    (tmp_path / "etc").symlink_to("elsewhere")
    assert not inherited()


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


@pytest.mark.parametrize("words", ["ax", "-x", "x"])
def test_top_in_the_style_of_bsd(words, monkeypatch):
    one = processes.read_process(os.getpid())
    seen = one._replace(pid=7, sid=7, pgid=7, foreground=-1, nice=0, threads=1, ticks=100 * 125, state="S")
    for change, stat in [
        ({}, "Ss"), ({"sid": 6}, "S"), ({"nice": -5, "threads": 2}, "S<sl"),
        ({"nice": 5, "foreground": 7}, "SNs+"),
    ]:  # fmt: skip
        monkeypatch.setattr(processes, "read_process", lambda _, change=change: seen._replace(**change))
        table = processes.table([7], words)
        assert table["Titles"] == ["PID", "TTY", "STAT", "TIME", "COMMAND"]
        assert table["Processes"][0][2:4] == [stat, "2:05"]


@pytest.mark.parametrize(
    ("words", "titles", "shown"),
    [
        ("-p 8", "PID TTY TIME CMD", "8"),
        ("-p7,9 -f", "UID PID PPID C STIME TTY TIME CMD", "7 9"),
        ("--ppid=7", "PID TTY TIME CMD", "8"),
        ("p 8", "PID TTY STAT TIME COMMAND", "8"),
        ("9", "PID TTY STAT TIME COMMAND", "9"),
        ("-C sh -o pid,comm", "PID COMMAND", "9"),
        ("-C sh -p 8", "PID TTY TIME CMD", "8 9"),
        ("-C nosuch", "PID TTY TIME CMD", ""),
        ("-u 5", "PID TTY TIME CMD", "9"),
        ("-u root", "PID TTY TIME CMD", "7 8"),
        ("-eo pid -p 8", "PID", "7 8 9"),
        ("-ej", "PID PGID SID TTY TIME CMD", "7 8 9"),
    ],
)
def test_top_chooses_as_it_is_asked(words, titles, shown, monkeypatch):
    one = processes.read_process(os.getpid())._replace(ppid=1, uid=0, comm="sleep")
    there = {7: {}, 8: {"ppid": 7}, 9: {"comm": "sh", "uid": 5}}
    monkeypatch.setattr(processes, "read_process", lambda pid: one._replace(pid=pid, **there[pid]))
    table = processes.table([7, 8, 9], words)
    assert table["Titles"] == titles.split()
    assert [row[table["Titles"].index("PID")] for row in table["Processes"]] == shown.split()


@pytest.mark.parametrize("words", ["-p x", "-p 1,x", "-u no-such-user"])
def test_top_refuses_what_chooses_nothing(words):
    with pytest.raises(InvalidArgument, match="ps: "):
        processes.table([], words)


def test_top_shows_threads():
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        for words, title in (("-T", "SPID"), ("-eL", "LWP"), ("-efL", "LWP"), ("-T -o pid,lwp", "LWP")):
            table = processes.table([os.getpid()], words)
            at = table["Titles"].index(title)
            assert {str(os.getpid()), str(thread.native_id)} <= {row[at] for row in table["Processes"]}
    finally:
        ended.set()
        thread.join()
    titles = processes.table([], "-efL")["Titles"]
    assert " ".join(titles) == "UID PID PPID LWP C NLWP STIME TTY TIME CMD"


def test_top_sorts_as_it_is_asked(monkeypatch):
    one = processes.read_process(os.getpid())
    monkeypatch.setattr(processes, "read_process", lambda pid: one._replace(pid=pid, nice=pid % 2))
    for order, shown in (("--sort=-pid", "12 9 8"), ("--sort ni,-pid", "12 8 9"), ("", "8 9 12")):
        rows = processes.table([9, 12, 8], f"-o pid {order}")["Processes"]
        assert [row[0] for row in rows] == shown.split()
    assert processes.table([9], "--sort=-pid,+etime")["Titles"] == ["PID", "TTY", "TIME", "CMD"]
    with pytest.raises(InvalidArgument, match="nope"):
        processes.table([], "-ef --sort=-nope")


def test_times():
    assert times.rfc3339_or_zero(0) == "0001-01-01T00:00:00Z"
    assert times.rfc3339_or_zero(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert parse_until("1h30m", 10**13) == 10**13 - 5400 * 10**9
    with pytest.raises(InvalidArgument):
        parse_until("soon", 0)
