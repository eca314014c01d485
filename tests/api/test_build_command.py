"""Our own ``build`` on a real engine: contexts, checks, errors with their lines."""

import json
import os
import re
import shutil
import signal
import tarfile

import pytest

from builds import Builds
from onggi.cli import build_sync
from onggi.cli.main import main


class Context:
    """A directory, and our command building it."""

    def __init__(self, engine, directory):
        self.engine, self.directory = engine, directory
        directory.mkdir()

    def write(self, **files):
        for name, text in files.items():
            (self.directory / name.replace("_", ".")).write_text(text)

    def build(self, dockerfile, *flags, name="Dockerfile"):
        (self.directory / name).write_text(dockerfile)
        done = self.engine.onggi("build", "--progress=plain", *flags, str(self.directory))
        return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def context(engine, tmp_path):
    return Context(engine, tmp_path / "context")


LIST = "FROM busybox\nCOPY . /context\nRUN echo files: $(ls -A /context)\n"


def test_what_is_ignored_is_not_copied(context):
    (context.directory / ".dockerignore").write_text("Dockerfile\n*.md\n!keep.md\n")
    context.write(a_md="", keep_md="", b="")
    code, _, shown = context.build(LIST)
    assert code == 0, shown
    assert " files: .dockerignore b keep.md\n" in shown


def test_what_docker_has_to_send_is_not_copied_either(context, tmp_path):
    (tmp_path / "docker").mkdir()
    (context.directory / ".dockerignore").write_text("Dockerfile\n.dockerignore\na\n")
    (context.directory / "Dockerfile").write_text(LIST)
    context.write(a="", b="")
    done = Builds(context.engine, tmp_path / "docker").command("--no-cache", str(context.directory))
    assert "files: b\n" in done.stdout, done.stderr


def test_a_stage_has_the_arguments_of_the_one_it_begins_on(context):
    code, _, shown = context.build(
        "FROM busybox AS a\nARG v=1\nFROM a\nRUN echo v is $v\n", "--build-arg=v=2"
    )
    assert code == 0, shown
    assert " v is 2\n" in shown


def test_an_error_comes_with_its_lines(context):
    code, _, shown = context.build("FROM busybox\nCOPPY a b\n")
    assert code == 1
    assert shown == (
        "Dockerfile:2\n--------------------\n   1 |     FROM busybox\n   2 | >>> COPPY a b\n"
        "--------------------\n"
        "dockerfile parse error on line 2: unknown instruction: COPPY (did you mean COPY?)\n"
    )
    code, _, shown = context.build("FROM busybox\nARG v\nUSER ${v:?is needed}\n")
    assert code == 1
    assert "   3 | >>> USER ${v:?is needed}\n" in shown
    assert shown.endswith('on line 3: failed to process "${v:?is needed}": v: is needed\n')


def test_a_check_builds_nothing(context):
    (context.directory / ".dockerignore").write_text("a\n")
    code, report, _ = context.build("FROM busybox\nCOPY a /\nCMD b $c\nUSER $d\n", "--check")
    assert code == 1
    assert report.startswith("Check complete, 3 warnings have been found!\n")
    assert [line.split()[1] for line in report.splitlines() if line.startswith("WARNING")] == [
        "CopyIgnoredFile",
        "JSONArgsRecommended",
        "UndefinedVar",
    ]
    assert context.build("FROM busybox\n", "--check") == (0, "Check complete, no warnings found.\n", "")


def test_what_is_unwise_is_told_or_an_error(context):
    code, _, shown = context.build("FROM busybox\nCMD a\n")
    assert code == 0
    assert shown.endswith(
        "\n 1 warning found (use --check to expand):\n"
        " - JSONArgsRecommended: JSON arguments recommended for CMD "
        "to prevent unintended behavior related to OS signals (line 2)\n"
    )
    code, _, shown = context.build("# check=error=true\nFROM busybox\nCMD a\n")
    assert (code, shown) == (1, "lint violation found for rules: JSONArgsRecommended\n")


def test_a_result_becomes_files(context, tmp_path):
    context.write(a="text\n")
    dockerfile = "FROM busybox AS b\nRUN mkdir /out && echo made > /out/file && chmod 4755 /out/file\n"
    dockerfile += "FROM scratch\nCOPY a /a\nCOPY --from=b /out /\n"
    code, _, shown = context.build(dockerfile, "-o", str(tmp_path / "out"))
    assert code == 0, shown
    found = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert found == {"a": "text\n", "file": "made\n"}
    assert (tmp_path / "out" / "file").stat().st_mode & 0o7777 == 0o755
    assert "WARNING: 1 files lost their set-id bits or capabilities" in shown
    done = context.engine.onggi(
        "build", "-q", "-o", f"type=tar,dest={tmp_path}/x.tar", str(context.directory)
    )
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert sorted(archive.getnames()) == ["a", "file"]


