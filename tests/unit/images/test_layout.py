"""What the documents of image archives say."""

import json

import pytest

from image_archives import INDEX, MANIFEST, config, digest, hexadecimal, oci_members
from onggi.errors import InvalidArgument, NotFound, Unsupported
from onggi.images import layout
from onggi.images.recording import parse_config
from onggi.oci.platform import Platform

AMD64 = Platform("linux", "amd64")


def reader(members):
    def read(name):
        if name not in members:
            raise NotFound(name)
        return members[name]

    return read


def test_a_docker_archive_names_config_layers_and_tags():
    text = json.dumps([{"Config": "./a.json", "RepoTags": ["x:1", "y/z"], "Layers": ["l/layer.tar"]}])
    (wanted,) = layout.read_docker(text.encode())
    assert (wanted.config, wanted.layers) == ("a.json", ["l/layer.tar"])
    assert [name.familiar for name in wanted.names] == ["x:1", "y/z:latest"]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '[{"Config": 1}]', '[{"Layers": []}]', "[" * 5000, '[{"Config": "../x"}]', "\xff"],
)
def test_a_malformed_manifest_json_is_refused(text):
    with pytest.raises(InvalidArgument):
        layout.read_docker(text.encode("latin-1"))


def test_an_oci_layout_names_blobs():
    members = oci_members([b"layer"])
    (wanted,) = layout.read_oci(reader(members), AMD64)
    assert wanted.config in members
    assert all(name in members for name in wanted.layers)
    assert [name.familiar for name in wanted.names] == ["made:2"]


def test_a_tag_alone_is_no_name_but_chooses():
    members = oci_members([b"layer"], name="v1")
    assert layout.read_oci(reader(members), AMD64, "v1")[0].names == []
    with pytest.raises(NotFound):
        layout.read_oci(reader(members), AMD64, "v2")


def test_a_document_with_other_content_is_refused():
    members = oci_members([b"layer"])
    (entry,) = json.loads(members["index.json"])["manifests"]
    members[layout.blob_name(entry["digest"])] += b" "
    with pytest.raises(InvalidArgument, match="other content"):
        layout.read_oci(reader(members), AMD64)


def test_an_index_in_an_index_is_chosen_from_by_platform():
    members = oci_members([b"layer"])
    (entry,) = json.loads(members["index.json"])["manifests"]
    inner = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                {
                    **entry,
                    "platform": {"os": "linux", "architecture": "arm64"},
                    "digest": "sha256:" + "0" * 64,
                },
                {**entry, "platform": {"os": "linux", "architecture": "amd64"}},
            ],
        }
    ).encode()
    members[f"blobs/sha256/{hexadecimal(inner)}"] = inner
    outer = {"mediaType": INDEX, "digest": digest(inner), "size": len(inner)}
    members["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [outer]}).encode()
    (wanted,) = layout.read_oci(reader(members), AMD64)
    assert wanted.manifest == (layout.blob_name(entry["digest"]), MANIFEST)
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x"):
        layout.read_oci(reader(members), Platform("linux", "s390x"))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x"])
def test_names_that_lead_out_are_refused(name):
    with pytest.raises(InvalidArgument):
        layout.clean(name)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (b"", InvalidArgument),
        (b"[]", InvalidArgument),
        (b"{}", InvalidArgument),
        (b'{"rootfs": {"diff_ids": "x"}}', InvalidArgument),
        (b'{"rootfs": {"diff_ids": [1]}}', InvalidArgument),
        (b'{"rootfs": {"diff_ids": ["sha256:../../x"]}}', InvalidArgument),
        (b'{"rootfs": {"diff_ids": [], "type": "odd"}}', Unsupported),
        (config([b"x"] * 128), InvalidArgument),
        (config([b"x"], os=["linux"]), InvalidArgument),
        (config([b"x"], config=[]), None),
    ],
)
def test_configurations_are_checked(document, error):
    if error is None:
        parse_config(document)
        return
    with pytest.raises(error):
        parse_config(document)
