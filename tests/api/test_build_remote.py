"""Builds of what is fetched: repositories by git, archives and Dockerfiles by HTTP."""

import functools
import http.server
import os
import signal
import socket
import subprocess
import tarfile
import textwrap
import threading

import pytest

from builds import Builds, Wire
from engines import wait_until

GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
NAMES = {f"GIT_{who}_{what}": "x@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture
def builds(engine, tmp_path):
    return Builds(engine, tmp_path)


def git(directory, *words):
    return subprocess.run(
        ["git", "-C", str(directory), *words], env=GIT | NAMES, check=True, capture_output=True, text=True
    ).stdout.strip()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def repository(tmp_path):
    """A repository, served by git on loopback; its directory and its address."""
    work = tmp_path / "served/app.git"
    (work / "sub").mkdir(parents=True)
    git(work, "init", "-q", "-b", "main")
    (work / "Dockerfile").write_text("FROM busybox\nCOPY . /all/\n")
    (work / "sub/Dockerfile").write_text("FROM busybox\nCOPY . /part/\n")
    (work / "sub/file").write_text("first\n")
    (work / "out").symlink_to("/etc")
    git(work, "add", ".")
    git(work, "commit", "-qm", "first")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = work.parent
    daemon = subprocess.Popen(
        ["git", "daemon", "--export-all", "--listen=127.0.0.1", f"--port={port}", f"--base-path={base}"],
        env=GIT, start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: listens(port), "git daemon")
        yield work, f"git://127.0.0.1:{port}/app.git"
    finally:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


def test_contexts_of_git(builds, engine, repository):
    work, address = repository
    told = Wire(engine, b"", remote=address, t="by-git").rest()
    assert "Successfully tagged by-git:latest" in told
    assert builds.run("by-git", "cat", "/all/sub/file") == "first\n"
    assert builds.run("by-git", "ls", "-A", "/all").split() == ["Dockerfile", "out", "sub"]
    Wire(engine, b"", remote=address, t="by-git", buildargs='{"BUILDKIT_CONTEXT_KEEP_GIT_DIR":"1"}').rest()
    assert ".git" in builds.run("by-git", "ls", "-A", "/all").split()
    git(work, "checkout", "-qb", "other")
    (work / "sub/file").write_text("second\n")
    git(work, "commit", "-qam", "second")
    told = Wire(engine, b"", remote=f"{address}#other:sub", t="by-git").rest()
    assert builds.run("by-git", "cat", "/part/file") == "second\n", told
    for part, word in (("none", "has no directory"), ("out", "has no directory"), ("../x", "leads out")):
        assert word in Wire(engine, b"", remote=f"{address}#main:{part}").rest()
    refused = Wire(engine, b"", remote=f"{address}#absent").rest()
    assert "HTTP/1.1 500 " in refused
    assert "failed to fetch" in refused


def test_add_of_git(builds, repository):
    work, address = repository
    commit = git(work, "rev-parse", "HEAD")
    done = builds.build(
        f"FROM busybox\nADD {address}#main /all/\nADD --keep-git-dir=true {address} /kept/\n"
        f"ADD --checksum={commit} {address}#main:sub /part/\n"
    )
    assert builds.run(done.tag, "ls", "-A", "/all", "/part").split() == [
        "/all:", "Dockerfile", "out", "sub", "/part:", "Dockerfile", "file",
    ]  # fmt: skip
    assert ".git" in builds.run(done.tag, "ls", "-A", "/kept").split()
    wrong = builds.build(f"FROM busybox\nADD --checksum={'0' * 40} {address} /x/", check=False)
    assert "expected checksum to match" in wrong.errors


def add_module(work, path, url, commit, name="m"):
    """Commit a submodule as no git of our time would: by any name, path and address."""
    (work / ".gitmodules").write_text(f'[submodule "{name}"]\n\tpath = "{path}"\n\turl = {url}\n')
    git(work, "add", ".gitmodules")
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    git(work, "commit", "-qm", "module")


def library(base, name, **files):
    """One more repository that is served, and its commit, which is not the newest."""
    work = base / f"{name}.git"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    for file, content in files.items():
        (work / file).write_text(content)
    git(work, "add", ".")
    git(work, "commit", "-qm", "first")
    first = git(work, "rev-parse", "HEAD")
    git(work, "commit", "-qm", "later", "--allow-empty")
    return work, first


def test_submodules_come_along(builds, engine, repository):
    work, address = repository
    _, commit = library(work.parent, "inner", word="inner\n")
    outer, _ = library(work.parent, "outer", word="outer\n")
    add_module(outer, "deep/inner", "../inner.git", commit)
    add_module(work, "sub/outer", "./../outer.git", git(outer, "rev-parse", "HEAD"))
    told = Wire(engine, b"", remote=address, t="by-git").rest()
    assert "Successfully tagged by-git:latest" in told
    words = ("cat", "/all/sub/outer/word", "/all/sub/outer/deep/inner/word")
    assert builds.run("by-git", *words) == "outer\ninner\n"
    assert builds.run("by-git", "find", "/all", "-name", ".git") == ""
    done = [
        builds.build(f"FROM busybox\nADD {address}#main:sub/outer /all/\n", *more)
        for more in ((), ("--no-cache",))
    ]
    assert builds.run(done[0].tag, "cat", "/all/word", "/all/deep/inner/word") == "outer\ninner\n"
    assert done[0].id == done[1].id
    (work / ".gitmodules").write_text(
        '[submodule "m"]\n\tpath = sub/outer\n\turl = ../outer.git\n\tupdate = none'
    )
    git(work, "commit", "-qam", "none")
    builds.build(f"FROM busybox\nADD {address} /all/\nRUN test -z $(ls /all/sub/outer)")


@pytest.mark.parametrize(
    ("path", "url", "name"),
    [
        ("m", "{secret}", "m"),  # CVE-2022-39253
        ("m", "file://{secret}", "m"),
        ("m", "-u./payload", "m"),  # CVE-2018-17456
        ("m", "ext::sh -c touch% {secret}/touched", "m"),
        ("m", "https://-oProxyCommand=x/a", "m"),
        ("m", "ssh://h.example/a", "m"),
        ("m", "../../../../../..{secret}", "m"),
        ("m", "../inner.git", "../../m"),  # CVE-2018-11235
        ("m\r", "../inner.git", "m"),  # CVE-2025-48384: what the path is depends on who reads it
        ("link/m", "../inner.git", "m"),  # CVE-2024-32002
        ("../m", "../inner.git", "m"),
        (".git/modules", "../inner.git", "m"),
    ],
)
def test_cve_2022_39253_hostile_submodules_take_and_leave_nothing(
    engine, repository, tmp_path, path, url, name
):
    work, address = repository
    secret, _ = library(tmp_path, "secret", file="canary")
    _, commit = library(work.parent, "inner", file="canary")
    (tmp_path / "outside").mkdir()
    (work / "link").symlink_to(tmp_path / "outside")
    (work / "payload").write_text(f"#!/bin/sh\ntouch {secret}/touched\n")
    (work / "payload").chmod(0o755)
    (work / "Dockerfile").write_text("FROM busybox\nCOPY . /all/\nRUN grep -r cana[r]y /all || true\n")
    git(work, "add", ".")
    git(work, "commit", "-qm", "links")
    forged(
        work, path, f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url.format(secret=secret)}\n', commit
    )
    told = Wire(engine, b"", remote=address).rest()
    assert "canary" not in told
    assert "internal error" not in told
    assert not (secret / "touched").exists()
    assert not list((tmp_path / "outside").iterdir())


