"""Resolve docker's ``user[:group]`` against a passwd and a group file. Pure.

A string of digits is an id and never a name (rule R8, CVE-2016-3697); ids end at 2^31-1 as in docker
(CVE-2024-40635); anything else that is not found is an error, never root (CVE-2026-30892).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from onggi.errors import InvalidArgument

MAX_ID = 2**31 - 1
_MAX_LINE = 65536


class Identity(NamedTuple):
    """Ids of a process.

    ``groups`` holds the primary group first (CVE-2022-36109), ``home`` is never empty.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class _Account(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


def _rows(data: bytes, columns: int) -> Iterator[list[str]]:
    for line in data.split(b"\n"):
        if len(line) > _MAX_LINE or line.lstrip().startswith(b"#"):
            continue
        row = line.decode("utf-8", "surrogateescape").strip().split(":")
        if len(row) >= columns:
            yield row


def _row_id(text: str) -> int:
    """The id in a file's column, -1 if it is none: such a line matches nobody."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_ID else -1


def _asked_id(text: str) -> int | None:
    """The id if ``text`` is a string of digits, None if it is a name."""
    if text.isascii() and text.isdigit():
        if len(text) > 10 or int(text) > MAX_ID:
            raise InvalidArgument(f"uids and gids must be in range 0-{MAX_ID}")
        return int(text)
    if text[:1] == "-" and text[1:].isdigit():
        raise InvalidArgument(f"uids and gids must be in range 0-{MAX_ID}")
    return None


def _account(passwd: bytes, asked: str, uid: int | None) -> _Account | None:
    for row in _rows(passwd, 6):
        row_uid, row_gid = _row_id(row[2]), _row_id(row[3])
        matches = row[0] == asked if uid is None else row_uid == uid
        if matches and row_uid >= 0 and row_gid >= 0:
            return _Account(row[0], row_uid, row_gid, row[5])
    return None


def find_group(group: bytes, asked: str) -> int:
    """The gid of a group's name or number; raises InvalidArgument in docker's words."""
    gid = _asked_id(asked)
    if gid is not None:
        return gid
    for row in _rows(group, 3):
        if row[0] == asked and _row_id(row[2]) >= 0:
            return _row_id(row[2])
    raise InvalidArgument(f"unable to find group {asked}: no matching entries in group file")


def _memberships(group: bytes, name: str) -> list[int]:
    return [_row_id(row[2]) for row in _rows(group, 4) if name in row[3].split(",") and _row_id(row[2]) >= 0]


def resolve(user: str, passwd: bytes, group: bytes, group_add: list[str]) -> Identity:
    """Who ``user[:group]`` is in this root; without a user it is uid 0, also with a group as in ``:1000``.

    Without a group the supplementary groups are those that list the user; with one there are none.
    ``group_add`` comes on top of either.
    """
    name, _, group_name = user.partition(":")
    if user == ":":
        raise InvalidArgument(f"unable to find user {user}: no matching entries in passwd file")
    uid = _asked_id(name) if name else 0
    account = _account(passwd, name, uid)
    if account is None and uid is None:
        raise InvalidArgument(f"unable to find user {name}: no matching entries in passwd file")
    gid = account.gid if account else 0
    members: list[int] = []
    if group_name:
        gid = find_group(group, group_name)
    elif account:
        members = _memberships(group, account.name)
    groups = dict.fromkeys([gid, *members, *(find_group(group, extra) for extra in group_add)])
    return Identity(
        account.uid if account else uid or 0,
        gid,
        tuple(groups),
        account.home if account and account.home else "/",
    )
