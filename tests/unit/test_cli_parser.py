"""Command lines by pflag's rules, in docker's words."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onggi.cli import registry
from onggi.cli.command import UsageError
from onggi.cli.main import load
from onggi.cli.parser import HelpWanted, parse
from onggi.cli.runflags import CONTAINER_FLAGS, RUN_FLAGS
from onggi.cli.usage import command_help

FLAGS = CONTAINER_FLAGS + RUN_FLAGS
SOURCE = Path(__file__).parents[2] / "src"
BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from onggi.cli.main import main; sys.exit(main(sys.argv[1:]))"
)


def test_flags_and_values_in_all_their_forms() -> None:
    line = (
        "-it -p80:80 -p=81:81 -p 82:82 --rm=false --name web --memory=1g -e A=b -eC=d --net none img -it --rm"
    )
    options, arguments = parse(line.split(), FLAGS, interspersed=False)
    assert options.on("interactive")
    assert options.on("tty")
    assert not options.on("rm")
    assert options.many("publish") == ["80:80", "81:81", "82:82"]
    assert (options.text("name"), options.number("memory")) == ("web", 1 << 30)
    assert options.many("env") == ["A=b", "C=d"]
    assert options.many("network") == [{"name": "none"}]
    assert arguments == ["img", "-it", "--rm"]
    assert "rm" in options.given
    assert "detach" not in options.given


def test_double_dash_ends_the_flags() -> None:
    options, arguments = parse(["-f", "--", "-x", "y"], (("force", "f", "bool", "", "x"),))
    assert options.on("force")
    assert arguments == ["-x", "y"]


def test_flags_may_follow_arguments_where_the_command_lets_them() -> None:
    options, arguments = parse(["a", "-f", "b", "-"], (("force", "f", "bool", "", "x"),))
    assert options.on("force")
    assert arguments == ["a", "b", "-"]


def test_defaults() -> None:
    options, _ = parse([], FLAGS)
    assert options.number("memory-swappiness") == -1
    assert options.text("restart") == "no"
    assert options.text("pull") == "missing"
    assert options.on("sig-proxy")
    assert options.many("env") == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--nosuch", "unknown flag: --nosuch"),
        ("-iZ", "unknown shorthand flag: 'Z' in -iZ"),
        ("--name", "flag needs an argument: --name"),
        ("-it -p", "flag needs an argument: 'p' in -p"),
        ("---x", "bad flag syntax: ---x"),
        ("--=x", "bad flag syntax: --=x"),
        (
            "--rm=maybe",
            'invalid argument "maybe" for "--rm" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        ("-m xx", 'invalid argument "xx" for "-m, --memory" flag: invalid size: \'xx\''),
        ("-m 1.5xb", 'invalid argument "1.5xb" for "-m, --memory" flag: invalid suffix: \'xb\''),
        ("--cpus x", 'invalid argument "x" for "--cpus" flag: failed to parse x as a rational number'),
        ("--cpus 0.0000000001", 'invalid argument "0.0000000001" for "--cpus" flag: value is too precise'),
        (
            "--blkio-weight 70000",
            (
                'invalid argument "70000" for "--blkio-weight" flag: '
                'strconv.ParseUint: parsing "70000": value out of range'
            ),
        ),
        (
            "--health-interval 3",
            'invalid argument "3" for "--health-interval" flag: time: missing unit in duration "3"',
        ),
        ("-e =x", 'invalid argument "=x" for "-e, --env" flag: invalid environment variable: =x'),
        ("--ulimit foo=1", 'invalid argument "foo=1" for "--ulimit" flag: invalid ulimit type: foo'),
        ("--sysctl x", 'invalid argument "x" for "--sysctl" flag: sysctl \'x\' is not allowed'),
        ("--mount type=bind", 'invalid argument "type=bind" for "--mount" flag: target is required'),
        ("--dns x", 'invalid argument "x" for "--dns" flag: IP address is not correctly formatted: x'),
        ("--add-host foo", 'invalid argument "foo" for "--add-host" flag: bad format for add-host: "foo"'),
    ],
)
def test_wrong_flags_in_dockers_words(line: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line.split(), FLAGS)
    assert str(caught.value) == words


def test_help_beats_what_is_missing() -> None:
    with pytest.raises(HelpWanted):
        parse(["--help"], FLAGS)


def commands() -> list[str]:
    later = {"daemon", "doctor", "registry serve", "try"}
    return [
        row[0] for row in registry.ROWS if row[1] and row[0] not in later and registry.about(row[0]) != "-"
    ]


@pytest.mark.parametrize("name", commands())
def test_every_flag_of_docker_is_known(name: str) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker CLI is not installed")
    shown = subprocess.run(
        ["docker", *name.split(), "--help"], capture_output=True, text=True, timeout=60
    ).stdout
    theirs = set(re.findall(r"^  (?:-(\w), |    )--([a-z0-9-]+)", shown, re.MULTILINE))
    ours = {(flag[1], flag[0]) for flag in load(registry.find(name.split())[1]).flags}
    assert theirs - {("", "help"), ("h", "help")} <= ours


@pytest.mark.parametrize("name", commands())
def test_help_is_laid_out_and_fits(name: str) -> None:
    text = command_help(load(registry.find(name.split())[1]), name)
    assert text.startswith("Usage:  onggi ")
    assert all(len(line) <= 90 for line in text.splitlines())


def test_help_uses_the_words_that_were_typed() -> None:
    listing = load(registry.find(["ps"])[1])
    assert command_help(listing, "ps").startswith("Usage:  onggi ps [OPTIONS]\n")
    assert command_help(listing, "container list").startswith("Usage:  onggi container ls [OPTIONS]\n")


def run(program: list[str], *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [*program, "-H", "unix:///nonexistent", *words], capture_output=True, text=True, timeout=60
    )
    return done.returncode, (done.stdout + done.stderr).replace("docker", "onggi")


@pytest.mark.parametrize(
    "line",
    [
        "run", "run --foo x", "run -Z x", "ps --foo", "rm", "foo", "container foo", "rename a",
        "exec a", "logs",
        "top", "run -p foo b", "run --rm --restart always b", "run -d -a stdin b", "start -a a b", "ps extra",
        "stop -t x a", "run --network-alias x b", "run --security-opt x b", "run --pid x b", "run --uts x b",
        "run --pull x b", "run --env-file /nonexist b", "run --memory-swappiness 200 b",
        "run -v :: b", "inspect",
        "run --no-healthcheck --health-cmd x b", "run --restart :3 b", "wait", "run -it",
        "run --storage-opt x b", "run --log-driver none --log-opt a=b b", "run --userns x b",
        "attach", "update a",
    ],
)  # fmt: skip
def test_usage_errors_are_dockers(line: str) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker CLI is not installed")
    theirs = run(["docker"], *line.split())
    ours = run([sys.executable, "-I", "-S", "-c", BOOT, str(SOURCE)], *line.split())
    assert ours == theirs
