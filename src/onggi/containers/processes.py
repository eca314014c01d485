"""``docker top``: processes of a container from /proc, in the columns of ps(1).

No program is run (CVE-2022-1227).
"""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from onggi.errors import InvalidArgument, Unsupported

Json = Any
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
_LIMIT = 1 << 16
_WIDTH = 8  # of ps's column of names


class Process(NamedTuple):
    """One process as /proc shows it; times are clock ticks, sizes kB."""

    pid: int
    tid: int
    ppid: int
    pgid: int
    sid: int
    uid: int
    gid: int
    state: str
    tty: int
    foreground: int
    ticks: int
    start_ticks: int
    nice: int
    threads: int
    vsz_kb: int
    rss_kb: int
    comm: str
    args: str


class Clock(NamedTuple):
    """What turns ticks into times: seconds since the epoch and since boot, total memory in kB."""

    now_s: float
    up_s: float
    memory_kb: int


def parse_process(pid: int, stat: str, status: str, cmdline: bytes) -> Process:
    """A process from ``stat``, ``status`` and ``cmdline`` (proc_pid_stat(5)); the name may hold anything."""
    tid, _, named = stat.partition("(")
    comm, _, rest = named.rpartition(")")
    fields = rest.split()
    facts = dict(line.partition(":\t")[::2] for line in status.splitlines())
    args = cmdline.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    return Process(
        pid=pid,
        tid=int(tid),
        ppid=int(fields[1]),
        pgid=int(fields[2]),
        sid=int(fields[3]),
        uid=_effective(facts.get("Uid", "0")),
        gid=_effective(facts.get("Gid", "0")),
        state=fields[0],
        tty=int(fields[4]),
        foreground=int(fields[5]),
        ticks=int(fields[11]) + int(fields[12]),
        start_ticks=int(fields[19]),
        nice=int(fields[16]),
        threads=int(fields[17]),
        vsz_kb=int(fields[20]) // 1024,
        rss_kb=int(fields[21]) * _PAGE_KB,
        comm=comm,
        args=args or f"[{comm}]",
    )


def _effective(ids: str) -> int:
    """The second of the real, effective, saved and file system's id; the first where there is one alone."""
    return int(ids.split()[:2][-1])


def _read(directory: str, name: str) -> bytes:
    with open(f"{directory}/{name}", "rb") as file:
        return file.read(_LIMIT)


