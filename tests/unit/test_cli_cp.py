"""``cp`` means by its paths what docker's means, and nothing of a container gets where nobody wants it."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_archives import FakeArchives, tree
from fake_engine import FakeEngine
from parity import Outcome, Parity

THEN = 1_000_000_000
CANARY = b"of the host"


class Copying:
    """A container ``c`` and a local directory ``here``, made anew for each run; beside it lies a canary."""

    def __init__(self, directory: Path) -> None:
        self.engine = FakeEngine(directory)
        self.here, self.root, self.outside = directory / "here", directory / "root", directory / "outside"
        self.here.mkdir()
        self.parity = Parity(self.engine, self.here)
        self.archives = FakeArchives(self.engine, self.root)
        self.reset()

    def reset(self) -> None:
        """Both trees, and the canary."""
        for folder in (self.here, self.root, self.outside):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        (self.outside / "canary").write_bytes(CANARY)
        for folder in (self.here, self.root):
            plant(folder)
        (self.here / "dd" / "dir").write_text("a file in the way")

    def run(self, words: str, docker: bool = False, stdin: bytes | None = None) -> tuple[Outcome, Any, Any]:
        """Return what came of ``cp WORDS``, the local tree and what the container got."""
        self.reset()
        self.archives.received = []
        done = (self.parity.docker if docker else self.parity.ours)(f"cp {words}", stdin)
        # docker's command logs, now and then, that nobody took its archive.
        lines = [line for line in done.err.splitlines(True) if not line.startswith("time=")]
        found = {path: facts for path, facts in tree(self.here).items() if not path.startswith("config")}
        for path, (mode, content, when) in found.items():
            found[path] = (mode, content, when if when == THEN else "now")
        return done._replace(err="".join(lines)), found, self.archives.received


def plant(root: Path) -> None:
    """Files, directories and links of every kind."""
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "dir" / "sub").chmod(0o750)
    (root / "dir" / "sub" / "b").write_text("b")
    (root / "dir" / "a").write_text("aa")
    os.link(root / "dir" / "a", root / "dir" / "hard")
    (root / "dir" / "l").symlink_to("a")
    (root / "dir" / "absolute").symlink_to("/etc/x")
    (root / "dir" / ("n" * 120)).write_text("long")
    (root / "dir" / "ü").write_text("u")
    os.mkfifo(root / "dir" / "fifo")
    for name in ("d", "dd"):
        (root / name).mkdir()
    for name in ("file", "f", "device"):
        (root / name).write_text(name)
    links = {"link": "file", "dlink": "dir", "alink": "/file", "lf": "f", "ld": "d", "broken": "nowhere"}
    for name, target in {**links, "lost": "missing/x", "loop": "loop"}.items():
        (root / name).symlink_to(target)
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (THEN, THEN), follow_symlinks=False)


@pytest.fixture(scope="module")
def copying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copying]:
    copying = Copying(tmp_path_factory.mktemp("cp"))
    yield copying
    copying.engine.close()


def check(copying: Copying, words: str, stdin: bytes | None = None) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker CLI is not installed")
    assert copying.run(words, stdin=stdin) == copying.run(words, docker=True, stdin=stdin)


TARGETS = [
    "d", "d/.", "f", "f/", "new", "new/", "new/.", "missing/new", "lf", "ld", "broken", "lost", "loop",
    "/dev/null", "dd", "-", "d/new", "dd/dir",
]  # fmt: skip
FEW = ["d", "new", "f"]
OUT = {
    "/dir": TARGETS,
    "/dir/.": [*FEW, "ld", "dd", "new/."],
    "/file": [*FEW, "new/", "lf", "broken", "dd/dir"],
    "/dir/": FEW,
    "/link": FEW,
    "/dlink": FEW,
    "/dlink/": FEW,
    "/dlink/.": FEW,
    "/nosuch": FEW,
    "-L /link": FEW,
    "-L /alink": FEW,
    "-L /dlink": FEW,
    "-L /dlink/": FEW,
    "-L /dir": ["d"],
    "-L /nosuch": ["d"],
}


@pytest.mark.parametrize("source", OUT)
def test_out_of_a_container_as_docker(copying: Copying, source: str) -> None:
    for target in OUT[source]:
        check(copying, f"{source.replace('/', 'c:/', 1)} {target}")


INSIDE = [
    "/d",
    "/d/.",
    "/f",
    "/new",
    "/new/",
    "/missing/new",
    "/lf",
    "/ld",
    "/broken",
    "/device",
    "rel/x",
    "",
]
SOME = ["/d", "/new", "/f"]
INTO = {
    "dir": INSIDE,
    "dir/.": [*SOME, "/ld"],
    "file": [*SOME, "/new/", "/lf", "/broken", "/device"],
    "dir/": SOME,
    "file/": SOME,
    "link": SOME,
    "dlink": SOME,
    "dlink/": SOME,
    "broken": SOME,
    "nosuch": SOME,
    "dir/../file": SOME,
    "-L link": SOME,
    "-L dlink/": SOME,
    "-L broken": ["/d"],
    "-a dir": ["/d"],
}


@pytest.mark.parametrize("source", INTO)
def test_into_a_container_as_docker(copying: Copying, source: str) -> None:
    for target in INTO[source]:
        check(copying, f"{source} c:{target}")


WORDS = [
    "", "a", "a b", "c:/a c:/b", "'' c:/x", "c:/x ''", "./c:d c:/d", ":/x y", "nosuch:/dir d",
    "dir nosuch:/d", "-q dir c:/d", "-q=false dir c:/d", "-q=false c:/dir out", "- c:/f", "- c:/new",
]  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
def test_arguments_as_docker(copying: Copying, words: str) -> None:
    check(copying, words, b"an archive")


def test_an_archive_on_standard_input_goes_as_it_is(copying: Copying) -> None:
    check(copying, "- c:/d", archive(member("x", b"1")))


def test_a_target_that_is_a_link_to_a_directory_with_a_slash(copying: Copying) -> None:
    """docker's command fails here: it takes the link for a file in the way."""
    done, found, _ = copying.run("c:/dir/. ld/")
    assert (done.status, found["d/a"][1]) == (0, b"aa")


