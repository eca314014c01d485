"""Typed instructions, and what is refused with which words."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onggi.dockerfile import instructions as typed
from onggi.dockerfile import mounts
from onggi.dockerfile.failure import DockerfileError, excerpt
from onggi.dockerfile.parser import parse, parse_trigger
from onggi.errors import InvalidArgument, OnggiError, Unsupported

SECOND = 10**9


def one(line):
    """The instruction that follows a FROM."""
    return parse(f"FROM a\n{line}\n".encode()).stages[0].instructions[0]


def fields(instruction):
    """Its own fields that are not at their default, without place and text."""
    common = set(typed.Instruction.__struct_fields__)
    new = [name for name in instruction.__struct_fields__ if name not in common]
    return {
        name: value for name in new if (value := getattr(instruction, name)) not in ("", (), False, None, 0)
    }


SHELL = typed.CommandLine(("echo a",))
EXEC = typed.CommandLine(("a", "b c"), shell=False)
INSTRUCTIONS = [
    ("RUN echo a", {"command": SHELL, "network": "default", "security": "sandbox"}),
    ("run --network=none [\"a\", 'b']", {"command": typed.CommandLine(("[\"a\", 'b']",)), "network": "none"}),
    ('CMD ["a", "b c"]', {"command": EXEC}),
    ("CMD", {"command": typed.CommandLine()}),
    ("ENTRYPOINT []", {"command": typed.CommandLine(shell=False)}),
    ("COPY a b /c", {"sources": ("a", "b"), "destination": "/c"}),
    ('COPY ["a b", "/c d"]', {"sources": ("a b",), "destination": "/c d"}),
    (
        "COPY --from=0 --chown=1:2 --chmod=u+x --link --parents --exclude=x --exclude=y a b",
        {
            "origin": "0",
            "chown": "1:2",
            "chmod": "u+x",
            "link": True,
            "parents": True,
            "exclude": ("x", "y"),
            "sources": ("a",),
            "destination": "b",
        },
    ),
    (
        "ADD --checksum=sha256:x --keep-git-dir=false --unpack u /d",
        {"checksum": "sha256:x", "unpack": True, "sources": ("u",), "destination": "/d"},
    ),
    ("ENV a=b c='d e'", {"pairs": (typed.Pair("a", "b"), typed.Pair("c", "'d e'"))}),
    ("ENV a b  c", {"pairs": (typed.Pair("a", "b  c", legacy=True),)}),
    ("LABEL x=", {"pairs": (typed.Pair("x", ""),)}),
    ("ARG a b= c=d", {"variables": (typed.Variable("a"), typed.Variable("b", ""), typed.Variable("c", "d"))}),
    ("WORKDIR /a b", {"path": "/a b"}),
    ("USER a:b", {"user": "a:b"}),
    ("EXPOSE 90 80/tcp", {"ports": ("80/tcp", "90")}),
    ('VOLUME ["/a b"]', {"paths": ("/a b",)}),
    ("VOLUME /a /b", {"paths": ("/a", "/b")}),
    ('SHELL ["sh"]', {"words": ("sh",)}),
    ("STOPSIGNAL 9", {"signal": "9"}),
    ("ONBUILD RUN x", {"trigger": "RUN x"}),
    ("MAINTAINER a b", {"name": "a b"}),
    ("HEALTHCHECK NONE", {"test": ("NONE",)}),
    (
        "HEALTHCHECK --interval=1m30s --timeout=1.5s --retries=3 CMD echo a",
        {"test": ("CMD-SHELL", "echo a"), "interval": 90 * SECOND, "timeout": 3 * SECOND // 2, "retries": 3},
    ),
    ('HEALTHCHECK --start-period=1ms CMD ["a"]', {"test": ("CMD", "a"), "start_period": 10**6}),
]


@pytest.mark.parametrize(("line", "expected"), INSTRUCTIONS, ids=[line for line, _ in INSTRUCTIONS])
def test_types(line, expected):
    instruction = one(line)
    assert fields(instruction).items() >= expected.items()
    assert (instruction.first_line, instruction.last_line, instruction.text) == (2, 2, line)


def test_a_file_is_stages_and_the_arguments_before_them():
    text = b"ARG v=1\nFROM --platform=linux/arm64 a:$v AS Build\nRUN x\nFROM build\nFROM scratch\n"
    dockerfile = parse(text)
    origins = [(stage.origin.base, stage.origin.name, stage.origin.platform) for stage in dockerfile.stages]
    assert origins == [("a:$v", "build", "linux/arm64"), ("build", "", ""), ("scratch", "", "")]
    assert [len(stage.instructions) for stage in dockerfile.stages] == [1, 0, 0]
    assert dockerfile.args[0].variables == (typed.Variable("v", "1"),)


def test_heredocs_are_sources_or_belong_to_the_command():
    copy = one("COPY <<x.txt y /d/\nhello\nx.txt")
    assert (copy.sources, copy.files[0].name, copy.files[0].body) == (("y",), "x.txt", "hello\n")
    assert one("RUN <<E python3\nprint()\nE").heredocs[0].body == "print()\n"


def test_an_onbuild_keeps_its_documents():
    onbuild = one("ONBUILD RUN <<E\nx\nE")
    assert onbuild.trigger == "RUN <<E\nx\nE"
    trigger = parse_trigger(onbuild.trigger, parse(b"\n\nFROM a").stages[0].origin)
    assert (trigger.first_line, trigger.heredocs[0].body) == (3, "x\n")


DESTINATION = (
    "COPY requires at least two arguments, but only one was provided. Destination could not be determined"
)
WORKAROUND = (
    "variable expansion is not supported for --from, "
    "define a new stage with FROM using ARG from global scope as a workaround"
)
REFUSED = [
    ("RUNN x", "unknown instruction: RUNN (did you mean RUN?)"),
    ("cpy x y", "unknown instruction: cpy (did you mean copy?)"),
    ("FOOBAR x", "unknown instruction: FOOBAR"),
    (
        "COPY x",
        DESTINATION,
    ),
    ("COPY x <<E\nE", "COPY cannot accept a heredoc as a destination"),
    ("COPY --form=x a b", "unknown flag: --form (did you mean from?)"),
    ("COPY --from a b", "missing a value on flag: --from"),
    ("COPY --from=a --from=b a b", "duplicate flag specified: --from"),
    ("COPY --link=x a b", "expecting boolean value for flag --link, not: x"),
    ("COPY --link= a b", "missing a value on flag: --link"),
    (
        "COPY --from=$x a b",
        WORKAROUND,
    ),
    ("RUN", "RUN requires at least one argument"),
    ("RUN --network=hots x", 'invalid network mode "hots" (did you mean host?)'),
    ("RUN --security=x y", 'security "x" is not valid'),
    ('CMD ["a", 1]', "when using JSON array syntax, arrays must be comprised of strings only"),
    ('CMD ["\\u0000"]', "CMD cannot have a NUL byte in its arguments"),
    ("ENV a", "ENV must have two arguments"),
    ("ENV", "ENV requires at least one argument"),
    ("ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
    ("ENV =b", "ENV names can not be blank"),
    ("ARG =b", "ARG names can not be blank"),
    ("ARG --x y", "unknown flag: --x"),
    ("WORKDIR", "WORKDIR requires exactly one argument"),
    ("SHELL sh", "SHELL requires the arguments to be in JSON form"),
    ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
    ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
    ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
    ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
    ("HEALTHCHECK TRY x", 'Unknown type "TRY" in HEALTHCHECK (try CMD)'),
    ("HEALTHCHECK --interval=5 CMD x", 'invalid duration "5": expected a number with a unit, as in 1m30s'),
    ("HEALTHCHECK --timeout=1us CMD x", 'Interval "timeout" cannot be less than 1ms'),
    ("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"),
    ("HEALTHCHECK --retries=x CMD x", 'strconv.ParseInt: parsing "x": invalid syntax'),
    ("HEALTHCHECK --retries=2147483648 CMD x", 'strconv.ParseInt: parsing "2147483648": value out of range'),
    ("ONBUILD", "ONBUILD requires at least one argument"),
    ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
    ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    ("FROM a as", "FROM requires either one or three arguments"),
    ("FROM a as 1", 'invalid name for build stage: "1", name can\'t start with a number or contain symbols'),
    ("RUN --mount=from=$x y", "'from' doesn't support variable expansion, define alias stage instead"),
]


@pytest.mark.parametrize(("line", "message"), REFUSED, ids=[line for line, _ in REFUSED])
def test_refuses(line, message):
    with pytest.raises(DockerfileError) as error:
        one(line)
    assert str(error.value) == f"dockerfile parse error on line 2: {message}"


def test_refuses_what_is_outside_of_stages():
    with pytest.raises(DockerfileError, match="on line 1: no build stage in current context"):
        parse(b"RUN x\nFROM a")
    with pytest.raises(DockerfileError, match="dockerfile contains no stages to build"):
        parse(b"ARG x\n")


def test_refuses_devices_by_name():
    with pytest.raises(Unsupported, match=r"RUN --device is not supported \(dockerfile line 2\)"):
        one("RUN --device=x y")


def test_shows_the_lines_around_an_error():
    text = b"FROM a\n\nRUN x\nCOPY \\\n  y\nRUN z\nRUN q\nRUN r\n"
    with pytest.raises(DockerfileError) as error:
        parse(text)
    lines = text.decode().splitlines()
    assert excerpt(error.value, "Dockerfile", lines).splitlines() == [
        "Dockerfile:4",
        "--------------------",
        "   2 |",
        "   3 |     RUN x",
        "   4 | >>> COPY \\",
        "   5 | >>>   y",
        "   6 |     RUN z",
        "   7 |     RUN q",
        "--------------------",
    ]


MOUNTS = [
    ("target=/a", typed.Mount(target="/a")),
    (
        "type=bind,from=b,source=/s,target=/a,rw",
        typed.Mount(origin="b", source="/s", target="/a", read_only=False),
    ),
    (
        'type=cache,dst=/c,"id=a,b",sharing=locked,mode=0755,uid=1,gid=2',
        typed.Mount(
            kind="cache",
            target="/c",
            read_only=False,
            identity="a,b",
            sharing="locked",
            mode=0o755,
            uid=1,
            gid=2,
        ),
    ),
    ("type=tmpfs,target=/t,size=1.5m", typed.Mount(kind="tmpfs", target="/t", read_only=False, size=3 << 19)),
    ("type=secret,id=x,required,env=", typed.Mount(kind="secret", identity="x", required=True, env="")),
    ("type=SSH,required=false", typed.Mount(kind="ssh")),
    ("type=cache,target=/c,ro=true", typed.Mount(kind="cache", target="/c")),
]


@pytest.mark.parametrize(("text", "mount"), MOUNTS)
def test_reads_mounts(text, mount):
    assert mounts.parse(text) == mount


BAD_MOUNTS = [
    ("type=bin", 'unsupported mount type "bin" (did you mean bind?)'),
    ("targt=/a", "unexpected key 'targt' in 'targt=/a' (did you mean target?)"),
    ("type", "invalid field 'type' must be a key=value pair"),
    ("size=1", "unexpected key 'size' for mount type 'bind'"),
    ("type=tmpfs,size=x", "invalid size: 'x'"),
    ("required", "unexpected key 'required' for mount type 'bind'"),
    ("ro=maybe", "invalid value for ro: maybe"),
    ("mode=1", 'mode not allowed for "bind" type mounts'),
    ("type=cache,uid=-1", "invalid value -1 for uid"),
    ("type=cache,mode=9", "invalid value 9 for mode"),
    ("sharing=locked", "invalid cache sharing set for bind mount"),
    ("type=cache,sharing=x", 'unsupported sharing value "x"'),
    ("type=secret", "invalid secret mount. one of source, target required"),
    ("type=secret,id=a,src=b", "both source and id can't be set"),
    ("type=secret,id=a,from=b", "secret mount should not have a from"),
]


@pytest.mark.parametrize(("text", "message"), BAD_MOUNTS)
def test_refuses_mounts(text, message):
    with pytest.raises(InvalidArgument) as error:
        mounts.parse(text)
    assert str(error.value) == message


KEYWORDS = [
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "ONBUILD",
    "HEALTHCHECK",
    "CMD",
    "LABEL",
    "EXPOSE",
    "SHELL",
]
PIECES = [
    *KEYWORDS,
    "a",
    "$b",
    "\n",
    "\\\n",
    "<<E",
    "\nE\n",
    " ",
    "--from=",
    "--mount=",
    "type=",
    "=",
    '"',
    "'",
    "[",
]
PIECES += ["]", ",", "#", "# escape=`\n", "\t", "\0", "é", "\u2028", "AS", "0", "{", "}", ":"]


def settles(function, argument):
    """Whether a result or an error with words comes of it."""
    try:
        function(argument)
    except OnggiError as error:
        return str(error)
    return True


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
@example("ONBUILD " * 5000 + "RUN x")
@example("FROM a\nCMD " + "[" * 50000)
@example("FROM a\nRUN " + "9" * 5000 + "<<E\nE")
@example("FROM a\nCMD [" + "9" * 5000 + "]")
def test_any_text_is_a_dockerfile_or_refused(text):
    assert settles(parse, text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_dockerfile_or_refused(data):
    assert settles(parse, b"FROM a\n" + data)


@given(st.text(max_size=60))
def test_any_mount_is_read_or_refused(text):
    assert settles(mounts.parse, f"type=cache,{text}")
