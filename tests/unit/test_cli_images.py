"""Commands about images do what docker's do: the same words, columns, exit codes and requests."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from parity import OURS, Parity, on_terminal

NOW = int(time.time())  # ages are of hours and more: both commands see the same
ID, DIGEST = "sha256:" + "b" * 64, "sha256:" + "d" * 64
SAVED = b"an archive, or so" * 100_000
PULLED = [
    {"status": "Pulling from library/busybox", "id": "latest"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaa"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "bbb"},
    {
        "status": "Downloading",
        "progressDetail": {"current": 1, "total": 4000000},
        "progress": "[>",
        "id": "bbb",
    },
    {"status": "Downloading", "progressDetail": {"current": 2000000, "total": 4000000}, "id": "aaa"},
    {"status": "Downloading", "progressDetail": {"current": 4000000, "total": 4000000}, "id": "bbb"},
    {"status": "Extracting", "progressDetail": {"current": 5}, "id": "aaa"},
    {"status": "Extracting", "progressDetail": {"current": 5, "units": "s"}, "id": "aaa"},
    {"status": "Extracting", "progressDetail": {"current": 5, "total": 10, "units": "files"}, "id": "bbb"},
    {"status": "Extracting", "progressDetail": {"current": 50, "total": 10, "hidecounts": True}, "id": "bbb"},
    {"status": "Pull complete", "progressDetail": {}, "id": "aaa"},
    {"status": "old engine", "progress": "[==>]", "id": "ccc"},
    {"status": "at", "time": 1700000000, "id": "q"},
    {"status": f"Digest: {DIGEST}"},
    {"status": "Status: Downloaded newer image for busybox:latest"},
]
NOTE = {
    "manifestPushedInsteadOfIndex": True,
    "originalIndex": {"digest": "sha256:a"},
    "selectedManifest": {"digest": "sha256:b"},
}
IMAGES: list[dict[str, Any]] = [
    {"Id": ID, "RepoTags": ["busybox:latest", "docker.io/library/busybox:2"],
     "RepoDigests": [f"busybox@{DIGEST}"], "Size": 4261574, "Created": NOW - 86400 * 40, "SharedSize": 100,
     "Containers": 2},
    {"Id": "sha256:" + "e" * 64, "RepoTags": [], "RepoDigests": [], "Created": 0, "Size": 1234567890,
     "SharedSize": -1, "Containers": -1},
    {"Id": "sha256:" + "c" * 64, "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"],
     "Created": NOW - 3700, "Size": 0, "SharedSize": -1, "Containers": -1},
    {"Id": "sha256:" + "f" * 64, "RepoTags": None, "RepoDigests": [f"only@{DIGEST}", f"only@{ID}"],
     "Created": NOW - 11000, "Size": 5, "SharedSize": -1, "Containers": 0, "Manifests": [
         {"ID": "sha256:" + "1" * 64, "Available": True, "Kind": "image",
          "Size": {"Total": 1000, "Content": 500},
          "ImageData": {"Platform": {"os": "linux", "architecture": "amd64"}, "Containers": ["x"]}},
         {"ID": "sha256:" + "2" * 64, "Available": False, "Kind": "image", "Size": {"Total": 0, "Content": 0},
          "ImageData": {"Platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}}},
         {"ID": "sha256:" + "3" * 64, "Available": True, "Kind": "attestation",
          "Size": {"Total": 7, "Content": 7}, "AttestationData": {"For": ID}}]},
]  # fmt: skip
HISTORY = [
    {"Id": ID, "Created": NOW - 86400, "CreatedBy": "/bin/sh\t" * 10, "Size": 1234567, "Comment": "c"},
    {"Id": "<missing>", "Created": 0, "CreatedBy": "x <&>", "Size": 0, "Comment": ""},
]
FOUND = [
    {"name": "busybox", "description": "A\nlong " + "x" * 60, "star_count": 3000, "is_official": True},
    {"name": "a/b", "description": "", "star_count": 0, "is_official": False},
]
AUTHS = {
    "auths": {
        "https://index.docker.io/v1/": {"auth": "dTpw"},
        "r.example:5000": {"auth": "YTpiOmM="},
        "http://old.example/v1/": {"auth": "dTpw", "email": "e@x"},
        "token.example": {"identitytoken": "xx"},
    }
}


def stream(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\r\n" for message in messages)


@pytest.fixture(scope="module")
def parity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parity]:
    directory = tmp_path_factory.mktemp("images")
    fake = FakeEngine(directory)
    denied = [*PULLED[:6], {"errorDetail": {"message": "denied"}, "error": "denied"}]
    absent = {"message": "No such container: nosuch"}
    fake.routes |= {
        "POST /images/create": (200, stream(PULLED)),
        "POST /images/docker.io/library/denied/push": (200, stream(denied)),
        "POST /images/docker.io/library/part/push": (200, stream([{"aux": NOTE}])),
        "POST /images/load": (200, stream([{"stream": "Loaded image: a:b\n"}])),
        "POST /images/prune": (
            200,
            {"ImagesDeleted": [{"Untagged": "a"}, {"Deleted": "b"}], "SpaceReclaimed": 1234},
        ),
        "POST /images/a/tag": (201, b""), "POST /images/*": (200, stream(PULLED)),
        "POST /commit": (201, {"Id": "sha256:abc"}),
        "GET /images/search": (200, FOUND), "GET /images/get": (200, SAVED),
        "GET /images/json": (200, IMAGES), "GET /images/bb/history": (200, HISTORY),
        "GET /images/bb/json": (200, {"Id": "x", "RepoTags": ["a"]}),
        "GET /images/*": (404, {"message": "No such image: nosuch"}),
        "GET /containers/c/export": (200, b"EXPORTED"), "GET /containers/n/changes": (200, None),
        "GET /containers/c/changes": (200, [{"Kind": k, "Path": f"/{k}"} for k in range(3)]),
        "GET /containers/nosuch/export": (404, absent), "GET /containers/nosuch/changes": (404, absent),
        "POST /containers/create": (404, {"message": "No such image: gone:latest"}),
        "DELETE /images/bb": (200, [{"Untagged": "bb:latest"}, {"Deleted": "sha256:x"}]),
        "DELETE /images/nosuch": (404, {"message": "No such image: nosuch"}),
        "DELETE /images/used": (409, {"message": "conflict"}),
    }  # fmt: skip
    (directory / "dir").mkdir()
    (directory / "file").write_text("x")
    (directory / "lnk").symlink_to("file")
    os.mkfifo(directory / "fifo")
    yield Parity(fake, directory)
    fake.close()


A64, A32 = "a" * 64, "a" * 32
LINES = rf"""
pull busybox
pull -q busybox
pull -a busybox
pull -a busybox:1
pull busybox@sha256:{A64}
pull busybox:x@sha256:{A64}
pull r.example:5000/a/b:c
pull old.example/x
pull token.example/x
pull localhost/x
pull index.docker.io/x/y
pull --platform Linux/AMD64 busybox
pull
pull Busybox
pull {A64}
pull a//b
pull a:b:c
pull a@sha256:abc
pull [::1]:5000/x
pull [::1:5000/x
pull EXAMPLE/x
pull a..b
pull a___b
pull a--b
pull a:-b
pull a:{"x" * 129}
pull {"a" * 256}
pull a@md5:{A32}
pull a@sha256:{A64.upper()}
pull a@sha512:{A64}
pull ''
pull x.y./z
pull x.y:80z/z
push busybox
push -q busybox
push -a busybox
push -a busybox:1
push r.example:5000/a:1
push --platform linux/arm64 a
push --platform foo a
push a@sha256:{A64}
push denied
push Err
search busybox
search --no-trunc --limit 5 --filter stars=3 --filter is-official=true x.example/a
search --filter is-automated=true x
search --format json x
search --format "table {{{{.Name}}}}\t{{{{.StarCount}}}}" x
search --format "{{{{.Foo}}}}" x
search --limit x x
save
save a b
save -o out.tar a b
save -o dir a
save -o lnk a
save -o fifo a
save -o nodir/x a
save -o file/x a
save -o /dev/null a
save --platform Linux/aarch64/v8 a
save --platform x86_64 a
save --platform armhf a
save --platform windows a
save --platform "windows(10.0)/amd64" a
save --platform a/b/c/d a
save --platform "linux/*" a
save --platform linux/arm/6 a
save --platform nonsense a
save --platform linux/ a
load
load -q -i file
load -i nosuch
load --platform linux/amd64 -i file
load extra
export c
export -o out.tar c
export nosuch
export -o dir c
export -o left.tar nosuch
commit c
commit c a:b
commit -p=false -a me -m msg -c "CMD x" -c "ENV a=b" c r.example/a
commit c A
commit c a@sha256:{A64}
commit c -m x
diff c
diff n
diff nosuch
diff ''
tag a c
tag a r.example/c/d:e
tag A c
tag a c@sha256:{A64}
import file
import -m x -c "CMD y" --platform linux/ARM64 file A
import http://x/y z
images
images -q
images --no-trunc
images --digests
images --format "table {{{{.ID}}}}" --digests
images --format json
images -q --format "{{{{.Tag}}}}"
images --format "{{{{.Repository}}}} {{{{.Digest}}}} {{{{.CreatedAt}}}}"
images --format "{{{{.VirtualSize}}}} {{{{.UniqueSize}}}}"
images --format raw
images --format raw -q
images --format raw --digests
images -a --filter dangling=true --filter label=a=b x:y
images --tree -q
images --tree --digests
images --tree --format x
images --format "{{{{.Foo}}}}"
images --format "{{{{nosuch 1}}}}"
images --format "{{{{.Foo"
history bb
history -H=false bb
history -q --no-trunc bb
history --platform linux/amd64 bb
history --platform a! bb
history -q --format "{{{{.Size}}}}" bb
history --format "table {{{{.ID}}}}\t{{{{.CreatedAt}}}}" bb
image inspect --platform linux/arm64 bb
image inspect --platform ! bb
image inspect -f "{{{{.Id}}}}" bb nosuch
image inspect -f "{{{{.Id" bb
inspect --type image bb
rmi -f nosuch
rmi -f nosuch used
rmi nosuch bb
rmi --platform linux/amd64,linux/arm64 --platform linux/arm64 --no-prune bb
image prune -f
image prune -a -f --filter until=24h --filter label=x
image rm bb
image rmi bb
image pull a
image push a
image save a
image load -i file
container commit c
container diff c
container export c
create gone
create --pull always gone:1
create --pull never gone
create --quiet --platform linux/x86_64 gone
create {A64}
create A
""".strip().splitlines()


@pytest.mark.parametrize("line", LINES)
def test_the_same_as_docker(parity: Parity, line: str) -> None:
    parity.config = AUTHS
    parity.check(line)


@pytest.mark.parametrize("line", ["load", "load -q", "import -", "image prune", "image prune -a"])
def test_input_is_read_as_docker_reads_it(parity: Parity, line: str) -> None:
    parity.config = None
    parity.check(line, b"y\n")


def test_saved_and_exported_files_are_whole_or_absent(parity: Parity) -> None:
    out = parity.directory / "out.tar"
    out.unlink(missing_ok=True)
    assert parity.ours("save -o out.tar a").status == 0
    assert (out.read_bytes(), out.stat().st_mode & 0o777) == (SAVED, 0o600)
    assert parity.ours("export -o out.tar nosuch").status == 1
    assert out.read_bytes() == SAVED
    assert not [path for path in parity.directory.iterdir() if path.name.startswith(".tmp-")]


SIZES = [(24, 200), (24, 120), (24, 100), (24, 60), (24, 25)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bars_are_drawn_as_docker_draws_them(parity: Parity, size: tuple[int, int]) -> None:
    parity.config = None
    lines = ["images --tree", *(["pull busybox", "push denied"] if size[1] > 30 else [])]
    for line in lines:
        theirs, ours = parity.terminal(line, [], size)
        assert ours == theirs


@pytest.mark.parametrize(
    "line", ["push part", "push --platform linux/amd64 part", "save a", "export c", "load", "load -i file"]
)
def test_on_a_terminal_as_docker(parity: Parity, line: str) -> None:
    parity.config = None
    theirs, ours = parity.terminal(line, [], (24, 120))
    assert ours == theirs


def test_the_tree_without_a_terminal(parity: Parity) -> None:
    assert parity.ours("images --tree").out.splitlines()[3:8] == [
        "IMAGE                         ID             DISK USAGE   CONTENT SIZE   EXTRA",
        "<untagged>                    ffffffffffff           5B           507B   U    ",
        "├─ linux/amd64                111111111111          1kB           500B   U    ",
        "└─ linux/arm64/v8             222222222222           0B             0B        ",
        "",
    ]


def test_a_default_platform_is_heeded_where_docker_heeds_it(parity: Parity) -> None:
    parity.env["DOCKER_DEFAULT_PLATFORM"] = "linux/S390X"
    try:
        for line in (
            "pull a",
            "push a",
            "save a",
            "import file",
            "history bb",
            "pull --platform= a",
            "create gone",
        ):
            parity.check(line)
    finally:
        del parity.env["DOCKER_DEFAULT_PLATFORM"]


def test_lists_by_configured_format(parity: Parity) -> None:
    parity.config = {"imagesFormat": "{{.ID}} x"}
    parity.check("images")
    parity.check("images -q")


def test_configured_filters_of_prune(parity: Parity) -> None:
    parity.config = {"pruneFilters": ["label=a", "label!=b", "until=1h", "bad"]}
    asked = parity.ours("image prune -f --filter label=b").requests[0]
    wanted = {"dangling": {"true": True}, "label": {"b": True, "a": True}, "until": {"1h": True}}
    assert json.loads(asked.split("'filters', '")[1].split("'")[0]) == wanted


def test_layouts_are_the_engines_to_read_and_write(parity: Parity) -> None:
    parity.engine.routes["POST /onggi/v1/oci/pull"] = (200, stream(PULLED[-1:]))
    parity.engine.routes["POST /onggi/v1/oci/push"] = (200, stream([{"status": "written"}]))
    pulled = parity.ours("pull --platform linux/arm64 oci:sub/layout:v1")
    assert (pulled.status, pulled.out) == (0, PULLED[-1]["status"] + "\n")
    layout = str(parity.directory / "sub" / "layout")
    asked = [("path", layout), ("platform", "linux/arm64"), ("reference", "v1")]
    assert pulled.requests == [f"POST /onggi/v1/oci/pull {asked}"]
    pushed = parity.ours("push busybox oci:/srv/out")
    asked = [("path", "/srv/out"), ("reference", "busybox")]
    assert (pushed.out, pushed.requests) == ("written\n", [f"POST /onggi/v1/oci/push {asked}"])
    assert "requires 1 argument" in parity.ours("push busybox other").err
    assert "names no directory" in parity.ours("pull oci:").err


def test_trust_is_refused_rather_than_ignored(parity: Parity) -> None:
    for line in ("pull --disable-content-trust=false a", "run --disable-content-trust=false a"):
        assert "not supported" in parity.ours(line).err
    parity.env["DOCKER_CONTENT_TRUST"] = "1"
    try:
        for line in ("push a", "run a", "create a"):
            refused = parity.ours(line)
            assert (refused.status, refused.requests) == (125, [])
            assert "DOCKER_CONTENT_TRUST is not supported" in refused.err
        assert parity.ours("push --disable-content-trust a").status == 0
    finally:
        del parity.env["DOCKER_CONTENT_TRUST"]


def test_more_layers_than_lines_leave_the_screen_in_order(tmp_path: Path) -> None:
    """A line that has scrolled away is not written: the cursor would stop at the top and spoil another."""
    fake = FakeEngine(tmp_path)
    layers = [f"layer{number:03}" for number in range(50)]
    starts = [{"status": "Waiting", "progressDetail": {}, "id": layer} for layer in layers]
    ends = [{"status": "Pull complete", "progressDetail": {}, "id": layer} for layer in layers]
    fake.routes["POST /images/create"] = (200, stream([*starts, *ends]))
    parity = Parity(fake, tmp_path)
    seen = on_terminal([*OURS, "pull", "a"], parity.environment(), [], (10, 80)).decode()
    fake.close()
    ups = [int(count) for count in re.findall(r"\033\[(\d+)A", seen)]
    assert ups
    assert max(ups) < 10
    assert "layer049: Pull complete" in seen
    assert "layer000: Pull complete" not in seen
