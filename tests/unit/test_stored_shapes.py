"""What databases and run directories hold keeps its shape: an engine reads what an older one wrote."""

import json
from pathlib import Path
from typing import Any

import msgspec

from onggi.build.explaining import Made
from onggi.containers.model import Spec, State
from onggi.containers.runtime import ExitRecord, MonitorState
from onggi.networks.model import Network, Sandbox
from onggi.store import rootfs
from onggi.volumes.model import Volume

RECORD = Path(__file__).parents[1] / "data" / "stored-shapes.txt"
STORED = [Spec, State, ExitRecord, MonitorState, Network, Sandbox, Volume, rootfs.Spec, Made]


def shapes() -> list[str]:
    """A line for each field: struct, name, type; ``required`` where an older record must have it."""
    _, structs = msgspec.json.schema_components(STORED)
    return sorted(
        f"{name} {field} {_type(kind)}{' required' * (field in struct.get('required', ()))}"
        for name, struct in structs.items()
        for field, kind in struct.get("properties", {}).items()
    )


def _type(kind: dict[str, Any]) -> str:
    bare = {key: value for key, value in kind.items() if key != "default"}
    return bare["type"] if list(bare) == ["type"] else json.dumps(bare, sort_keys=True)


def test_what_is_stored_keeps_its_shape() -> None:
    """Red: a field that has gone or has another type needs a migration (``store/schema.py``), as the rows of
    older engines have it; one that is new needs a default, and its line in the record.
    """
    assert shapes() == RECORD.read_text().splitlines()