# -- hostile streams ---------------------------------------------------------------------------------------


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", **more: Any) -> Any:
    """Return one member of an archive; ``more`` are fields of its header."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(data), more.pop("mode", 0o644)
    info.pax_headers = more.pop("records", {})
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def archive(*members: Any) -> bytes:
    """Return the archive of members."""
    parts = []
    for info, data in members:
        parts += [info.tobuf(tarfile.PAX_FORMAT), data, bytes(-len(data) % 512)]
    return b"".join(parts) + bytes(1024)


def directory(name: str) -> Any:
    return member(name, kind=tarfile.DIRTYPE, mode=0o755)


def symlink(name: str, target: str) -> Any:
    return member(name, kind=tarfile.SYMTYPE, link=target)


def hardlink(name: str, target: str) -> Any:
    return member(name, kind=tarfile.LNKTYPE, link=target)


def receive(copying: Copying, words: str, *members: Any, raw: bytes | None = None) -> tuple[Outcome, Any]:
    """Return what came of a copy out of a container that sends these members."""
    copying.archives.replacement = archive(*members) if raw is None else raw
    try:
        done, found, _ = copying.run(words)
    finally:
        copying.archives.replacement = None
    assert {path: facts[1] for path, facts in tree(copying.outside).items()} == {"canary": CANARY}
    return done, found


HOSTILE: dict[str, tuple[str, list[Any]]] = {
    "a name with dots": ("is outside of", [directory("dir"), member("dir/../../outside/evil", b"x")]),
    "dots behind a link": (
        "links are not followed",
        [directory("dir"), symlink("dir/up", "sub/../x"), member("dir/up/evil", b"x")],
    ),
    "through an absolute link": (
        "links are not followed",
        [directory("dir"), symlink("dir/root", "/"), member("dir/root/evil", b"x")],
    ),
    "a directory over a link": (
        "cannot overwrite non-directory",
        [directory("dir"), symlink("dir/l2", "/tmp"), directory("dir/l2")],
    ),
    "a link that leads out": (
        "invalid symlink",
        [directory("dir"), symlink("dir/l2", "../../../outside/canary")],
    ),
    "a hard link that leads out": (
        "is outside of",
        [directory("dir"), hardlink("dir/h", "../../outside/canary")],
    ),
    "a hard link to the directory": ("is not what was asked for", [directory("dir"), hardlink("dir/h", "f")]),
    "a hard link through a link": (
        "links are not followed",
        [directory("dir"), symlink("dir/o", "/proc"), hardlink("dir/h", "dir/o/version")],
    ),
    "another name": ("is not what was asked for", [directory("dir"), member("f", b"overwritten")]),
    "another name, absolute": ("is not what was asked for", [directory("dir"), member("/etc/evil", b"x")]),
    "a device": ("is a device", [directory("dir"), member("dir/disk", kind=tarfile.BLKTYPE, devmajor=8)]),
    "a terminal": ("is a device", [directory("dir"), member("dir/tty", kind=tarfile.CHRTYPE, devmajor=5)]),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("target", [".", "d", "new"])
def test_cve_2026_17106_nothing_leaves_the_destination(copying: Copying, name: str, target: str) -> None:
    words, members = HOSTILE[name]
    done, found = receive(copying, f"c:/dir {target}", *members)
    assert done.status == 1
    assert words in done.err
    assert found["f"][1] == b"f"
    assert not [path for path in found if "evil" in path]


def test_a_file_takes_no_directorys_place(copying: Copying) -> None:
    done, found = receive(copying, "c:/dir .", member("dir", b"x"))
    assert (done.status, found["dir/a"][1]) == (1, b"aa")
    assert "cannot overwrite directory" in done.err


def test_cve_2026_17106_links_of_the_host_are_not_followed(copying: Copying) -> None:
    """What lies in the destination already: a link there is replaced or refused, never written through."""
    planted = copying.here / "d" / "dir"

    def reset() -> None:
        Copying.reset(copying)
        planted.mkdir()
        (planted / "out").symlink_to(copying.outside)
        (planted / "canary").symlink_to(copying.outside / "canary")

    copying.reset = reset  # type: ignore[method-assign]
    try:
        done, _ = receive(copying, "c:/dir d", member("dir/out/evil", b"x"))
        assert (done.status, "links are not followed" in done.err) == (1, True)
        done, found = receive(
            copying, "c:/dir d", member("dir/canary", b"x"), hardlink("dir/two", "dir/canary")
        )
        assert (done.status, found["d/dir/canary"][1], found["d/dir/two"][1]) == (0, b"x", b"x")
    finally:
        del copying.reset


def test_cve_2026_17106_a_file_for_one_name_brings_only_that(copying: Copying) -> None:
    for sent in ("other", "file/../other", "./other", "new/x"):
        done, found = receive(copying, "c:/file new", member("file", b"1"), member(sent, b"2"))
        assert (done.status, found["new"][1]) == (1, b"1")
        assert "other" not in found


def test_cve_2019_10152_links_are_read_in_the_container_only(copying: Copying) -> None:
    """A path of the container is never looked up here: not its links, not its wildcards."""
    done, _, _ = copying.run("c:/dir/* d")
    assert done.requests == ["GET /containers/c/archive [('path', '/dir/*')]"]
    secret = copying.outside / "canary"

    def reset() -> None:
        Copying.reset(copying)
        same = copying.root / str(secret).lstrip("/")
        same.parent.mkdir(parents=True)
        same.write_text("the container's")
        (copying.root / "leak").symlink_to(secret)

    copying.reset = reset  # type: ignore[method-assign]
    try:
        done, found, _ = copying.run("-L c:/leak new")
    finally:
        del copying.reset
    assert done.requests[-1] == f"GET /containers/c/archive [('path', '{secret}')]"
    assert found["new"][1] == b"the container's"


def test_rights_of_a_container_stay_there(copying: Copying) -> None:
    capable = {"SCHILY.xattr.security.capability": "\x01\x00\x00\x02" + "\x00" * 16}
    sent = [
        member("dir/su", b"1", mode=0o6755), member("dir/cap", b"2", records=capable),
        member("dir/own", b"3", uid=4711, gid=4711, mode=0o640),
        member("dir/sd", kind=tarfile.DIRTYPE, mode=0o3777),
    ]  # fmt: skip
    done, found = receive(copying, "c:/dir d", *sent)
    assert done.status == 0
    assert "2 files lost theirs" in done.err
    modes = [found[f"d/dir/{name}"][0] for name in ("su", "cap", "own", "sd")]
    assert modes == ["0o100755", "0o100644", "0o100640", "0o41777"]
    assert "security.capability" not in os.listxattr(copying.here / "d" / "dir" / "cap")
    assert os.stat(copying.here / "d" / "dir" / "own").st_uid == os.geteuid()


def test_directories_closed_to_their_owner_can_be_filled(copying: Copying) -> None:
    closed = member("dir/closed", kind=tarfile.DIRTYPE, mode=0o555, mtime=THEN)
    done, found = receive(
        copying, "c:/dir d", closed, member("dir/closed/x", b"1"), member("dir/deep/er/y", b"2")
    )
    assert done.status == 0
    assert (found["d/dir/closed"][0], found["d/dir/closed"][2]) == ("0o40555", THEN)
    assert (found["d/dir/closed/x"][1], found["d/dir/deep/er/y"][1]) == (b"1", b"2")


def test_sparse_files_stay_sparse(copying: Copying) -> None:
    records = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "dir/holes",
        "GNU.sparse.realsize": str(1 << 30),
    }  # fmt: skip
    sent = b"1\n1048576\n4\n".ljust(512, b"\0") + b"data"
    done, _ = receive(copying, "c:/dir d", member("dir/GNUSparseFile.0/holes", sent, records=records))
    status = os.stat(copying.here / "d" / "dir" / "holes")
    assert (done.status, status.st_size, status.st_blocks * 512 < 1 << 20) == (0, 1 << 30, True)


WHOLE = archive(directory("dir"), member("dir/x", b"x" * 600))


@pytest.mark.parametrize("cut", [100, 700, 1500])
def test_an_archive_that_is_cut_is_an_error(copying: Copying, cut: int) -> None:
    done, _ = receive(copying, "c:/dir d", raw=WHOLE[:cut])
    assert (done.status, "unexpected end" in done.err) == (1, True)


@pytest.mark.parametrize("cut", [0, 100, 512, 1500, len(WHOLE) - 1024, len(WHOLE) - 1])
def test_an_answer_that_breaks_off_is_an_error(copying: Copying, cut: int) -> None:
    copying.archives.missing = len(WHOLE) - cut
    try:
        done, _ = receive(copying, "c:/dir d", raw=WHOLE[:cut])
    finally:
        copying.archives.missing = 0
    assert (done.status, done.err) == (1, "unexpected EOF\n")


def test_what_is_no_archive_is_an_error(copying: Copying) -> None:
    done, _ = receive(copying, "c:/dir d", raw=b"<html>" * 1000)
    assert (done.status, "is it a tar archive?" in done.err) == (1, True)


def test_the_count_is_shown_on_a_terminal(copying: Copying) -> None:
    copying.reset()
    seen = copying.parity.terminal(f"cp c:/file {copying.here / 'd'}", [], (24, 100))[1]
    assert b"Copying from container - 0B" in seen
    assert (
        seen.endswith(f"Successfully copied 2.05kB to {copying.here / 'd'}\r\n".encode()) or b"kB to" in seen
    )


def test_what_is_sent_keeps_what_docker_keeps(copying: Copying, tmp_path: Path) -> None:
    """Big files, and modes with all bits; not this machine's user attributes."""
    big = tmp_path / "big"
    big.write_bytes(os.urandom(3_000_000))
    big.chmod(0o7755)
    os.setxattr(big, "user.origin", b"elsewhere")
    done, _, received = copying.run(f"{big} c:/d")
    assert done.status == 0
    (sent,) = received
    assert (sent[0], sent[2], sent[7], sent[8]) == ("big", "0o7755", {}, big.read_bytes())