def forged(work, path, text, commit):
    """Commit a submodule by writing the trees themselves: git would refuse."""
    (work / ".gitmodules").write_text(text)
    git(work, "add", ".gitmodules")
    tree = git(work, "write-tree")
    entries = {path: f"160000 {path}\0".encode() + bytes.fromhex(commit)}
    for line in git(work, "ls-tree", tree).splitlines():
        kind, name = line.split("\t")
        mode, _, found = kind.split()
        entry = f"{mode.lstrip('0')} {name}\0".encode() + bytes.fromhex(found)
        entries[name + "/" * (mode == "040000")] = entry
    data = b"".join(entries[name] for name in sorted(entries))
    made = subprocess.run(
        ["git", "-C", str(work), "hash-object", "-t", "tree", "-w", "--literally", "--stdin"],
        input=data, env=GIT | NAMES, check=True, capture_output=True,
    ).stdout.decode().strip()  # fmt: skip
    git(work, "update-ref", "refs/heads/main", git(work, "commit-tree", "-m", "forged", made))


def test_local_repositories_are_refused(builds, engine, tmp_path):
    secret, _ = library(tmp_path, "secret", canary="canary")
    for source in (f"file://{secret}", str(secret)):
        assert "invalid remote context" in Wire(engine, b"", remote=source).rest()
        done = builds.build(f"FROM busybox\nADD {source} /x/", check=False)
        assert "canary" not in done.output
        assert done.code == 1


