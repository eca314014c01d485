"""``build``: docker's request, the archive of the context, what is shown, what is refused."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from fake_engine import FakeEngine, Request
from parity import OURS, Parity, on_terminal

IMAGE = "sha256:" + "a" * 64


def step(number: int, event: str, stream: str = "", stage: str = "base", seconds: float = 0.5) -> Any:
    facts = {"Stage": stage, "Step": number, "Steps": 2, "Event": event, "Seconds": seconds}
    return {"stream": stream, "onggi": facts}


BUILT = [
    step(1, "begin", "Step 1/2 : FROM x\n"),
    step(1, "cached", " ---> Using cache\n"),
    step(1, "done", " ---> bbbbbbbbbbbb\n"),
    step(2, "begin", "Step 2/2 : RUN make\n", "stage-1"),
    step(0, "begin", "Step 3/3 : CMD x\n", "stage-1"),
    step(2, "output", "half", "stage-1"),
    step(2, "output", " a line\nlast", "stage-1"),
    step(2, "done", " ---> aaaaaaaaaaaa\n", "stage-1", 1.25),
    {"aux": {"ID": IMAGE}},
    {"stream": "Successfully tagged x:latest\n"},
]
FAILED = [
    *BUILT[:7],
    {"errorDetail": {"code": 2, "message": "The command failed"}, "error": "The command failed"},
]


@pytest.fixture
def parity(tmp_path: Path) -> Any:
    engine = FakeEngine(tmp_path)
    engine.routes["GET /version"] = (200, {"ApiVersion": "1.50", "Os": "linux", "Arch": "amd64"})
    answer(engine, BUILT)
    (tmp_path / "c" / "d" / "e").mkdir(parents=True)
    (tmp_path / "c" / "Dockerfile").write_text("FROM x\n")
    (tmp_path / "c" / "d" / "e" / "f").write_text("hello")
    os.link(tmp_path / "c" / "d" / "e" / "f", tmp_path / "c" / "z")
    os.symlink("d", tmp_path / "c" / "link")
    parity = Parity(engine, tmp_path)
    parity.env = {"DOCKER_BUILDKIT": "0", "GIVEN": "from env"}
    yield parity
    engine.close()


def answer(engine: FakeEngine, messages: list[Any]) -> None:
    engine.routes["POST /build"] = (200, "\n".join(map(json.dumps, messages)).encode())


def sent(parity: Parity) -> Request:
    return next(request for request in reversed(parity.engine.requests) if request.path == "/build")


def query(parity: Parity) -> dict[str, str]:
    return dict(parse_qsl(sent(parity).query))


def own(parity: Parity) -> Any:
    return json.loads(base64.urlsafe_b64decode(sent(parity).headers["x-onggi-build"]))


def members(parity: Parity) -> list[Any]:
    with tarfile.open(fileobj=io.BytesIO(sent(parity).body)) as archive:
        return [(it.name, it.uid, oct(it.mode), it.linkname, it.size) for it in archive]


LINES = [
    "-t x -t y:1 --build-arg A=1 --build-arg GIVEN --build-arg NONE --label l=m --target t c",
    "--memory 1g --memory-swap -1 --cpu-shares 2 --cpu-period 3 --cpu-quota 4 --cpuset-cpus 0 c",
    "--ulimit nofile=1:2 --add-host a:1.2.3.4 --add-host b:1.2.3.5 --shm-size 64m --cgroup-parent p c",
    "--no-cache --pull --force-rm --platform linux/arm64 --network none -f c/Dockerfile c",
]


@pytest.mark.parametrize("line", LINES)
def test_asks_as_docker_asks(parity: Parity, line: str) -> None:
    assert parity.docker(f"build {line}").status == 0
    theirs, their_members = query(parity), members(parity)
    assert parity.ours(f"build {line}").status == 0
    ours = query(parity)
    assert {name: value for name, value in ours.items() if name not in ("networkmode", "rm")} == {
        name: value for name, value in theirs.items() if name not in ("networkmode", "rm")
    }
    assert members(parity) == their_members


IGNORES = [
    "*.md\n!keep.md",
    "d\n!d/e/f",
    "*\n!d/e",
    "**/e\n!z",
    "link",
]


@pytest.mark.parametrize("text", IGNORES)
def test_packs_what_docker_packs(parity: Parity, text: str) -> None:
    (parity.directory / "c" / ".dockerignore").write_text(text)
    (parity.directory / "c" / "keep.md").write_text("")
    (parity.directory / "c" / "x.md").write_text("")
    parity.docker("build c")
    theirs = [it[0] for it in members(parity) if it[0] not in ("Dockerfile", ".dockerignore")]
    parity.ours("build c")
    ours = [it[0] for it in members(parity) if not it[0].startswith((".docker", "Dockerfile"))]
    # docker's classic command leaves out the directories above what is kept.
    assert [name for name in ours if name in theirs] == theirs
    assert all(any(name.startswith(f"{it}/") for name in theirs) for it in set(ours) - set(theirs))


def test_a_directory_is_packed_where_only_something_in_it_is_kept(parity: Parity) -> None:
    (parity.directory / "c" / ".dockerignore").write_text("*\n!**/f")
    parity.ours("build c")
    assert [it[0] for it in members(parity)][1:] == ["d", "d/e", "d/e/f"]


def test_a_dockerfile_beside_the_context_is_hidden(parity: Parity) -> None:
    (parity.directory / "My.Dockerfile").write_text("FROM y\n")
    (parity.directory / "My.Dockerfile.dockerignore").write_text("d\nlink\nz")
    parity.ours("build -f My.Dockerfile c")
    name = query(parity)["dockerfile"]
    assert name.startswith(".dockerfile.")
    assert own(parity)["Hidden"] == [name]
    assert [it[0] for it in members(parity)] == [name, "Dockerfile"]
    parity.ours("build -f - c", b"FROM y\n")
    assert query(parity)["dockerfile"] == name


def test_a_dockerfile_or_an_archive_on_standard_input(parity: Parity) -> None:
    parity.ours("build -", b"FROM stdin\n")
    assert [it[0] for it in members(parity)] == ["Dockerfile"]
    packed = gzip.compress(b"anything")
    parity.ours("build -f D -", packed)
    assert (sent(parity).body, query(parity)["dockerfile"]) == (packed, "D")


def test_a_remote_context_is_the_engines(parity: Parity) -> None:
    parity.ours("build https://example.org/x.git#main:dir")
    assert (query(parity)["remote"], sent(parity).body) == ("https://example.org/x.git#main:dir", b"")


def test_gzip(parity: Parity) -> None:
    parity.ours("build --compress c")
    assert gzip.decompress(sent(parity).body)[257:262] == b"ustar"


def test_secrets_and_credentials_travel_in_headers(parity: Parity) -> None:
    parity.config = {"auths": {"r.example": {"auth": "dTpw"}}}
    (parity.directory / "s").write_bytes(b"\0s")
    parity.ours("build --secret id=a,src=s --secret id=GIVEN --secret id=b,env=GIVEN c")
    texts = {name: base64.b64decode(text) for name, text in own(parity)["Secrets"].items()}
    assert texts == {"a": b"\0s", "GIVEN": b"from env", "b": b"from env"}
    known = json.loads(base64.urlsafe_b64decode(sent(parity).headers["x-registry-config"]))
    assert known == {"r.example": {"username": "u", "password": "p", "serveraddress": "r.example"}}
    assert "from" not in sent(parity).query


def test_tells_line_by_line(parity: Parity) -> None:
    result = parity.ours("build --progress plain c")
    assert result.err.splitlines() == [
        "#1 [base 1/2] FROM x",
        "#1 ---> bbbbbbbbbbbb",
        "#1 CACHED",
        "",
        "#2 [stage-1 2/2] RUN make",
        result.err.splitlines()[5],
        result.err.splitlines()[6],
        "#2 ---> aaaaaaaaaaaa",
        "#2 DONE 1.2s",
        "",
        "Successfully tagged x:latest",
    ]
    assert result.err.splitlines()[5].endswith(" half a line")
    assert result.err.splitlines()[6].endswith(" last")


def test_draws_on_a_terminal(parity: Parity) -> None:
    seen = on_terminal([*OURS, "build", "c"], parity.environment() | {"TERM": "x"}, [], (24, 60))
    if os.getcwd() != str(parity.directory):
        assert b"not found" in seen
    seen = on_terminal([*OURS, "build", str(parity.directory / "c")], parity.environment(), [], (24, 60))
    assert b" => CACHED [base 1/2] FROM x" in seen
    assert b"(2/2) FINISHED" in seen


def test_a_failure_ends_with_the_last_words(parity: Parity) -> None:
    answer(parity.engine, FAILED)
    result = parity.ours("build --progress plain c")
    assert result.status == 1
    assert result.err.endswith(
        "#2 ERROR\n\n------\n > [stage-1 2/2] RUN make:\nhalf a line\nlast\n------\nThe command failed\n"
    ) or result.err.endswith("------\nThe command failed\n")
    assert parity.ours("build -q c").err == "The command failed\n"


def test_ends_with_what_is_unwise(parity: Parity) -> None:
    found = {"rule": "UndefinedVar", "message": "Usage of $x", "first_line": 3, "last_line": 3}
    answer(parity.engine, [{"aux": {"Warnings": [found]}}, *BUILT])
    end = "\n 1 warning found (use --check to expand):\n - UndefinedVar: Usage of $x (line 3)\n"
    assert parity.ours("build c").err.endswith(end)
    argv = [*OURS, "build", str(parity.directory / "c")]
    seen = on_terminal(argv, parity.environment(), [], (24, 60)).decode().replace("\r\n", "\n")
    assert seen.endswith("Successfully tagged x:latest\n" + end)


def test_quiet_prints_the_id(parity: Parity) -> None:
    answer(parity.engine, [{"stream": f"{IMAGE}\n"}])
    result = parity.ours("build -q --iidfile id --metadata-file m -t x c")
    assert (result.out, result.err, query(parity)["q"]) == (f"{IMAGE}\n", "", "1")
    assert (parity.directory / "id").read_text() == IMAGE
    facts = json.loads((parity.directory / "m").read_text())
    assert facts == {"containerimage.config.digest": IMAGE, "image.name": "x"}


def test_an_old_id_does_not_survive_a_failure(parity: Parity) -> None:
    (parity.directory / "id").write_text("old")
    answer(parity.engine, FAILED)
    assert parity.ours("build --iidfile id c").status == 1
    assert not (parity.directory / "id").exists()


def test_a_check_sends_the_dockerfile_and_counts(parity: Parity) -> None:
    answer(parity.engine, [{"stream": "Check complete\n"}, {"aux": {"Warnings": [{"Rule": "X"}]}}])
    result = parity.ours("build --check c")
    assert (result.status, result.out) == (1, "Check complete\n")
    assert [it[0] for it in members(parity)] == ["Dockerfile", "Dockerfile.dockerignore"]
    assert own(parity)["Check"] is True
    answer(parity.engine, [{"stream": "Check complete\n"}, {"aux": {"Warnings": []}}])
    assert parity.ours("build --call check c").status == 0


REFUSED = [
    ("nowhere", 1, 'unable to prepare context: path "nowhere" not found'),
    ("c/z", 1, "unable to prepare context: context must be a directory: c/z"),
    ("c/d", 1, "unable to prepare context: unable to read Dockerfile"),
    ("-f - -", 1, "can't use stdin for both build context and dockerfile"),
    ("--push c", 125, "tag is needed when pushing to registry"),
    ("--ssh default c", 125, "--ssh default: invalid empty ssh agent socket"),
    ("-o type=local c", 125, "dest is required for local exporter"),
    ("-o type=loacl,dest=x c", 125, "type loacl: one of local, tar"),
    ("-o type=oci,dest=x,compression=zstd c", 125, "--output: compression is not supported"),
    ("--platform linux/amd64,linux/arm64 c", 125, "several platforms at once are not supported"),
    ("--build-context x c", 125, "invalid context value: x, expected key=value"),
    ("--secret id=a,scr=x c", 125, "unexpected key 'scr' in 'id=a,scr=x'"),
    ("--secret id=a,src=none c", 1, "failed to stat none: no such file or directory"),
    ("--progress loud c", 125, "invalid progress loud"),
    ("-t A c", 125, "must be lowercase"),
    ("--call outline c", 125, "--call=outline is not supported by this build"),
    ("--rm=false c", 125, "--rm=false is not supported"),
]


@pytest.mark.parametrize(("line", "status", "words"), REFUSED)
def test_refuses(parity: Parity, line: str, status: int, words: str) -> None:
    result = parity.ours(f"build {line}")
    assert result.status == status
    assert words in result.err
    assert not any(request.path == "/build" for request in parity.engine.requests)


def test_cve_2022_4122_an_ignore_file_does_not_lead_out_of_the_context(parity: Parity) -> None:
    """The canary must not be read, and not be shown."""
    (parity.directory / "canary").write_text("[secret")
    os.symlink("../canary", parity.directory / "c" / ".dockerignore")
    result = parity.ours("build c")
    assert result.status == 1
    assert "leads out of the context" in result.err
    assert "secret" not in result.err


def test_prunes_as_docker(parity: Parity) -> None:
    reclaimed = {"CachesDeleted": ["a", "b"], "SpaceReclaimed": 1234}
    parity.engine.routes["POST /build/prune"] = (200, reclaimed)
    line = "builder prune -f --keep-storage 10mb --filter until=24h"
    theirs, result = parity.docker(line), parity.ours(line)
    assert (result.out, result.requests, result.err) == (theirs.out, theirs.requests, "")
    assert "Total reclaimed space: 1.234kB" in result.out


def test_pushes_what_was_built(parity: Parity) -> None:
    parity.engine.routes["POST /images/*"] = (200, b'{"status": "Pushed"}\n')
    result = parity.ours("build -t r.example/a:1 -o type=image,name=r.example/b,push=true c")
    assert result.status == 0
    assert [line.split(" [")[0] for line in result.requests] == [
        "POST /build",
        "POST /images/r.example/a/push",
        "POST /images/r.example/b/push",
    ]


def test_saves_an_archive(parity: Parity) -> None:
    parity.engine.routes["GET /images/get"] = (200, b"an archive")
    assert parity.ours("build -o type=oci,dest=out.tar c").status == 0
    assert (parity.directory / "out.tar").read_bytes() == b"an archive"
