"""Manifests as strangers write them: understood in one way, or refused with an error of ours."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import InvalidArgument, NotFound, OnggiError, Unsupported
from onggi.oci import manifest, media, platform
from onggi.oci.digest import sha256

DIGEST = sha256(b"x")
CONFIG = {"mediaType": media.OCI_CONFIG, "digest": DIGEST, "size": 1}
LAYER = {"mediaType": media.OCI_LAYER_GZIP, "digest": DIGEST, "size": 1}
MANIFEST = {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
INDEX = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}
KINDS = [*media.MANIFESTS, *media.INDEXES, *media.DOCKER_SCHEMA_1, "", "application/json", "text/html"]


def parse(document, told=""):
    return manifest.parse(json.dumps(document).encode(), told)


def test_a_manifest_and_an_index():
    assert parse(MANIFEST).layers[0].digest == DIGEST
    assert parse(INDEX).manifests == []
    assert parse({**MANIFEST, "mediaType": None}, media.DOCKER_MANIFEST).media_type == media.DOCKER_MANIFEST
    assert parse(MANIFEST, f"{media.OCI_MANIFEST}; charset=utf-8").media_type == media.OCI_MANIFEST


@pytest.mark.parametrize(
    "document",
    [
        {**MANIFEST, "manifests": []},
        {**INDEX, "layers": []},
        {**INDEX, "config": CONFIG},
        {**MANIFEST, "fsLayers": []},
        {**INDEX, "fsLayers": []},
    ],
)
def test_cve_2021_41190_what_could_be_both_is_refused(document):
    for told in ("", *media.MANIFESTS, *media.INDEXES):
        with pytest.raises(InvalidArgument):
            parse(document, told)
        with pytest.raises(InvalidArgument):
            parse({name: value for name, value in document.items() if name != "mediaType"}, told)


@pytest.mark.parametrize("told", [media.OCI_INDEX, media.DOCKER_MANIFEST, media.DOCKER_LIST])
def test_cve_2021_41190_document_and_transport_must_agree(told):
    with pytest.raises(InvalidArgument, match="the registry says"):
        parse(MANIFEST, told)


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256:",
        "sha256:../../etc/passwd",
        f"sha256:{'A' * 64}",
        f"sha256:{'a' * 63}",
        f"sha256:{'a' * 64}\n",
        f"sha256:{'a' * 32}/../{'a' * 28}",
        f"sha512:{'a' * 128}",
        f"md5:{'a' * 32}",
        "a" * 64,
        f"sha256:{'a' * 64}?x=y",
        7,
        None,
        ["sha256", "a" * 64],
    ],
)
def test_cve_2024_3727_malformed_digests_are_refused(digest):
    bad = {**LAYER, "digest": digest}
    for document in (
        {**MANIFEST, "layers": [LAYER, bad]},
        {**MANIFEST, "config": {**CONFIG, "digest": digest}},
        {**INDEX, "manifests": [bad]},
    ):
        with pytest.raises(InvalidArgument):
            parse(document)


@pytest.mark.parametrize("size", [-1, 1 << 51, 1 << 70, 1.5, "1", None, True])
def test_sizes_are_sizes(size):
    with pytest.raises(InvalidArgument):
        parse({**MANIFEST, "layers": [{**LAYER, "size": size}]})


@pytest.mark.parametrize(
    "document",
    [{"schemaVersion": 1, "name": "x", "fsLayers": []}, {**MANIFEST, "mediaType": media.DOCKER_SCHEMA_1[0]}],
)
def test_schema_1_is_refused_by_name(document):
    with pytest.raises(Unsupported, match=r"schema 1|unsupported manifest media type"):
        parse(document)
    with pytest.raises(Unsupported, match="schema 1"):
        parse(document, media.DOCKER_SCHEMA_1[1])


def test_documents_have_bounds():
    with pytest.raises(InvalidArgument, match="at most"):
        manifest.parse(b" " * (manifest.MAX_BYTES + 1))
    with pytest.raises(InvalidArgument, match="at most 1000"):
        parse({**MANIFEST, "layers": [LAYER] * 1001})


def deep(text):
    return text * 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        deep(b"["),
        deep(b'{"a":'),
        b"\xff\xfe",
        b'{"schemaVersion": 2e400}',
        b"NaN",
    ],
)
def test_cve_2021_21285_what_is_no_document_is_an_error_of_ours(data):
    for told in KINDS:
        with pytest.raises(OnggiError):
            manifest.parse(data, told)


WORDS = st.sampled_from(
    [*KINDS, DIGEST, "sha256:x", "mediaType", "digest", "size", "layers", "config", "manifests", "urls", "os"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)
MEMBERS = [
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "annotations",
    "fsLayers",
    "subject",
]
DOCUMENTS = st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=8)
MUTATED = st.builds(lambda base, change: {**base, **change}, st.sampled_from([MANIFEST, INDEX]), DOCUMENTS)


@given(MUTATED | DOCUMENTS | JSON, st.sampled_from(KINDS))
def test_cve_2021_21285_any_document_is_understood_or_refused(document, told):
    try:
        parsed = manifest.parse(json.dumps(document).encode(), told)
    except OnggiError:
        return
    assert not ("layers" in document and "manifests" in document)
    if isinstance(parsed, manifest.Index):
        try:
            manifest.choose(parsed, platform.Platform("linux", "amd64"))
        except NotFound:
            return
    else:
        try:
            manifest.check_image(parsed)
        except Unsupported:
            return
        assert all(layer.media_type in media.LAYERS and not layer.urls for layer in parsed.layers)


@given(st.binary(max_size=200), st.sampled_from(KINDS))
def test_cve_2021_21285_any_bytes_are_refused(data, told):
    with pytest.raises(OnggiError):
        manifest.parse(data, told)


@given(st.lists(JSON, max_size=3), st.sampled_from(["amd64", "arm"]))
def test_cve_2021_21285_any_platform_fits_or_not(platforms, architecture):
    odd = [entry(os="linux", architecture=architecture, variant=it) for it in platforms]
    try:
        index = parse({**INDEX, "manifests": [*odd, *({**entry(), "platform": it} for it in platforms)]})
        manifest.choose(index, platform.Platform("linux", architecture, "v7"))
    except OnggiError:
        return


def entry(**found):
    return {"mediaType": media.OCI_MANIFEST, "digest": DIGEST, "size": 1, "platform": found}


def test_the_most_exact_platform_is_chosen():
    arm = platform.Platform("linux", "arm", "v7")
    listed = [entry(os="linux", architecture="arm", variant=variant) for variant in ("v5", "", "v7", "v6")]
    listed += [{**entry(os="linux", architecture="arm64"), "size": 9}, {**entry(), "platform": "linux"}]
    index = parse({**INDEX, "manifests": listed})
    assert manifest.choose(index, arm).platform["variant"] == "v7"
    with pytest.raises(NotFound, match="no matching manifest for linux/amd64 in the manifest list entries"):
        manifest.choose(index, platform.Platform("linux", "amd64"))
