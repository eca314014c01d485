"""The build checks: each rule found where it applies, and not where it does not; how they are chosen."""

import pytest

from onggi.archive.ignore import Ignored
from onggi.dockerfile import checks
from onggi.dockerfile.parser import parse
from onggi.dockerfile.variables import Platforms
from onggi.errors import InvalidArgument
from onggi.oci.platform import Platform

HERE = Platform("linux", "amd64")


def found(text, **around):
    options = {"platforms": Platforms(HERE, HERE), "environment": lambda _: {"BASE": "1"}, **around}
    surroundings = checks.Surroundings(**options)
    return [(it.rule, it.first_line, it.message) for it in checks.check(parse(text.encode()), surroundings)]


S = "FROM scratch\n"
# Text, the rules with their lines, and a part of the message of the first.
CASES = [
    ("FROM scratch AS Bad", ["StageNameCasing 1"], "Stage name 'Bad' should be lowercase"),
    ("FROM scratch as a", ["FromAsCasing 1"], "'as' and 'FROM' keywords' casing do not match"),
    ("from scratch as a", [], ""),
    (f"{S}RUN a \\\n\n b", ["NoEmptyContinuation 4"], "Empty continuation line"),
    (f"{S}USER a\nuser b", ["ConsistentInstructionCasing 3"], "Command 'user' should match the case of the"),
    ("from scratch\nuser a\nCmd [\"b\"]", ["ConsistentInstructionCasing 3"], "command majority (lowercase)"),
    ("FROM scratch AS a\nFROM scratch AS a", ["DuplicateStageName 2"], 'Duplicate stage name "a", stage'),
    ("FROM scratch AS context", ["ReservedStageName 1"], 'same name as reserved stage "context"'),
    (f"{S}CMD a\nENTRYPOINT b", ["JSONArgsRecommended 2", "JSONArgsRecommended 3"], "recommended for CMD to"),
    (f'{S}SHELL ["a"]\nCMD a', [], ""),
    (f"{S}MAINTAINER a", ["MaintainerDeprecated 2"], "Maintainer instruction is deprecated"),
    ("FROM --platform=$BULIDPLATFORM scratch", ["UndefinedArgInFrom 1"], "(did you mean BUILDPLATFORM?)"),
    ("ARG a\nFROM scratch$a", [], ""),
    (f"{S}WORKDIR a", ["WorkdirRelativePath 2"], 'Relative workdir "a" can have unexpected results'),
    ("FROM scratch AS a\nWORKDIR /a\nFROM a\nWORKDIR b", [], ""),
    (f"{S}ARG some=1\nUSER $soem", ["UndefinedVar 3"], "variable '$soem' (did you mean $some?)"),
    (f"{S}ENV a=$PATH b=${{c:-d}}", ["UndefinedVar 2"], "Usage of undefined variable '$c'"),
    ("FROM x\nUSER $BASE", [], ""),
    ("FROM scratch AS a\nARG b\nFROM a\nUSER $b", [], ""),
    (f'{S}CMD ["a"]\nCMD ["b"]', ["MultipleInstructionsDisallowed 2"], "Multiple CMD instructions"),
    (f"{S}ENV a b\nLABEL c d", ["LegacyKeyValueFormat 2", "LegacyKeyValueFormat 3"], '"ENV key=value"'),
    ("FROM --platform=$TARGETPLATFORM x", ["RedundantTargetPlatform 1"], "predefined $TARGETPLATFORM in"),
    (f"{S}ARG A_TOKEN", ["SecretsUsedInArgOrEnv 2"], '(ARG "A_TOKEN")'),
    (f"{S}ENV PUBLIC_KEY=2 KEYS=3 KEY=1", ["SecretsUsedInArgOrEnv 2"], '(ENV "KEY")'),
    ("ARG v\nFROM x:$v", ["InvalidDefaultArgInFrom 2"], "ARG x:$v results in empty or invalid base"),
    ("FROM --platform=linux/arm64 x", ["FromPlatformFlagConstDisallowed 1"], 'constant value "linux/arm64"'),
    ("FROM --platform=linux/arm64 x AS on-arm64", [], ""),
    (f"{S}EXPOSE 80/TCP 90/udp", ["ExposeProtoCasing 2"], "Defined protocol '80/TCP' in EXPOSE"),
    (f"{S}EXPOSE 127.0.0.1:80:90", ["ExposeInvalidFormat 2"], "found '127.0.0.1:80:90'"),

    ("# check=experimental=all\n# b\nARG a\nFROM a", ["InvalidDefinitionDescription 3"], "# a <descrip"),
    ("# check=experimental=all\n# b\nFROM scratch AS b\n# c d\nARG c", [], ""),
    ("# check=experimental=all\n# what\n\nARG a\nFROM scratch", [], ""),
]  # fmt: skip