def read_process(pid: int, tid: int = 0) -> Process | None:
    """A living process, or a thread of it; None if it is gone."""
    directory = f"/proc/{pid}/task/{tid}" if tid else f"/proc/{pid}"
    try:
        stat, status, cmdline = (_read(directory, name) for name in ("stat", "status", "cmdline"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    return parse_process(pid, stat.decode("utf-8", "replace"), status.decode("utf-8", "replace"), cmdline)


def _threads(process: Process) -> list[Process]:
    try:
        tids = sorted(map(int, os.listdir(f"/proc/{process.pid}/task")))
    except FileNotFoundError:
        return []
    return [found for tid in tids if (found := read_process(process.pid, tid))]


def read_clock() -> Clock:
    with open("/proc/uptime", encoding="ascii") as file:
        up_s = float(file.read().split()[0])
    with open("/proc/meminfo", encoding="ascii") as file:
        return Clock(time.time(), up_s, int(file.readline().split()[1]))


def _tty(process: Process) -> str:
    major, minor = os.major(process.tty), os.minor(process.tty)
    return (
        f"pts/{minor + 256 * (major - 136)}" if 136 <= major <= 143 else f"tty{minor}" if major == 4 else "?"
    )


def _user(uid: int) -> str:
    """The name that this machine has for a number, as ps prints it."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
    return name if len(name) <= _WIDTH else str(uid)


def _spent(process: Process, _: Clock) -> str:
    seconds = process.ticks // _TICKS
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _spent_bsd(process: Process, _: Clock) -> str:
    seconds = process.ticks // _TICKS
    return f"{seconds // 60}:{seconds % 60:02}"


def _stat(process: Process, _: Clock) -> str:
    """The state with ps's letters for who is nice, leads a session, has threads, and has the terminal."""
    marks = {
        "<": process.nice < 0,
        "N": process.nice > 0,
        "s": process.pid == process.sid,
        "l": process.threads > 1,
        "+": process.foreground == process.pgid,
    }
    return process.state + "".join(mark for mark, applies in marks.items() if applies)


def _age_s(process: Process, clock: Clock) -> float:
    return max(0.0, clock.up_s - process.start_ticks / _TICKS)


def _elapsed(process: Process, clock: Clock) -> str:
    seconds = int(_age_s(process, clock))
    days, hours = seconds // 86400, seconds // 3600 % 24
    minutes = f"{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{days}-{hours:02}:{minutes}" if days else f"{hours:02}:{minutes}" if hours else minutes


def _start(process: Process, clock: Clock) -> str:
    age_s = _age_s(process, clock)
    return time.strftime("%H:%M" if age_s < 86400 else "%b%d", time.localtime(clock.now_s - age_s))


def _cpu(process: Process, clock: Clock) -> float:
    return 100 * process.ticks / _TICKS / max(_age_s(process, clock), 0.01)


_Cell = Callable[[Process, Clock], str]
_COLUMNS: dict[str, tuple[str, _Cell]] = {
    "uid": ("UID", lambda p, c: str(p.uid)),
    "fuid": ("UID", lambda p, c: _user(p.uid)),
    "user": ("USER", lambda p, c: _user(p.uid)),
    "gid": ("GID", lambda p, c: str(p.gid)),
    "group": ("GROUP", lambda p, c: str(p.gid)),
    "pid": ("PID", lambda p, c: str(p.pid)),
    "lwp": ("LWP", lambda p, c: str(p.tid)),
    "spid": ("SPID", lambda p, c: str(p.tid)),
    "tid": ("TID", lambda p, c: str(p.tid)),
    "ppid": ("PPID", lambda p, c: str(p.ppid)),
    "pgid": ("PGID", lambda p, c: str(p.pgid)),
    "sid": ("SID", lambda p, c: str(p.sid)),
    "c": ("C", lambda p, c: str(int(_cpu(p, c)))),
    "pcpu": ("%CPU", lambda p, c: f"{_cpu(p, c):.1f}"),
    "pmem": ("%MEM", lambda p, c: f"{100 * p.rss_kb / max(c.memory_kb, 1):.1f}"),
    "vsz": ("VSZ", lambda p, c: str(p.vsz_kb)),
    "rss": ("RSS", lambda p, c: str(p.rss_kb)),
    "tty": ("TTY", lambda p, c: _tty(p)),
    "stat": ("STAT", _stat),
    "state": ("S", lambda p, c: p.state),
    "stime": ("STIME", _start),
    "start": ("START", _start),
    "time": ("TIME", _spent),
    "bsdtime": ("TIME", _spent_bsd),
    "etime": ("ELAPSED", _elapsed),
    "ni": ("NI", lambda p, c: str(p.nice)),
    "nlwp": ("NLWP", lambda p, c: str(p.threads)),
    "comm": ("COMMAND", lambda p, c: p.comm),
    "args": ("COMMAND", lambda p, c: p.args),
    "cmd": ("CMD", lambda p, c: p.args),
    "ucmd": ("CMD", lambda p, c: p.comm),
}
_ALIASES = {
    "%cpu": "pcpu",
    "%mem": "pmem",
    "tt": "tty",
    "tname": "tty",
    "command": "args",
    "s": "state",
    "nice": "ni",
    "euid": "uid",
    "ruid": "uid",
    "euser": "user",
    "cputime": "time",
    "vsize": "vsz",
    "rssize": "rss",
    "pgrp": "pgid",
    "sess": "sid",
    "session": "sid",
    "thcount": "nlwp",
    "start_time": "stime",
    "lstart": "start",
    "bsdstart": "start",
    "egid": "gid",
    "egroup": "group",
    "fname": "comm",
}
_FULL = ["fuid", "pid", "ppid", "c", "stime", "tty", "time", "cmd"]
_BSD_USER = ["user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "start", "bsdtime", "args"]
_BSD = ["pid", "tty", "stat", "bsdtime", "args"]
_PLAIN = ["pid", "tty", "time", "ucmd"]
_JOBS = ["pid", "pgid", "sid", "tty", "time", "ucmd"]
_LONG = ["state", "uid", "pid", "ppid", "c", "ni", "vsz", "tty", "time", "ucmd"]


class Choice(NamedTuple):
    """What ps is asked for: (column, title), (fact, values) of which one must hold, a row for each thread."""

    columns: list[tuple[str, str]]
    selectors: list[tuple[str, frozenset[str]]]
    threads: bool


_FACTS = {"p": "pid", "q": "pid", "C": "comm", "s": "sid", "u": "uid"}
_FACTS |= {"quick-pid": "pid", "user": "uid", "pid": "pid", "ppid": "ppid", "sid": "sid"}
_APART = re.compile(r"-([pqCsu])|--(pid|quick-pid|ppid|sid|user)|([pq])")
_TOGETHER = re.compile(r"(?:-([pqs])(?=[0-9])|-(C)|--(pid|quick-pid|ppid|sid|user)=|(?=[0-9]))(.+)")


def choose(ps_args: str) -> Choice:
    """What words of ps(1) ask for; docker's default is ``-ef``."""
    words = ps_args.split() or ["-ef"]
    chosen: list[tuple[str, str]] = []
    selectors: list[tuple[str, frozenset[str]]] = []
    flags = ""
    while words:
        word = words.pop(0)
        flags += "" if word.startswith("-") else "b"  # words without a dash are BSD's
        if selector := _selector(word, words):
            selectors.append(selector)
        elif word in ("-o", "o", "-eo", "-Ao", "--format"):
            if not words:
                raise InvalidArgument(f"ps: {word} needs a list of columns")
            chosen += _parse_format(words.pop(0))
            flags += word[1:2] if word in ("-eo", "-Ao") else ""
        elif word.startswith(("-o", "--format=", "-eo")):
            chosen += _parse_format(
                word.partition("o")[2] if not word.startswith("--") else word.partition("=")[2]
            )
            flags += "e" if word.startswith("-eo") else ""
        elif set(word) <= set("-eAafuxlwwjFTL"):
            flags += word
        else:
            raise Unsupported(f"ps option {word} is not supported by top")
    if set(flags) & set("eAax"):
        selectors = []
    return Choice(chosen or _style(flags), selectors, bool(set(flags) & set("TL")))


def _selector(word: str, words: list[str]) -> tuple[str, frozenset[str]] | None:
    """The fact and its values, the next of ``words`` if need be, if this is an option that selects."""
    if (match := _APART.fullmatch(word)) and words and not words[0].startswith("-"):
        fact, text = _FACTS[match[match.lastindex or 0]], words.pop(0)
    elif match := _TOGETHER.fullmatch(word):
        name, text = match[1] or match[2] or match[3] or "pid", match[4]
        fact = _FACTS[name]
    else:
        return None
    values = [value for value in text.split(",") if value]
    if fact == "uid":
        values = [_uid(value) for value in values]
    elif fact != "comm" and not (values and all(value.isdecimal() for value in values)):
        raise InvalidArgument(f"ps: {text} is no list of numbers for {word}")
    return fact, frozenset(values)


def _uid(name: str) -> str:
    try:
        return name if name.isdecimal() else str(pwd.getpwnam(name).pw_uid)
    except KeyError:
        raise InvalidArgument(f"ps: there is no user {name}") from None


def _style(flags: str) -> list[tuple[str, str]]:
    """The columns that ps has for its flags."""
    styles = {"f": _FULL, "F": _FULL, "u": _BSD_USER, "l": _LONG, "j": _JOBS, "x": _BSD, "b": _BSD}
    names = list(next((names for flag, names in styles.items() if flag in flags), _PLAIN))
    if "T" in flags:
        names.insert(names.index("pid") + 1, "spid")
    if "L" in flags:
        names.insert(names.index("ppid" if "ppid" in names else "pid") + 1, "lwp")
        if "c" in names:
            names.insert(names.index("c") + 1, "nlwp")
    return [(name, _COLUMNS[name][0]) for name in names]


def _parse_format(text: str) -> list[tuple[str, str]]:
    chosen = []
    for entry in text.split(","):
        word, equals, title = entry.partition("=")
        name = _ALIASES.get(word.lower(), word.lower())
        if name not in _COLUMNS:
            raise InvalidArgument(f'ps: unknown user-defined format specifier "{word}"')
        chosen.append((name, title if equals else _COLUMNS[name][0]))
    return chosen


def split_order(ps_args: str) -> tuple[str, list[tuple[str, bool]]]:
    """The other words, and (column, whether descending) of each key of ``--sort``, the first one leading."""
    found = re.search(r"(?:^|\s)--sort[=\s]\s*(\S+)", ps_args)
    if found is None:
        return ps_args, []
    words = ps_args[: found.start()] + ps_args[found.end() :]
    return words.strip() or "-e", [_parse_key(key) for key in found[1].split(",")]


def _parse_key(text: str) -> tuple[str, bool]:
    word = text.lstrip("+-").lower()
    name = _ALIASES.get(word, word)
    if name not in _COLUMNS:
        raise InvalidArgument(f'ps: unknown sort specifier "{text}"')
    return name, text.startswith("-")


def _value(clock: Clock, name: str, process: Process) -> tuple[float, str]:
    """What sorts a process: numbers as numbers, moments as such, and the rest as it is shown."""
    if name in ("start", "stime", "etime"):
        return (-process.start_ticks if name == "etime" else process.start_ticks), ""
    text = _COLUMNS[name][1](process, clock)
    return (float(text), "") if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text, re.ASCII) else (0.0, text)


def table(pids: list[int], ps_args: str) -> Json:
    """docker's ``ContainerTopResponse`` of the processes that still live."""
    words, keys = split_order(ps_args)
    columns, selectors, threads = choose(words)
    clock = read_clock()
    found = [process for process in map(read_process, sorted(pids)) if process]
    if selectors:
        found = [
            process
            for process in found
            if any(str(getattr(process, fact)) in values for fact, values in selectors)
        ]
    if threads:
        found = [thread for process in found for thread in _threads(process)]
    for name, descending in reversed(keys):
        found.sort(key=partial(_value, clock, name), reverse=descending)
    return {
        "Titles": [title for _, title in columns],
        "Processes": [[_COLUMNS[name][1](process, clock) for name, _ in columns] for process in found],
    }
