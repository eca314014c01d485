"""Which instructions see which variables: global arguments, stages, build arguments, platforms."""

import pytest

from onggi.dockerfile import instructions as typed
from onggi.dockerfile import variables
from onggi.dockerfile.failure import DockerfileError
from onggi.dockerfile.parser import parse
from onggi.oci.platform import Platform

PLATFORMS = variables.Platforms(Platform("linux", "amd64"), Platform("linux", "arm64", "v8"))


def outside(text, build_args=None):
    dockerfile = parse(text.encode())
    return dockerfile, variables.global_values(dockerfile, build_args or {}, PLATFORMS)


def taken(text, build_args=None, environment=None, head=""):
    """What each instruction after the first FROM becomes, and the scope behind them."""
    dockerfile, values = outside(f"{head}FROM a\n{text}", build_args)
    scope = variables.StageScope(environment or {}, values, build_args or {}, dockerfile.escape)
    return [scope.take(instruction) for instruction in dockerfile.stages[0].instructions], scope


def last(text, **options):
    return taken(text, **options)[0][-1].instruction


def test_global_arguments_build_on_those_before():
    _, values = outside("ARG a=1\nARG b=$a-$c\nARG c=$TARGETARCH d\nFROM x", {"a": "2", "other": "3"})
    assert {name: values.get(name) for name in "abcd"} == {"a": "2", "b": "2-", "c": "arm64", "d": None}
    assert "other" not in values


def test_platforms_are_arguments():
    _, values = outside("FROM a as last", {"TARGETOS": "plan9"})
    assert (values["TARGETPLATFORM"], values["TARGETVARIANT"], values["BUILDPLATFORM"]) == (
        "linux/arm64",
        "",
        "linux/amd64",
    )
    assert (values["TARGETOS"], values["TARGETSTAGE"]) == ("plan9", "last")


def test_from_sees_global_arguments_only():
    dockerfile, values = outside("ARG v=1\nFROM --platform=$BUILDPLATFORM a:${v:-2}")
    base = variables.base_of(dockerfile.stages[0].origin, values)
    assert (base.name, base.platform, base.used) == (
        "a:1",
        Platform("linux", "amd64"),
        {"v", "BUILDPLATFORM"},
    )


BAD_BASES = [
    ("FROM $none", "base name ($none) should not be blank"),
    (
        "FROM --platform=$BUILDPLATFROM a",
        "empty platform value from expression $BUILDPLATFROM (did you mean BUILDPLATFORM?)",
    ),
    ("FROM ${x:?needed}", 'failed to process "${x:?needed}": x: needed'),
]


@pytest.mark.parametrize(("text", "message"), BAD_BASES)
def test_refuses_bases(text, message):
    dockerfile, values = outside(text)
    with pytest.raises(DockerfileError) as error:
        variables.base_of(dockerfile.stages[0].origin, values)
    assert str(error.value) == f"dockerfile parse error on line 1: {message}"


def test_a_stage_sees_what_its_arg_names():
    results, scope = taken("WORKDIR /$v\nARG v\nWORKDIR /$v", head="ARG v=1\n")
    assert [taken.instruction.path for taken in results[::2]] == ["/", "/1"]
    assert results[0].missing == {"v"}
    assert scope.args == [typed.Variable("v", "1")]


def test_a_build_argument_is_over_every_default():
    assert last("ARG v=2\nUSER $v", head="ARG v=1\n", build_args={"v": "3"}).user == "3"
    assert last("ARG v=2\nUSER $v", head="ARG v=1\n").user == "2"


def test_one_env_sees_what_was_before_it():
    result = last("ENV a=1\nENV a=2 b=$a", environment={"PATH": "/bin"})
    assert result.pairs == (typed.Pair("a", "2"), typed.Pair("b", "1"))


def test_an_argument_without_value_is_declared_but_not_set():
    results, scope = taken("ARG v\nUSER x$v")
    assert (results[-1].instruction.user, results[-1].missing, scope.variables) == ("x", set(), {})


def test_what_expands():
    values = {"v": "1 2"}
    copy = last('COPY --chown=$v --chmod=$v "$v" <<E /$v\n"$v" \\$v\nE', environment=values)
    assert (copy.sources, copy.destination, copy.chown, copy.chmod) == (("1 2",), "/1 2", "1 2", "1 2")
    assert copy.files[0].body == '"1 2" $v\n'
    assert last("COPY <<'E' /\n$v\nE", environment=values).files[0].body == "$v\n"
    assert last('LABEL "$v"=x', environment=values).pairs[0].name == "1 2"
    assert last("VOLUME /$v", environment=values).paths == ("/1 2",)
    assert last("EXPOSE $v/tcp", environment=values).ports == ("1", "2/tcp")
    assert last("STOPSIGNAL $v", environment=values).signal == "1 2"
    assert last("RUN --mount=type=cache,target=/$v x", environment=values).mounts[0].target == "/1 2"


@pytest.mark.parametrize(
    "line", ["RUN $v", "CMD $v", 'ENTRYPOINT ["$v"]', "HEALTHCHECK CMD $v", "ONBUILD RUN $v"]
)
def test_what_does_not_expand(line):
    (result,), _ = taken(line, environment={"v": "1"})
    assert "$v" in str(result.instruction)
    assert not result.missing


def test_errors_have_their_line():
    with pytest.raises(DockerfileError, match="on line 2: failed to process"):
        last("USER ${v:?}")
    with pytest.raises(DockerfileError, match='on line 2: unsupported mount type "x"'):
        last("RUN --mount=type=x y")


def test_proxies_need_no_arg():
    proxies = variables.proxy_values({"http_proxy": "p", "x": "y"})
    assert proxies == {"HTTP_PROXY": "p", "http_proxy": "p"}


def test_finds_build_arguments_that_nothing_asks_for():
    dockerfile = parse(b"ARG a\nFROM x\nARG b\n")
    given = dict.fromkeys(["a", "b", "c", "NO_PROXY", "BUILDKIT_INLINE_CACHE", "SOURCE_DATE_EPOCH"], "")
    assert variables.unused_build_args(dockerfile, given) == ["c"]