RULES = {
    "StageNameCasing",
    "FromAsCasing",
    "NoEmptyContinuation",
    "ConsistentInstructionCasing",
    "DuplicateStageName",
    "ReservedStageName",
    "JSONArgsRecommended",
    "MaintainerDeprecated",
    "UndefinedArgInFrom",
    "WorkdirRelativePath",
    "UndefinedVar",
    "MultipleInstructionsDisallowed",
    "LegacyKeyValueFormat",
    "RedundantTargetPlatform",
    "SecretsUsedInArgOrEnv",
    "InvalidDefaultArgInFrom",
    "FromPlatformFlagConstDisallowed",
    "CopyIgnoredFile",
    "InvalidDefinitionDescription",
    "ExposeProtoCasing",
    "ExposeInvalidFormat",
}  # docker's


@pytest.mark.parametrize(("text", "expected", "message"), CASES)
def test_finds(text, expected, message):
    result = found(text)
    assert [f"{rule} {line}" for rule, line, _ in result] == expected
    assert message in (result[0][2] if result else "")


def test_every_rule_has_a_case():
    tried = {line.split()[0] for _, expected, _ in CASES for line in expected} | {"CopyIgnoredFile"}
    assert tried == RULES


IGNORED = [
    (["a"], "COPY a b /", ["CopyIgnoredFile"]),
    (["a"], "ADD a/b /", ["CopyIgnoredFile"]),
    (["*"], "COPY . /", ["CopyIgnoredFile"]),
    (["a"], "COPY . /", []),
    (["a", "!a/b"], "COPY a /", []),
    (["a"], "COPY --from=x a /", []),
    (["**"], "ADD https://x/y /", []),
]


@pytest.mark.parametrize(("lines", "instruction", "expected"), IGNORED)
def test_finds_sources_that_are_ignored(lines, instruction, expected):
    result = found(f"{S}{instruction}", ignored=Ignored(lines))
    assert [rule for rule, _, _ in result] == expected


def test_says_nothing_of_variables_of_an_unknown_image():
    assert found("FROM x\nUSER $y", environment=lambda _: None) == []


def test_looks_at_the_stages_that_are_built():
    assert found("FROM scratch AS a\nCMD b\nFROM scratch", reached=frozenset({1})) == []


CHOICES = [
    ("# check=skip=JSONArgsRecommended\n", 0),
    ("# check=skip=all\n", 0),
    ("# check=skip=Other;error=true\n", 1),
    ("", 1),
]


@pytest.mark.parametrize(("head", "count"), CHOICES)
def test_a_directive_chooses(head, count):
    assert len(found(f"{head}{S}CMD a")) == count


def test_a_comment_chooses_for_its_instruction():
    assert found(f"{S}# check=skip=JSONArgsRecommended\nCMD a") == []


def test_a_build_argument_chooses_for_all():
    assert found(f"{S}CMD a", build_args={"BUILDKIT_DOCKERFILE_CHECK": "skip=all"}) == []


def test_refuses_options():
    with pytest.raises(InvalidArgument, match=r'invalid check option "skpi" \(did you mean skip\?\)'):
        found(f"# check=skpi=all\n{S}")


def test_findings_can_be_fatal():
    around = checks.Surroundings(platforms=Platforms(HERE, HERE))
    for head, message in [
        ("# check=error=true\n", "lint violation found for rules: JSONArgsRecommended"),
        ("", ""),
    ]:
        dockerfile = parse(f"{head}{S}CMD a\nENTRYPOINT b".encode())
        assert checks.fatal(dockerfile, around, checks.check(dockerfile, around)) == message


def test_reports_as_docker():
    dockerfile = parse(b"FROM scratch\nCMD a\n")
    around = checks.Surroundings(platforms=Platforms(HERE, HERE))
    assert checks.report(dockerfile, checks.check(dockerfile, around)) == (
        "Check complete, 1 warning has been found!\n"
        "\n"
        "WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n"
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals\n"
        "Dockerfile:2\n"
        "--------------------\n"
        "   1 |     FROM scratch\n"
        "   2 | >>> CMD a\n"
        "--------------------\n"
    )
    assert checks.report(dockerfile, []) == "Check complete, no warnings found.\n"
