"""Templates, tables and times as docker prints them."""

from __future__ import annotations

from typing import Any

import pytest

from onggi.cli.command import Failure
from onggi.cli.format import Row, render_object, render_rows
from onggi.cli.table import align
from onggi.cli.template import TemplateError, execute, parse
from onggi.cli.template.gotypes import typed
from onggi.cli.times import binary_size, human_size, parse_moment
from onggi.oci.ages import human_duration

VALUE: dict[str, Any] = {
    "Id": "abcdef",
    "State": {"Running": True, "Pid": 5},
    "Env": ["A=<b>", "C"],
    "Nothing": None,
    "Labels": {},
    "Memory": 1073741824,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Id}} {{.State.Pid}} {{.State.Running}}", "abcdef 5 true"),
        (
            "{{.Env}} {{.Labels}} {{.State}} {{.Nothing}}",
            "[A=<b> C] map[] map[Pid:5 Running:true] <no value>",
        ),
        ("{{json .Env}}{{json .Nothing}}", '["A=<b>","C"]null'),
        ("{{range .Env}}<{{.}}>{{end}}", "<A=<b>><C>"),
        ("{{range $i, $e := .Env}}{{$i}}={{$e}} {{end}}", "0=A=<b> 1=C "),
        ("{{range $k, $v := .State}}{{$k}}:{{$v}};{{end}}", "Pid:5;Running:true;"),
        ("{{range .Labels}}x{{else}}none{{end}}", "none"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .Nothing}}x{{else}}-{{end}}", "5-"),
        ("{{$x := .Id}}{{$x}}{{with .State}}{{$.Id}}{{end}}", "abcdefabcdef"),
        ("{{if and .State.Running (gt .Memory 5)}}a{{else if .Nothing}}b{{else}}c{{end}}", "a"),
        ('{{if not .State.Running}}a{{else if eq .Id "x" "abcdef"}}b{{end}}', "b"),
        ('{{ join .Env "," | upper }} {{title "ab cd"}} {{split "a,b" ","}}', "A=<B>,C Ab Cd [a b]"),
        ('{{index .Env 1}} {{index .State "Pid"}} {{len .Env}} {{slice .Id 1 3}}', "C 5 2 bc"),
        ('{{printf "%5s|%-5d|%q|%v|%x" .Id 3 .Id .Env 255}}', 'abcdef|3    |"abcdef"|[A=<b> C]|ff'),
        ('{{print 1 2 "x"}} {{println "y"}}', "1 2x y\n"),
        ("a  {{- .Id -}}  b{{/* comment */}}c", "aabcdefbc"),
        ('{{(index .Env 0)}}{{truncate .Id 2}}{{pad "x" 1 1}}{{lower "A"}}', "A=<b>ab x a"),
        ('{{or .Nothing .Id}} {{ne 1 2}} {{"}}"}}', "abcdef true }}"),
    ],
)
def test_templates(template: str, text: str) -> None:
    assert execute(parse(template), VALUE) == text


@pytest.mark.parametrize(
    "template", ["{{.Id", "{{if .Id}}x", "{{end}}", "{{nosuch 1}}", "{{.Foo}}", "{{.Id.Foo}}", "{{)}}"]
)
def test_malformed_templates_are_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        execute(parse(template), VALUE)


def test_tables_have_headers_and_columns() -> None:
    rows = [
        Row(ID="1", Name="long enough to widen", Label=lambda name: name.upper()),
        Row(ID="22", Name="b", Label=str),
    ]
    headers = {"ID": "THE ID", "Name": "NAME", "Label": lambda name: name}
    assert render_rows('table {{.ID}}\\t{{.Name}}\\t{{.Label "x"}}', rows, headers) == (
        "THE ID    NAME                   x\n"
        "1         long enough to widen   X\n"
        "22        b                      x\n"
    )
    assert render_rows("json", rows, headers).splitlines()[1] == '{"ID":"22","Name":"b"}'


def test_a_method_of_a_row_is_told_what_it_wants() -> None:
    rows = [Row(Label=str)]
    assert render_rows('{{.Label "x"}}{{"y" | .Label}}', rows, {}) == "xy\n"
    with pytest.raises(Failure, match=r"at <.Label>: wrong number of args for Label: want 1 got 0$"):
        render_rows("{{.Label}}", rows, {})


def test_columns_end_where_cells_end() -> None:
    assert align("a\tb\nno cells\nccccccccccccc\td") == "a         b\nno cells\nccccccccccccc   d"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"),
        (3599, "59 minutes"), (3600, "About an hour"), (5400, "2 hours"), (47 * 3600, "47 hours"),
        (0, "Less than a second"), (2.5 * 3600, "3 hours"), (47.6 * 3600, "2 days"),
        (3 * 86400, "3 days"), (20 * 86400, "2 weeks"), (70 * 86400, "2 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_ages(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_sizes() -> None:
    assert [human_size(n, 3) for n in (0, 999, 4261574, 1234567890)] == ["0B", "999B", "4.26MB", "1.23GB"]
    assert binary_size(1610612736) == "1.5GiB"


def test_moments() -> None:
    assert parse_moment("1136073600.000000001") == "1136073600.000000001"
    assert parse_moment("2006-01-02T15:04:05Z") == "1136214245.000000000"
    assert parse_moment("2006-01-02T15:04:05.5+01:00") == "1136210645.500000000"
    assert float(parse_moment("1h")) > 1_000_000_000
    with pytest.raises(ValueError, match="failed to parse value as time or duration"):
        parse_moment("2d")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.ID}} {{.Id}}", "abc abc"),
        ("{{.State.Health}} {{if .State.Health}}x{{else}}none{{end}}", "<nil> none"),
        ("{{.HostConfig.Binds}} {{.HostConfig.Tmpfs}} {{.HostConfig.DNS}}", "[] map[] [8.8.8.8]"),
        ("{{.HostConfig.PidsLimit}} {{.HostConfig.Init}}", "<nil> <nil>"),
        (
            '{{index .Config.Labels "nope"}}|{{index .Config.Labels "k"}}|{{.Config.Labels.nope}}',
            "|v|<no value>",
        ),
        ("{{json .HostConfig.Binds}} {{json .State.Health}} {{json .Config.Labels}}", 'null null {"k":"v"}'),
        ("{{len .HostConfig.Binds}} {{range .HostConfig.Binds}}x{{end}}", "0 "),
    ],
)
def test_inspect_sees_gos_types(template, text):
    host = {"Binds": None, "Dns": ["8.8.8.8"], "PidsLimit": None}
    facts = {"Id": "abc", "State": {}, "HostConfig": host, "Config": {"Labels": {"k": "v"}}}
    assert render_object(template, typed(facts)) == text


def test_what_follows_a_nil_is_wrong():
    facts = {"State": {}, "HostConfig": {}, "IPAMConfig": None}
    with pytest.raises(Failure, match=r'<.State.Health.Status>: map has no entry for key "Health"'):
        render_object("{{.State.Health.Status}}", typed(facts))
    with pytest.raises(Failure, match=r"nil pointer evaluating interface {}.IPv4Address"):
        render_object("{{.IPAMConfig.IPv4Address}}", typed(facts))
