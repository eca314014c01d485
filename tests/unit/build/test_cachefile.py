"""What a shared cache says, and what is wrong with one."""

import base64
import json

import pytest

from onggi.build import cachefile
from onggi.build.cachefile import Made
from onggi.build.state import State, timestamp
from onggi.errors import InvalidArgument
from onggi.oci import media
from onggi.oci.manifest import Descriptor, Manifest

ONE, TWO, THREE = ("sha256:" + letter * 64 for letter in "abc")
KEY, OTHER = "1" * 64, "2" * 64
BLOB = Descriptor(media.OCI_LAYER_GZIP, ONE, 5)
CONFIG = Descriptor(cachefile.CONFIG, THREE, 5)


def manifest(*layers):
    return Manifest(media.OCI_MANIFEST, CONFIG, list(layers))


def test_what_is_written_is_read():
    steps = {OTHER: Made(TWO, BLOB), KEY: Made(TWO, BLOB)}
    data, layers = cachefile.encode(steps)
    assert layers == [BLOB]
    assert cachefile.decode(data, manifest(*layers)) == steps
    assert cachefile.encode(dict(reversed(steps.items())))[0] == data
    assert set(json.loads(data)) == {"layers", "records"}


def test_records_of_buildkit_are_passed_over():
    config = {
        "layers": [{"blob": ONE, "annotations": {"diffID": TWO, "createdAt": "2026-01-01T00:00:00Z"}}],
        "records": [
            {"digest": THREE, "inputs": [[{"link": 1}]], "chains": [{"layers": [0], "createdAt": "x"}]},
            {"digest": TWO, "layers": [{"layer": 0, "createdAt": "x"}]},
        ],
    }
    assert cachefile.decode(json.dumps(config).encode(), manifest(BLOB)) == {"b" * 64: Made(TWO, BLOB)}


@pytest.mark.parametrize(
    "config",
    [
        [],
        {"records": [{"digest": f"sha256:{KEY}", "layers": [{"layer": 1}]}]},
        {"records": [{"digest": f"sha256:{KEY}", "layers": [{"layer": -1}]}]},
        {"records": [{"digest": KEY, "layers": [{"layer": 0}]}]},
        {"layers": [{"blob": TWO, "annotations": {"diffID": TWO}}]},
        {"layers": [{"blob": ONE}]},
        {"layers": [{"blob": ONE, "annotations": {"diffID": "x"}}]},
        {"records": [{}] * 10_001},
    ],
)
def test_what_is_wrong(config):
    usual = {
        "layers": [{"blob": ONE, "annotations": {"diffID": TWO}}],
        "records": [{"digest": f"sha256:{KEY}", "layers": [{"layer": 0}]}],
    }
    assert cachefile.decode(json.dumps(usual).encode(), manifest(BLOB))
    given = {**usual, **config} if isinstance(config, dict) else config
    with pytest.raises(InvalidArgument):
        cachefile.decode(json.dumps(given).encode(), manifest(BLOB))


def test_images_tell_of_their_own_layers():
    text = cachefile.inline({KEY: [ONE, TWO], OTHER: [ONE, THREE], "3": ()}, [ONE, TWO, THREE])
    blobs = [BLOB] * 3
    document = {cachefile.INLINE: text}
    assert cachefile.from_inline(document, [ONE, TWO, THREE], blobs) == {KEY: Made(TWO, BLOB)}
    assert cachefile.from_inline({}, [ONE], [BLOB]) == {}
    for wrong in ("?", base64.b64encode(b"{}").decode(), text):
        with pytest.raises(InvalidArgument):
            cachefile.from_inline({cachefile.INLINE: wrong}, [ONE], [BLOB])


def test_a_history_serves_where_it_is_the_same():
    def step(told, *, empty=False):
        more = {"empty_layer": True} if empty else {}
        return {"created_by": told, "created": timestamp(0), **more}

    history = [step("base"), step("ENV A=1", empty=True), step("RUN x"), step("RUN y")]
    state = State(document={"config": {}, "history": history[:2]}, layers=[ONE])

    def number(told="RUN x", *, steps=history, layers=(ONE, TWO, THREE), at=state, timed=False):
        return cachefile.following(steps, layers, at, told, timed=timed)

    assert number() == 1
    assert number(timed=True) == 1
    assert number("RUN z") is None
    assert number(layers=(TWO, TWO, THREE)) is None
    assert number(layers=(ONE,)) is None
    assert number(steps=[step("other"), *history[1:]]) is None
    assert number(steps=[history[0], step("ENV A=1"), *history[2:]]) is None
    assert number(steps=history[:2]) is None
    assert number(steps=[*history[:2], step("RUN x", empty=True)]) is None
    assert number(steps=[*history[:2], None]) is None
    later = State(document=state.document, layers=[ONE], time_ns=10**9)
    assert (number(at=later), number(at=later, timed=True)) == (1, None)
