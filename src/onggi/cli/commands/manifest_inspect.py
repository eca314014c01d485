"""``onggi manifest inspect``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.image_name import typed_reference
from onggi.cli.registry_auth import privileged
from onggi.client.codec import decode, indent
from onggi.client.engine import quote
from onggi.client.errors import ClientError, EngineError
from onggi.oci.media import DOCKER_LIST, INDEXES, OCI_INDEX, OCI_MANIFEST
from onggi.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_ABSENT = (401, 403, 404)
_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant", "features")


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Print the manifest of an image in a registry, or its list of manifests."""
    if len(arguments) > 1:
        raise Failure("manifest lists that are kept locally are not supported by this build", 125)
    reference = typed_reference(arguments[0]).with_default_tag()
    if options.on("insecure") and not _is_loopback(reference.domain):
        where = f"name {reference.domain} in 'insecure-registries' of its daemon.json"
        raise Failure(f"--insecure is not supported: the engine asks the registry; {where}", 125)
    verbose = options.on("verbose")
    found = _ask(cli, reference, f"/onggi/v1/manifests/{_path(reference)}", {"every": verbose or None})
    if found["Descriptor"]["mediaType"] in INDEXES:
        cli.out(_verbose_list(reference, found) if verbose else _list(decode(found["Document"])))
    else:
        cli.out(_verbose(cli, reference, found) if verbose else indent(decode(found["Document"]), "\t"))


def _path(reference: Reference) -> str:
    return quote(str(reference), b"/:@")


def _is_loopback(domain: str) -> bool:
    host = domain.rpartition(":")[0] if domain.rpartition(":")[2].isdigit() else domain
    return host == "localhost" or host.startswith("127.") or host == "[::1]"


def _ask(cli: Cli, reference: Reference, path: str, query: dict[str, Json] | None = None) -> Json:
    try:
        return decode(
            privileged(
                cli,
                reference.domain,
                "manifest inspect",
                lambda headers: cli.engine.request("GET", path, query, headers=headers).read(),
            )
        )
    except EngineError as error:
        if error.route_missing:
            raise ClientError("manifest inspect is not supported by this engine") from None
        if error.status in _ABSENT:
            raise ClientError(f"no such manifest: {reference}") from None
        raise


def _list(document: Json) -> str:
    """Return a list as docker prints it: what its format knows, in its order."""
    entries = document.get("manifests") or []
    first = entries[0].get("mediaType") if entries else ""
    media_type = OCI_INDEX if first == OCI_MANIFEST else DOCKER_LIST
    shown = [
        {
            **{key: entry[key] for key in ("mediaType", "size", "digest") if key in entry},
            "platform": _platform(entry.get("platform") or {}),
        }
        for entry in entries
    ]
    return indent({"schemaVersion": 2, "mediaType": media_type, "manifests": shown}, "   ")


def _platform(platform: Json) -> Json:
    shown = {key: platform[key] for key in _PLATFORM if platform.get(key)}
    return {"architecture": "", "os": "", **shown}


def _verbose(cli: Cli, reference: Reference, found: Json) -> str:
    facts = _ask(cli, reference, f"/distribution/{_path(reference)}/json")
    platforms = facts.get("Platforms") or [{}]
    return indent(_facts(str(reference), found, _platform(platforms[0])), "\t")


def _verbose_list(reference: Reference, found: Json) -> str:
    items = []
    for entry in found["Manifests"]:
        descriptor = entry["Descriptor"]
        name = Reference(reference.domain, reference.path, reference.tag, descriptor["digest"])
        items.append(_facts(str(name), entry, _platform(descriptor.get("platform") or {})))
    return indent(items, "\t")


def _facts(name: str, entry: Json, platform: Json) -> Json:
    from binascii import b2a_base64

    descriptor, text = entry["Descriptor"], entry["Document"]
    kind = "OCIManifest" if descriptor["mediaType"] == OCI_MANIFEST else "SchemaV2Manifest"
    keys = ("mediaType", "digest", "size")
    return {
        "Ref": name,
        "Descriptor": {**{key: descriptor[key] for key in keys}, "platform": platform},
        "Raw": b2a_base64(text.encode(), newline=False).decode(),
        kind: decode(text),
    }


COMMAND = Command(
    "manifest inspect [OPTIONS] MANIFEST",
    run,
    about="Show the manifest of an image in a registry, or its list of manifests",
    flags=(
        ("insecure", "", "bool", "", "Allow a registry without TLS (loopback only)"),
        ("verbose", "v", "bool", "", "Show platforms and all manifests of a list"),
    ),
    arguments=(1, 2),
)
