"""docker's words for where a cache is."""

import os

import pytest

from onggi.cli.build_caches import cache_from, cache_to
from onggi.cli.command import Failure


def test_caches_to_read():
    assert cache_from("r.example/a:1") == {"Type": "registry", "Ref": "r.example/a:1", "Mode": "min"}
    assert cache_from("type=registry,ref=a")["Ref"] == "a"
    found = cache_from("type=local,src=here,tag=x")
    assert found == {"Type": "local", "Ref": "x", "Path": os.path.abspath("here"), "Mode": "min"}


def test_caches_to_write():
    assert cache_to("type=inline") == {"Type": "inline", "Mode": "min"}
    found = cache_to("type=registry,ref=a,mode=max,ignore-error=true,oci-mediatypes=true")
    assert found == {"Type": "registry", "Ref": "a", "Mode": "max", "IgnoreError": True}
    assert cache_to("type=local,dest=/a")["Path"] == "/a"


@pytest.mark.parametrize(
    "text",
    [
        "type=gha", "type=local", "type=registry", "type=inline,mounts=true", "type=inline,ref=a",
        "type=registry,ref=a,compression=zstd", "a,b", 'type="local',
    ],
)  # fmt: skip
def test_what_is_refused(text):
    with pytest.raises(Failure):
        cache_to(text)
