"""States of stages: what instructions make of a configuration, keys of steps, and times."""

import pytest

from onggi.build import cache, changes
from onggi.build.running import Scope, plan
from onggi.build.state import from_image, from_scratch, from_stage, timestamp
from onggi.dockerfile.parser import parse
from onggi.errors import InvalidArgument
from onggi.oci.image import Image
from onggi.oci.platform import Platform
from onggi.times import duration

LAYER = "sha256:" + "a" * 64
BASE = Image(
    "sha256:" + "b" * 64,
    {
        "architecture": "amd64",
        "os": "linux",
        "created": "2020-01-02T03:04:05.5Z",
        "container": "gone",
        "config": {
            "Env": ["PATH=/bin"],
            "OnBuild": ["RUN x"],
            "Cmd": ["sh"],
            "Labels": {"dev.onggi.x": "1", "a": "b"},
        },
        "history": [{"created_by": "base"}],
    },
    [],
    0,
    "2020-01-02T03:04:05.5Z",
    [LAYER],
)


def after(text, state=None):
    """The state behind instructions."""
    state = state or from_image(BASE, None)
    for instruction in parse(f"FROM x\n{text}".encode()).stages[0].instructions:
        state = changes.apply(state, instruction)
    return state


def test_a_stage_begins_with_what_an_image_says_of_itself():
    state = from_image(BASE, None)
    assert state.config == {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": {"a": "b"}}
    assert (state.document["architecture"], "container" in state.document) == ("amd64", False)
    assert (state.layers, timestamp(state.time_ns)) == ([LAYER], "2020-01-02T03:04:05Z")
    assert from_image(BASE, 7).time_ns == 7 * 10**9
    assert BASE.config["config"]["OnBuild"] == ["RUN x"]


def test_scratch_begins_at_the_epoch():
    state = from_scratch(Platform("linux", "arm64", "v8"), None)
    assert (state.time_ns, state.document["variant"], state.directory) == (0, "v8", "/")


def test_an_entrypoint_drops_the_command_of_the_base_alone():
    assert "Cmd" not in after('ENTRYPOINT ["a"]').config
    assert after('CMD ["b"]\nENTRYPOINT ["a"]').config["Cmd"] == ["b"]
    assert after('CMD ["b"]\nENTRYPOINT ["a"]', from_stage(after('CMD ["c"]'))).config["Cmd"] == ["b"]
    assert "Cmd" not in after('ENTRYPOINT ["a"]', from_stage(after('CMD ["c"]'))).config


def test_triggers_do_not_pass_on_to_stages():
    state = after("ONBUILD RUN x")
    assert state.config["OnBuild"] == ["RUN x"]
    assert "OnBuild" not in from_stage(state).config


def test_variables_keep_their_place():
    assert after("ENV B=1\nENV PATH=/x B=2 C=3").config["Env"] == ["PATH=/x", "B=2", "C=3"]


def test_shells_go_before_commands():
    assert after('SHELL ["/bin/bash", "-c"]\nCMD a b').config["Cmd"] == ["/bin/bash", "-c", "a b"]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (5 * 10**9, "5s"),
        (90 * 10**9, "1m30s"),
        (3600 * 10**9, "1h0m0s"),
        (1500 * 10**6, "1.5s"),
        (10**6, "1ms"),
    ],
)
def test_durations_are_gos(ns, text):
    assert duration(ns) == text


@pytest.mark.parametrize(
    ("retries", "shown"),
    [(0, "\\x00"), (3, "\\x03"), (7, "\\a"), (10, "\\n"), (39, "\\'"), (65, "A"), (233, "é")],
)
def test_retries_are_told_as_go_tells_them(retries, shown):
    told = after(f"HEALTHCHECK --retries={retries} CMD x").document["history"][-1]["created_by"]
    assert told == f'HEALTHCHECK &{{["CMD-SHELL" "x"] "0s" "0s" "0s" "0s" \'{shown}\'}}'


@pytest.mark.parametrize("port", ["0", "65536", "a", "1-", "5-4", "80/icmp"])
def test_ports_that_are_none(port):
    with pytest.raises(InvalidArgument, match="invalid containerPort"):
        after(f"EXPOSE {port}")


def test_layers_have_an_end():
    state = from_image(BASE, None)
    for _ in range(126):
        state = state.told("x", LAYER, empty=False)
    with pytest.raises(InvalidArgument, match="max depth exceeded"):
        state.told("x", LAYER, empty=False)


def task(text, variables=None, proxies=None):
    step = parse(f"FROM x\n{text}".encode()).stages[0].instructions[0]

    async def nothing(_):
        raise AssertionError

    return plan(from_image(BASE, None), step, Scope(variables or {}, [], proxies or {}, nothing))


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("RUN a | b", ["/bin/sh", "-c", "a | b"]),
        ('RUN ["a", "b c"]', ["a", "b c"]),
        ("RUN <<E\na\nb\nE", ["/bin/sh", "-c", "a\nb\n"]),
        ("RUN <<-E\n\ta\nE", ["/bin/sh", "-c", "a\n"]),
        ("RUN <<E\n#!/bin/x\nE", ["/dev/pipes/E"]),
        ("RUN cat <<A - <<B\n1\nA\n2\nB", ["/bin/sh", "-c", "cat <<A - <<B\n1\nA\n2\nB"]),
    ],
)
def test_what_is_executed(text, argv):
    assert task(text).argv == argv


def test_proxies_are_variables_of_steps_and_of_nothing_else():
    found = task("RUN a", {"A": "1"}, {"http_proxy": "p"})
    assert found.env == ["http_proxy=p", "A=1"]
    assert found.told == "RUN /bin/sh -c a"


def test_keys_do_not_depend_on_the_order_of_members():
    assert cache.key_of(a=1, b={"c": 2, "d": 3}) == cache.key_of(b={"d": 3, "c": 2}, a=1)
    assert cache.key_of(a=1) != cache.key_of(a=2)
