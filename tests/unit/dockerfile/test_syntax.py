"""From bytes to statements: lines, comments, directives, heredocs."""

import pytest

from onggi.dockerfile import syntax
from onggi.dockerfile.failure import DockerfileError


def read(text):
    return syntax.read(text.encode() if isinstance(text, str) else text)


def only(text):
    (statement,) = read(text).statements
    return statement


CONTINUED = [
    ("RUN a \\\n  b", "RUN a   b", (1, 2)),
    ("RUN a \\  \n  b\nRUN c", "RUN a   b", (1, 2)),
    ("RUN a \\\n# no\n  # no\n\nb", "RUN a b", (1, 5)),
    ("RUN a\\\\\n", "RUN a\\\\", (1, 1)),
    ("RUN a \\", "RUN a ", (1, 1)),
    ("\n\n  RUN a\r\n", "RUN a", (3, 3)),
    ("\\\nRUN a", "RUN a", (1, 2)),
    ("# escape=`\nRUN a \\b `\nc", "RUN a \\b c", (2, 3)),
]


@pytest.mark.parametrize(("text", "joined", "lines"), CONTINUED)
def test_joins_lines(text, joined, lines):
    first = read(text).statements[0]
    assert (first.text, (first.first_line, first.last_line)) == (joined, lines)


def test_notes_empty_lines_in_a_continuation():
    assert read("RUN a \\\n\n b\nRUN c \\\n # comment\n d").empty_continuations == (3,)


def test_comments_belong_to_what_follows_them():
    statements = read("# x is y\n# and z\nARG x\nARG y\n# old\n#\n# new\nARG z").statements
    assert [statement.comments for statement in statements] == [("x is y", "and z"), (), ("new",)]


def test_directives_come_first():
    source = read("# syntax = docker/dockerfile:1\n#escape=`\n# check=skip=all\nFROM a")
    assert source.directives == {"syntax": "docker/dockerfile:1", "escape": "`", "check": "skip=all"}
    assert source.escape == "`"


@pytest.mark.parametrize("before", ["# comment\n", "\n", "FROM a\n", "# unknown=1\n"])
def test_a_directive_after_anything_else_is_a_comment(before):
    assert read(f"{before}# escape=`\nRUN a").directives == {}


REFUSED_DIRECTIVES = [
    (
        "# escape=x\nFROM a",
        "dockerfile parse error on line 1: invalid escape token 'x' does not match ` or \\",
    ),
    (
        "# syntax=a\n# Syntax=b\nFROM a",
        "dockerfile parse error on line 2: only one syntax parser directive can be used",
    ),
]


@pytest.mark.parametrize(("text", "message"), REFUSED_DIRECTIVES)
def test_refuses_directives(text, message):
    with pytest.raises(DockerfileError) as error:
        read(text)
    assert str(error.value) == message


HEREDOCS = [
    ("RUN <<EOF\na\nb\nEOF\n", [("EOF", "a\nb\n", True, False)]),
    ("RUN <<-EOF\n\ta\n\tEOF\n", [("EOF", "\ta\n", True, True)]),
    ("RUN <<'E'\n$x\nE\n", [("E", "$x\n", False, False)]),
    ('COPY <<"a b" /x\n1\na b\n', [("a b", "1\n", False, False)]),
    ("COPY <<A <<B /x\n1\nA\n2\nB\n", [("A", "1\n", True, False), ("B", "2\n", True, False)]),
    ("RUN cat 3<< E\n# kept\nE\n", [("E", "# kept\n", True, False)]),
    ("ONBUILD RUN <<E\nx\nE\n", [("E", "x\n", True, False)]),
    ("RUN <<E\r\nx\r\nE\r\n", [("E", "x\r\n", True, False)]),
    ("RUN <<E\nE\n", [("E", "", True, False)]),
]


@pytest.mark.parametrize(("text", "documents"), HEREDOCS)
def test_reads_heredocs(text, documents):
    found = only(text).heredocs
    assert [(h.name, h.content, h.expand, h.strip_tabs) for h in found] == documents


@pytest.mark.parametrize(
    "text",
    ["RUN echo $((1<<2))", "RUN cat <<<x", 'RUN ["a", "<<E"]', "ENV a=<<E", "RUN '<<E'x", "RUN a << "],
)
def test_what_looks_like_a_heredoc(text):
    assert only(text).heredocs == ()


def test_tabs_are_stripped_from_a_body_only_where_asked():
    assert only("RUN <<-E\n\t\ta\n b\n\tE").heredocs[0].body == "a\n b\n"
    assert only("RUN <<E\n\ta\nE").heredocs[0].body == "\ta\n"


def test_a_heredoc_has_to_end():
    with pytest.raises(DockerfileError, match=r"on line 1: unterminated heredoc \(no line 'EOF'\)") as error:
        read("RUN <<EOF\na\nb")
    assert (error.value.first_line, error.value.last_line) == (1, 3)


BAD = [
    (b"", "the Dockerfile cannot be empty"),
    (b"\n\n# only\n", "file with no instructions"),
    (b"FROM a\nRUN \xff", "dockerfile parse error on line 2: invalid UTF-8 at byte 5 of the line"),
    (b"FROM a\nRUN <<E\n\xff\nE", "dockerfile parse error on line 3: invalid UTF-8 at byte 1 of the line"),
    (b"FROM a\nRUN a\0b", "dockerfile parse error on line 2: a NUL byte is not allowed"),
    (
        b"FROM a\nRUN " + b"x" * 65532,
        "dockerfile parse error on line 2: dockerfile line greater than max allowed size of 65535",
    ),
    (b"RUN x\n" * 10_001, "dockerfile parse error on line 10001: more than 10000 instructions"),
    (b"RUN " + b"x" * (100 << 20), "dockerfile is larger than max allowed size of 4194304"),
]


@pytest.mark.parametrize(("data", "message"), BAD, ids=range(len(BAD)))
def test_refuses_bad_files(data, message):
    with pytest.raises(DockerfileError) as error:
        read(data)
    assert str(error.value) == message


def test_comments_may_hold_any_bytes():
    assert len(read(b"\xef\xbb\xbf# caf\xe9\nFROM a\n").statements) == 1


def test_the_longest_line_passes():
    assert len(only("RUN " + "x" * 65531).words[0]) == 65531