def test_a_whole_stage_is_copied_without_mount_points(context, tmp_path):
    stages = "FROM scratch AS a\nCOPY a /\nFROM scratch AS none\nFROM scratch\n"
    context.write(a="")
    code, _, shown = context.build(
        f"{stages}COPY --from=a / /x/\nCOPY --from=none / /y/\n", "-o", str(tmp_path / "out")
    )
    assert code == 0, shown
    assert sorted(str(it.relative_to(tmp_path / "out")) for it in (tmp_path / "out").rglob("*")) == [
        "x",
        "x/a",
        "y",
    ]


def test_a_dockerfile_alone(context):
    done = context.engine.onggi("build", "-q", "-", input=b"FROM busybox\nLABEL a=b\n")
    assert done.stdout.startswith(b"sha256:"), done.stderr


@pytest.fixture
def kept(context, tmp_path, monkeypatch, capfd):
    """A context large enough to stay at the engine, with a function that builds it in this process."""
    monkeypatch.setattr(build_sync, "_FRESH_NS", -(1 << 40))
    for name, value in context.engine.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for number in range(300):
        (context.directory / f"f{number}").write_text(str(number))
    (context.directory / "d").mkdir()
    (context.directory / "d" / "x").write_text("x")
    (context.directory / "Dockerfile").write_text("FROM busybox\nCOPY . /c\n")

    def build():
        try:
            status = main(["build", "-q", str(context.directory)])
        finally:
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # the command dies of it; we would
        shown = capfd.readouterr()
        assert status == 0, shown.err
        return shown.out.strip()

    return build


def sent(monkeypatch):
    """The paths of the requests that are made from now on."""
    from onggi.client.engine import Engine

    asked, request = [], Engine.request

    def note(engine, method, path, *arguments):
        asked.append(path)
        return request(engine, method, path, *arguments)

    monkeypatch.setattr(Engine, "request", note)
    return asked


def test_changes_lead_where_a_whole_context_leads(kept, context, monkeypatch):
    first, asked = kept(), sent(monkeypatch)
    (context.directory / "f1").write_text("one")
    (context.directory / "f2").unlink()
    (context.directory / "f2").mkdir()
    (context.directory / "f2" / "y").write_text("y")
    shutil.rmtree(context.directory / "d")
    (context.directory / "d").write_text("no directory")
    os.symlink("f1", context.directory / "link")
    (context.directory / ".dockerignore").write_text("f3\nDockerfile\n")
    changed = kept()
    shutil.rmtree(os.environ["HOME"])
    assert (kept(), asked) == (changed, ["/onggi/v1/build", "/build"])
    assert changed != first
    done = context.engine.onggi("run", "--rm", "--network=none", changed, "find", "/c")
    names = set(done.stdout.decode().split())
    assert {"/c/d", "/c/f1", "/c/f2/y", "/c/link", "/c/.dockerignore"} <= names
    assert not {"/c/f3", "/c/Dockerfile", "/c/d/x"} & names
    assert len(names) == 304


def test_files_that_cannot_have_changed_are_not_read_again(kept, context):
    first = kept()
    places = (context.engine.data_root / "build/caches/contexts").iterdir()
    tree = max(places, key=lambda it: (it / "generation").stat().st_mtime_ns) / "tree"
    (tree / "f7").write_text("changed behind the engine's back")
    assert kept() == first
    (context.directory / "f8").write_text("changed")
    second = kept()
    shown = context.engine.onggi("run", "--rm", "--network=none", second, "cat", "/c/f7", "/c/f8")
    assert shown.stdout == b"changed behind the engine's backchanged"
    (context.directory / "f8").unlink()
    third = kept()
    assert len({first, second, third}) == 3
    (context.directory / "f8").write_text("8")
    (context.directory / "f7").write_text("7 ")
    (context.directory / "f7").write_text("7")
    assert kept() == first


def test_a_context_that_is_gone_is_sent_again(kept, context, monkeypatch):
    first = kept()
    context.engine.onggi("builder", "prune", "-a", "-f")
    asked = sent(monkeypatch)
    assert kept() == first
    assert asked == ["/onggi/v1/build", "/build"]


