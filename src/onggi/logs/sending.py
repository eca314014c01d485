"""Drivers that send records to other programs: where to, and what a record looks like there.

``syslog`` speaks to the machine's daemon or to an address, in the formats of RFC 3164 and RFC 5424;
``journald`` speaks the native protocol of systemd's journal. Names are resolved by the engine, at each start:
that would load libraries of the machine by their paths in the process of a container.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from onggi.errors import InvalidArgument, Unsupported
from onggi.frames import STDERR
from onggi.logs.record import Record
from onggi.times import rfc3339, rfc3339_fixed

SENDING = ("journald", "syslog")
JOURNAL = "/run/systemd/journal/socket"
LOCAL_SYSLOG = ("/dev/log", "/var/run/syslog", "/var/run/log")
_PATIENCE_S = 0.5  # for a daemon that does not read: a container is not to wait for it for ever
_PAUSE_S = 1.0  # before it is tried again
_INFO, _ERROR = 6, 3
_NAMES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
)  # fmt: skip
_FACILITIES = {name: number for number, name in enumerate(_NAMES)} | {f"local{n}": 16 + n for n in range(8)}
_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_SCHEMES = ("tcp", "udp", "unix", "unixgram", "tcp+tls")


class Address(NamedTuple):
    """``kind`` is of a socket; ``where`` a path, or a number and a port."""

    family: int
    kind: int
    where: str | tuple[str, int]


class Source(NamedTuple):
    """Whose records they are: docker's ids and names, its tag, and the chosen labels and variables."""

    id: str
    name: str
    image: str
    tag: str
    extra: Mapping[str, str]


def validate(driver: str, options: Mapping[str, str]) -> None:
    """Refuse what is wrong as written, in docker's words."""
    if driver != "syslog":
        return
    address(options)
    _facility(options)
    if options.get("syslog-format", "") not in _FORMATS:
        raise InvalidArgument("Invalid syslog format")


def check(driver: str, options: Mapping[str, str]) -> None:
    """Refuse what this machine has nobody for. Raises Unsupported in docker's words."""
    if driver == "journald" and not _is_socket(JOURNAL):
        raise Unsupported("failed to initialize logging driver: journald is not enabled on this host")
    if driver == "syslog":
        found = address(options)
        if found is None:
            raise Unsupported("failed to initialize logging driver: Unix syslog delivery error")
        if isinstance(found.where, str) and not os.path.exists(found.where):
            raise InvalidArgument(f"stat {found.where}: no such file or directory")


def address(options: Mapping[str, str]) -> Address | None:
    """Where ``syslog-address`` is; without one the machine's own daemon, or None where there is none."""
    text = options.get("syslog-address", "")
    if not text:
        found = next((path for path in LOCAL_SYSLOG if _is_socket(path)), None)
        return Address(socket.AF_UNIX, socket.SOCK_DGRAM, found) if found else None
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise InvalidArgument(f"unsupported scheme: '{scheme if separator else ''}'")
    if scheme == "tcp+tls":
        raise Unsupported(
            "syslog-address tcp+tls is not supported: send to a local daemon that relays with TLS"
        )
    kind = socket.SOCK_DGRAM if scheme in ("udp", "unixgram") else socket.SOCK_STREAM
    if scheme.startswith("unix"):
        return Address(socket.AF_UNIX, kind, rest)
    host, _, port = rest.rpartition(":") if ":" in rest.rpartition("]")[2] else (rest, "", "514")
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise InvalidArgument(f"invalid syslog-address: {text}")
    family, number = _numeric(host.strip("[]"))
    return Address(family, kind, (number, int(port)))


def _numeric(host: str) -> tuple[int, str]:
    number = "127.0.0.1" if host in ("", "localhost") else host
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, number)
        except OSError:
            continue
        return family, number
    return socket.AF_UNSPEC, host