def test_names_lead_to_addresses(builds, engine, repository, site):
    directory, http = site
    (directory / "word").write_text("by http\n")
    text = """
        FROM nowhere.example/base AS base
        FROM busybox AS other
        RUN exit 1
        FROM docker.io/library/known:latest
        RUN --mount=from=repo,target=/m cat /m/file > /made; rm /m/file || ls /m > /listed
        COPY --from=other /word /word
        COPY --from=base /etc/passwd /users
        RUN --mount=from=scratch,target=/e,rw touch /e/x
    """
    builds.write("Dockerfile", textwrap.dedent(text))
    names = {"repo": f"{repository[1]}#main:sub", "other": f"{http}/word", "known": "docker-image://busybox"}
    names["nowhere.example/base:latest"] = "busybox"
    flags = [f"--build-context={name}={value}" for name, value in names.items()]

    def build(*more):
        done = engine.onggi("build", "-t", "by-names", *flags, *more, str(builds.context))
        assert done.returncode == 0, done.stderr
        return engine.docker("image", "inspect", "-f", "{{.Id}}", "by-names", check=True).stdout

    first = build()
    assert builds.run("by-names", "cat", "/made", "/listed", "/word") == "first\nDockerfile\nfile\nby http\n"
    assert "root:" in builds.run("by-names", "cat", "/users")
    assert build("--no-cache") == first
    done = engine.onggi("build", "--build-context=other=ftp://u:p@h.example/x", str(builds.context))
    assert b"build context ftp://h.example/x: docker-image://, git and https are supported" in done.stderr


@pytest.fixture
def site(tmp_path):
    """A directory that is served by HTTP, and its address."""
    directory = tmp_path / "site"
    directory.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Nothing."""

    handler = functools.partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield directory, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_contexts_of_http(builds, engine, site, tmp_path):
    directory, address = site
    (directory / "plain").write_text("FROM busybox\nRUN echo plain > /file\n")
    Wire(engine, b"", remote=f"{address}/plain", t="by-http").rest()
    assert builds.run("by-http", "cat", "/file") == "plain\n"
    for name, text in (
        ("Dockerfile", "FROM busybox\nCOPY . /all/"),
        (".dockerignore", "*.log\nsub/*\n!sub/kept"),
    ):
        (tmp_path / name).write_text(text)
    with tarfile.open(directory / "context.tar.gz", "w:gz") as archive:
        for name in ("Dockerfile", ".dockerignore"):
            archive.add(tmp_path / name, name)
        for name in ("a.log", "b", "sub/gone", "sub/kept"):
            archive.add(tmp_path / "Dockerfile", name)
    Wire(engine, b"", remote=f"{address}/context.tar.gz", t="by-http").rest()
    listed = builds.run("by-http", "find", "/all", "-type", "f").split()
    assert sorted(listed) == ["/all/.dockerignore", "/all/Dockerfile", "/all/b", "/all/sub/kept"]
    refused = Wire(engine, b"", remote=f"{address}/none").rest()
    assert "HTTP/1.1 500 " in refused
    assert "404" in refused


def test_add_of_http(builds, site):
    directory, address = site
    (directory / "file").write_text("fetched\n")
    with tarfile.open(directory / "a.tar", "w") as archive:
        archive.add(directory / "file", "inside")
    done = builds.build(
        f"""
        FROM busybox
        ADD {address}/file /one/
        ADD --chmod=0755 --chown=1000 {address}/file /two
        ADD {address}/a.tar /packed/
        ADD --unpack=true {address}/a.tar /unpacked/
        """
    )
    assert builds.run(done.tag, "cat", "/one/file", "/two", "/unpacked/inside") == "fetched\n" * 3
    told = builds.run(done.tag, "stat", "-c", "%a %u:%g", "/one/file", "/two", "/packed/a.tar").split("\n")
    assert told[:3] == ["600 0:0", "755 1000:1000", "600 0:0"]