def explained(shown):
    return [line[1:] for line in shown.split("Cache:\n")[1].splitlines() if line[:1] == " "]


def test_a_build_explains_itself(context):
    context.write(a="1", b="1")
    dockerfile = "FROM busybox\nARG V\nCOPY a b /to/\nRUN echo explained $V\n"
    assert {it[:4] for it in explained(context.build(dockerfile, "--explain")[2])} == {"    ", "MISS"}
    assert explained(context.build(dockerfile, "--explain")[2]) == [
        "     [1/3] FROM busybox: what it names is the same",
        "HIT  [2/3] COPY a b /to/: nothing changed",
        "HIT  [3/3] RUN echo explained $V: nothing changed",
    ]
    context.write(a="2")
    assert explained(context.build(dockerfile, "--explain")[2])[1:] == [
        "MISS [2/3] COPY a b /to/: to/a (content)",
        "MISS [3/3] RUN echo explained $V: COPY a b /to/ made another layer",
    ]
    assert explained(context.build(dockerfile, "--explain", "--build-arg=V=2")[2])[2:] == [
        "MISS [3/3] RUN echo explained $V: build argument V is new"
    ]


def test_a_build_is_verified(context):
    context.write(a="1")
    code, said, shown = context.build(
        "FROM busybox AS b\nRUN date > /dev/null; echo same > /x\nCOPY a /\n", "--verify"
    )
    assert code == 0, shown
    assert re.fullmatch(r"reproducible: sha256:[0-9a-f]{64}\n", said)
    text = "FROM busybox AS b\nRUN cat /proc/sys/kernel/random/uuid > /x; chmod 600 /x\n"
    text += "FROM busybox\nRUN echo same > /same\nCOPY --from=b /x /bin/\n"
    code, said, _ = context.build(text, "--verify", "-q")
    assert code == 1
    image, *lines = said.splitlines()
    assert lines[0].startswith(f"not reproducible: {image}, then sha256:")
    assert lines[1:] == [
        " [b] RUN cat /proc/sys/kernel/random/uuid > /x; chmod 600 /x",
        "   x: content",
        " COPY --from=b /x /bin/",
        "   bin/x: content",
    ]
    code, said, shown = context.build(text, "--verify")
    assert "[again b 2/2]" in shown
    assert said.startswith(f"not reproducible: {image}, then"), "the cache keeps the first"


def test_names_lead_to_directories_and_layouts(context, tmp_path):
    other = tmp_path / "other"
    (other / "sub").mkdir(parents=True)
    (other / ".dockerignore").write_text("ignored\n")
    for name in ("ignored", "sub/file"):
        (other / name).write_text(name)
    (tmp_path / "empty").mkdir()
    engine = context.engine
    assert engine.onggi("push", "busybox", f"oci:{tmp_path}/layout:x").returncode == 0
    text = "FROM bb\nCOPY --from=other / /other/\n"
    text += "RUN --mount=from=other,target=/m ls -A /other /other/sub /m && cat /m/sub/file\n"
    text += "COPY --from=empty / /e/\n"
    names = [f"--build-context=other={other}", f"--build-context=empty={tmp_path}/empty"]
    names.append(f"--build-context=bb=oci-layout://{tmp_path}/layout:x")
    index = json.loads((tmp_path / "layout/index.json").read_text())
    digest = index["manifests"][0]["digest"]
    by_digest = [*names[:-1], f"--build-context=bb=oci-layout://{tmp_path}/layout@{digest}"]
    before = engine.docker("images", "-aq").stdout
    assert context.build(text, *by_digest)[0] == 0
    code, _, shown = context.build(text, *names, "--no-cache")
    assert code == 0, shown
    assert re.sub("#[0-9]+ [0-9.]+ ", "", shown).count(".dockerignore\nsub\n") == 2
    assert " sub/file\n" in shown
    os.utime(other / "sub" / "file", (1, 1))
    code, _, shown = context.build(text, *names)
    assert shown.count("CACHED") == 3, "times of files are nothing"
    tags = engine.docker("images", "--format", "{{.Repository}}", check=True).stdout.decode().split()
    assert "layout" not in tags
    new = set(engine.docker("images", "-q").stdout.split()) - set(before.split())
    assert len(new) <= 1, "contexts are gone with the build"
    code, _, shown = context.build(text, "--build-context=other=./nowhere")
    assert (code, shown) == (125, "--build-context other: ./nowhere is no directory\n")
