"""docker's ``until`` filter, as images, containers, networks and the build cache are pruned by."""

import pytest

from onggi.errors import InvalidArgument
from onggi.oci.until import instant_ns, parse_until

NOW = 10**18
S = 10**9


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1h30m", NOW - 5400 * S),
        ("1.5h", NOW - 5400 * S),
        ("100ms", NOW - S // 10),
        ("-1h", NOW + 3600 * S),
        ("1136073600.000000001", 1136073600 * S + 1),
        ("2013-01-02", 1357084800 * S),
        ("2006-01-02T15:04", 1136214240 * S),
        ("2006-01-02T15:04:05Z", 1136214245 * S),
        ("2006-01-02T15:04:05.999999999+01:00", 1136210645 * S + 999999999),
    ],
)
def test_what_dockerd_takes(text, moment):
    assert parse_until(text, NOW) == moment


@pytest.mark.parametrize("text", ["x", "", "2006-01", "1d"])
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(InvalidArgument) as told:
        parse_until(text, NOW)
    assert str(told.value) == f'failed to parse value as time or duration: "{text}"'


def test_instants_are_exact():
    assert instant_ns("2026-01-01T00:00:00.000000002Z") - instant_ns("2026-01-01T00:00:00.000000001Z") == 1
