"""Log options: docker's words for what is refused."""

from __future__ import annotations

import pytest

from onggi.errors import InvalidArgument, OnggiError, Unsupported
from onggi.logs.options import Rotation, attributes, buffer_size, parse_size, render_tag, rotation, validate


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("json-file", {"x": "1"}, "unknown log opt 'x' for json-file log driver"),
        ("local", {"labels": "a"}, "unknown log opt 'labels' for log driver local"),
        ("nosuch", {}, 'error looking up logging plugin nosuch: plugin "nosuch" not found'),
        ("gelf", {}, "log driver 'gelf' is not supported"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "x"}, "invalid max-file: 'x'"),
        ("json-file", {"max-size": "ten"}, "invalid size: 'ten'"),
        ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
        ("json-file", {"max-file": "1", "compress": "true"}, "compress cannot be true"),
        ("json-file", {"compress": "maybe"}, "invalid compress: 'maybe'"),
        ("local", {"mode": "non-blocking", "max-buffer-size": "x"}, "max-buffer-size: invalid size: 'x'"),
        ("syslog", {"mode": "non-blocking", "max-buffer-size": "-1"}, "max-buffer-size: invalid size: '-1'"),
        ("json-file", {"mode": "x"}, "logger: logging mode not supported: x"),
        ("json-file", {"max-buffer-size": "1m"}, "only supported with 'mode=non-blocking'"),
        ("json-file", {"tag": "{{json .}}"}, "supports fields"),
        ("json-file", {"tag": "{{.Bogus}}"}, "can't evaluate field Bogus in type *logger.Info"),
        ("json-file", {"env-regex": "("}, "invalid env-regex"),
    ],
)
def test_refusals(driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(OnggiError) as caught:
        validate(driver, options)
    assert words in str(caught.value)
    assert isinstance(caught.value, (InvalidArgument, Unsupported))


def test_what_is_allowed() -> None:
    validate("none", {"anything": "goes, as with docker"})
    validate("local", {"max-size": "10k", "max-file": "2", "compress": "true", "mode": "blocking"})
    validate("json-file", {"labels": "a,b", "env": "X", "tag": "{{.Name}}/{{.ID}}", "labels-regex": "^c"})


def test_rotation_is_on_by_default_and_can_be_turned_off() -> None:
    assert rotation({}) == Rotation(10_000_000, 3, False)
    assert rotation({"max-size": "-1"}).max_size == -1


@pytest.mark.parametrize(("text", "size"), [("10m", 10**7), ("1.5k", 1500), ("512", 512), ("1 GB", 10**9)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_attributes_are_those_asked_for() -> None:
    options = {"labels": "a", "env-regex": "^X", "tag": "{{.Name}}"}
    found = attributes(options, {"a": "1", "b": "2"}, {"XY": "3", "Z": "4"}, {"Name": "box"})
    assert found == {"a": "1", "XY": "3", "tag": "box"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("x/{{.Name}}-{{ .ID }}", "x/box-12"),
        ('{{index .ContainerLabels "a.b"}}|{{index .ContainerLabels "no"}}', "1|"),
        ("{{.ContainerLabels.c}}|{{.ContainerLabels.no}}", "2|<no value>"),
    ],
)
def test_tags(template: str, text: str) -> None:
    assert render_tag(template, {"Name": "box", "ID": "12"}, {"a.b": "1", "c": "2"}) == text


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"max-buffer-size": "1m"}, 1 << 20), ({"max-buffer-size": "1.5k"}, 1536), ({}, 10**6),
        ({"max-buffer-size": "0"}, 10**6), ({"mode": "blocking"}, 0), ({"mode": ""}, 0),
    ],
)  # fmt: skip
def test_buffers(options: dict[str, str], size: int) -> None:
    assert buffer_size({"mode": "non-blocking"} | options) == size
