"""``onggi system fsck``: verify what the engine keeps, and repair it."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print each finding with what a repair does; 1 if something is wrong and stays so."""
    body = {"Repair": options.on("repair"), "Deep": options.on("deep")}
    response = cli.engine.request("POST", "/onggi/v1/fsck", body=body)
    counts: Json = None
    for message in cli.engine.messages(response):
        if "Finding" in message:
            cli.out(line(message["Finding"]))
        counts = message.get("Checked", counts)
    if counts is None:
        cli.err("the engine ended before the check did")
        return 1
    cli.out(summary(counts))
    return 1 if counts["Findings"] > counts["Repaired"] else 0


def line(finding: Json) -> str:
    """Return a finding as a line. Pure."""
    told = f"{finding['Object']}: {finding['Problem']}"
    if finding["Repaired"]:
        return f"{told}; repaired: {finding['Remedy']}"
    return f"{told}; with --repair: {finding['Remedy']}" if finding["Remedy"] else told


def summary(counts: Json) -> str:
    """Return what was looked at, and what was found. Pure."""
    looked = f"checked {counts['Blobs']} blobs ({human_size(counts['Bytes'])}) and {counts['Layers']} layers"
    problems = "1 problem" if counts["Findings"] == 1 else f"{counts['Findings']} problems"
    repaired = f", {counts['Repaired']} repaired" if counts["Repaired"] else ""
    return f"{looked}: {problems}{repaired}"


COMMAND = Command(
    "system fsck [OPTIONS]",
    run,
    flags=(
        ("deep", "", "bool", "", "Compare every unpacked layer with its archive, file by file"),
        ("repair", "", "bool", "", "Mend what is found: each finding says how"),
    ),
)
