"""Our own ``build`` on a real engine: contexts, checks, errors with their lines."""

import pytest

from builds import Builds


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


def test_a_dockerfile_alone(context):
    done = context.engine.onggi("build", "-q", "-", input=b"FROM busybox\nLABEL a=b\n")
    assert done.stdout.startswith(b"sha256:"), done.stderr