def resolved(options: Mapping[str, str]) -> dict[str, str]:
    """The options with a number for a name in ``syslog-address``; asks for it, which may take a while."""
    found = address(options) if options.get("syslog-address") else None
    if found is None or found.family != socket.AF_UNSPEC or isinstance(found.where, str):
        return dict(options)
    scheme, (name, port) = options["syslog-address"].partition("://")[0], found.where
    try:
        number = str(socket.getaddrinfo(name, port, type=found.kind)[0][4][0])
    except (OSError, UnicodeError):
        words = f"failed to initialize logging driver: dial {scheme}: lookup {name}: no such host"
        raise InvalidArgument(words) from None
    shown = f"[{number}]" if ":" in number else number
    return {**options, "syslog-address": f"{scheme}://{shown}:{port}"}


def _facility(options: Mapping[str, str]) -> int:
    text = options.get("syslog-facility", "daemon")
    number = int(text) if text.isascii() and text.isdigit() else _FACILITIES.get(text, -1)
    if not 0 <= number <= 23:
        raise InvalidArgument("invalid syslog facility")
    return number


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


Encoder = Callable[[Record], bytes]


def syslog_encoder(options: Mapping[str, str], source: Source) -> Encoder:
    """What makes a syslog message of a record."""
    form, facility = options.get("syslog-format", ""), _facility(options)
    host, pid, tag = os.uname().nodename, os.getpid(), source.tag

    def encode(record: Record) -> bytes:
        priority = facility * 8 + (_ERROR if record.stream == STDERR else _INFO)
        if form.startswith("rfc5424"):
            when = _stamp(record.time_ns, micro=form.endswith("micro"))
            head = f"<{priority}>1 {when} {host} {tag} {pid} {tag} - "
        else:
            when = time.strftime("%b %e %H:%M:%S", time.localtime(record.time_ns // 10**9))
            head = f"<{priority}>{when} {host + ' ' if form else ''}{tag}[{pid}]: "
        return head.encode() + record.data.rstrip(b"\n") + b"\n"

    return encode


def _stamp(time_ns: int, *, micro: bool) -> str:
    return rfc3339_fixed(time_ns)[: 26 if micro else 19] + "Z"


def journal_encoder(source: Source) -> Encoder:
    """What makes an entry of the journal of a record (systemd, "Native Journal Protocol")."""
    fields = {
        "CONTAINER_ID": source.id[:12],
        "CONTAINER_ID_FULL": source.id,
        "CONTAINER_NAME": source.name,
        "CONTAINER_TAG": source.tag,
        "IMAGE_NAME": source.image,
        "SYSLOG_IDENTIFIER": source.tag,
        **{_field_name(name): value for name, value in source.extra.items()},
    }
    beside = b"".join(_field(name, value.encode()) for name, value in fields.items())

    place = _Place()

    def encode(record: Record) -> bytes:
        own = {
            "MESSAGE": record.data.rstrip(b"\n"),
            "PRIORITY": b"3" if record.stream == STDERR else b"6",
            "SYSLOG_TIMESTAMP": rfc3339(record.time_ns).encode(),
            **place.fields(record),
        }
        return b"".join(_field(name, value) for name, value in own.items()) + beside

    return encode


class _Place:
    """Where records stand, as docker tells it: in the log since this start, and in a line that was cut."""

    def __init__(self) -> None:
        self._epoch, self._count = os.urandom(32).hex().encode(), 0
        self._cut: dict[int, tuple[bytes, int]] = {}  # by stream: id of the line, parts of it so far

    def fields(self, record: Record) -> dict[str, bytes]:
        """Of the next record."""
        self._count += 1
        told = {"CONTAINER_LOG_EPOCH": self._epoch, "CONTAINER_LOG_ORDINAL": b"%d" % self._count}
        last = record.data.endswith(b"\n")
        if last and record.stream not in self._cut:
            return told
        line, before = self._cut.pop(record.stream, (b"", 0))
        line = line or os.urandom(32).hex().encode()
        told |= {"CONTAINER_PARTIAL_ID": line, "CONTAINER_PARTIAL_ORDINAL": b"%d" % (before + 1)}
        if last:
            return told | {"CONTAINER_PARTIAL_LAST": b"true"}
        self._cut[record.stream] = line, before + 1
        return told | {"CONTAINER_PARTIAL_LAST": b"false", "CONTAINER_PARTIAL_MESSAGE": b"true"}


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def _field_name(name: str) -> str:
    """Letters, digits and underscores; the journal keeps a first underscore for itself."""
    letters = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return letters.upper().lstrip("_") or "X"


class Sender:
    """Sends messages to one address; a peer that is gone is tried again after a pause, at the next record."""

    def __init__(self, target: Address | None) -> None:
        self._target, self._socket = target, socket.socket()
        self._connected, self._again = False, 0.0

    def send(self, message: bytes) -> bool:
        """Whether the message was taken."""
        if self._target is None or (not self._connected and time.monotonic() < self._again):
            return False
        # Twice: the peer may have started anew since the last message.
        return self._try(message) or self._try(message)

    def _try(self, message: bytes) -> bool:
        try:
            if not self._connected:
                self._connect()
            self._socket.sendall(message)
        except OSError:
            self.close()
            self._again = time.monotonic() + _PAUSE_S
            return False
        return True

    def _connect(self, patience_s: float = _PATIENCE_S) -> None:
        assert self._target is not None
        self._socket.close()
        self._socket = socket.socket(self._target.family, self._target.kind | socket.SOCK_CLOEXEC)
        self._socket.settimeout(patience_s)
        try:
            self._socket.connect(self._target.where)
        except BlockingIOError as error:
            if error.errno != errno.EINPROGRESS:
                raise
        self._connected = True

    @property
    def waits(self) -> bool:
        """Whether something is to be offered again."""
        return False

    def offer(self) -> bool:
        """Send what waits; whether any of it was taken."""
        return False

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()
        self._connected = False

    def finish(self) -> int:
        """Close; how many messages were never taken."""
        self.close()
        return 0


class BufferedSender(Sender):
    """Never waits (docker's ``mode=non-blocking``): of what the peer does not take at once ``size`` bytes are
    kept, and sent before what comes next, or when they are offered.
    """

    def __init__(self, target: Address | None, size: int) -> None:
        super().__init__(target)
        self._size, self._held = size, 0
        self._taken = 0  # bytes of the first message, by the present connection
        self._waiting: deque[bytes] = deque()
        self._flush(_PATIENCE_S)  # no container waits yet: connect now

    def send(self, message: bytes) -> bool:
        """Whether the message was taken or waits; as docker's, one that finds no room is dropped."""
        self._flush(0)
        if self._target is None or (self._waiting and self._held + len(message) > self._size):
            return False
        self._waiting.append(message)
        self._held += len(message)
        self._flush(0)
        return True

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def offer(self) -> bool:
        held = self._held
        if self._waiting:
            self._flush(0)
        return self._held < held

    def close(self) -> None:
        super().close()
        self._held += self._taken  # the next connection gets the message whole: no line begins in its middle
        self._taken = 0

    def finish(self) -> int:
        """Close; how many messages were never taken, though they were offered once more."""
        if self._waiting:
            self._flush(_PATIENCE_S)
        self.close()
        lost = len(self._waiting)
        self._waiting.clear()
        return lost

    def _flush(self, patience_s: float) -> None:
        if self._target is None or (not self._connected and time.monotonic() < self._again):
            return
        try:
            if not self._connected:
                self._connect(patience_s)
            self._socket.settimeout(patience_s)
            while self._waiting:
                self._send_first()
        except (BlockingIOError, TimeoutError):
            return  # the peer is slow
        except OSError:
            self.close()
            self._again = time.monotonic() + _PAUSE_S

    def _send_first(self) -> None:
        message = self._waiting[0]
        try:
            sent = self._socket.send(memoryview(message)[self._taken :])
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            sent = len(message)  # it never will be taken
        self._held -= sent
        self._taken += sent
        if self._taken == len(message):
            self._waiting.popleft()
            self._taken = 0


def sender(target: Address | None, buffer_size: int) -> Sender:
    """What sends there; with ``buffer_size`` no container ever waits."""
    return BufferedSender(target, buffer_size) if buffer_size else Sender(target)


def encoder(driver: str, options: Mapping[str, str], source: Source) -> tuple[Address | None, Encoder]:
    """Where a driver sends to, and what."""
    if driver == "journald":
        return Address(socket.AF_UNIX, socket.SOCK_DGRAM, JOURNAL), journal_encoder(source)
    return address(options), syslog_encoder(options, source)
