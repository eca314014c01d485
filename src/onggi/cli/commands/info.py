"""``onggi info``."""

from __future__ import annotations

from onggi.cli.command import FORMAT, Cli, Command, Failure, Options
from onggi.cli.context_values import current
from onggi.cli.times import binary_size
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from onggi.client.codec import Json


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print facts about the engine and the machine."""
    from onggi.version import VERSION

    context = current(cli)
    client = {
        "Debug": cli.options.on("debug"),
        "Context": context,
        "Version": VERSION,
        "Plugins": [],
        "Warnings": None,
    }
    info, failure = {}, ""
    try:
        info = cli.engine.get("/info")
    except ClientError as error:
        failure = str(error)
    if options.text("format"):
        _formatted(cli, options.text("format"), info, client, [failure] if failure else [])
        return 1 if failure else 0
    debug = str(client["Debug"]).lower()
    cli.out(f"Client:\n Version:    {VERSION}\n Context:    {context}\n Debug Mode: {debug}\n\nServer:")
    if failure:
        raise Failure(failure)
    for line in _lines(info):
        cli.out(line)
    cli.out("")
    for warning in info.get("Warnings") or []:
        cli.err(warning)
    return 0


def _formatted(cli: Cli, form: str, info: Json, client: Json, failures: list[str]) -> None:
    from onggi.cli.format import print_facts
    from onggi.cli.template.gotypes import Fields

    names = {"CPUCfsPeriod": "CpuCfsPeriod", "CPUCfsQuota": "CpuCfsQuota"}
    own = {"ClientInfo": Fields(client, {}, go_type="*system.clientInfo"), "ServerErrors": failures}
    print_facts(cli, form, Fields({**info, **own}, names, go_type="system.dockerInfo"))


def _lines(info: Json) -> Iterator[str]:
    yield from _counts(info)
    yield from _plugins(info)
    yield from _runtimes(info)
    yield from _machine(info)


def _counts(info: Json) -> Iterator[str]:
    yield f" Containers: {info.get('Containers', 0)}"
    for state in ("Running", "Paused", "Stopped"):
        yield f"  {state}: {info.get('Containers' + state, 0)}"
    yield f" Images: {info.get('Images', 0)}"
    yield from _present(info, (("ServerVersion", "Server Version"), ("Driver", "Storage Driver")))
    for name, value in info.get("DriverStatus") or []:
        yield f"  {name}: {value}"
    names = (
        ("LoggingDriver", "Logging Driver"),
        ("CgroupDriver", "Cgroup Driver"),
        ("CgroupVersion", "Cgroup Version"),
    )
    yield from _present(info, names)


def _present(info: Json, names: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for name, label in names:
        if info.get(name):
            yield f" {label}: {info[name]}"


def _plugins(info: Json) -> Iterator[str]:
    plugins = info.get("Plugins") or {}
    yield " Plugins:"
    for kind in ("Volume", "Network", "Authorization", "Log"):
        if kind != "Authorization" or plugins.get(kind):
            yield f"  {kind}: {' '.join(plugins.get(kind) or [])}"
    yield f" Swarm: {(info.get('Swarm') or {}).get('LocalNodeState', '')}"


def _runtimes(info: Json) -> Iterator[str]:
    if info.get("Runtimes"):
        yield f" Runtimes: {' '.join(info['Runtimes'])}"
        yield f" Default Runtime: {info.get('DefaultRuntime', '')}"
    if info.get("OSType") != "linux":
        return
    yield f" Init Binary: {info.get('InitBinary', '')}"
    for name, label in (("ContainerdCommit", "containerd"), ("RuncCommit", "runc"), ("InitCommit", "init")):
        yield f" {label} version: {(info.get(name) or {}).get('ID', '')}"
    options = info.get("SecurityOptions") or []
    if options:
        yield " Security Options:"
    for option in options:
        pairs = dict(part.partition("=")[::2] for part in option.split(","))
        yield f"  {pairs.get('name', option)}"
        if "profile" in pairs:
            yield f"   Profile: {pairs['profile']}"


def _machine(info: Json) -> Iterator[str]:
    names = (
        ("KernelVersion", "Kernel Version"),
        ("OperatingSystem", "Operating System"),
        ("OSType", "OSType"),
    )
    yield from _present(info, (*names, ("Architecture", "Architecture")))
    yield f" CPUs: {info.get('NCPU', 0)}"
    yield f" Total Memory: {binary_size(info.get('MemTotal') or 0)}"
    yield from _present(info, (("Name", "Name"), ("ID", "ID")))
    yield f" Docker Root Dir: {info.get('DockerRootDir', '')}"
    yield f" Debug Mode: {str(bool(info.get('Debug'))).lower()}"
    proxies = (("HttpProxy", "HTTP Proxy"), ("HttpsProxy", "HTTPS Proxy"), ("NoProxy", "No Proxy"))
    yield from _present(info, proxies)
    if info.get("Labels"):
        yield " Labels:"
        yield from (f"  {label}" for label in info["Labels"])
    yield f" Experimental: {str(bool(info.get('ExperimentalBuild'))).lower()}"
    yield from _registries(info.get("RegistryConfig") or {})
    yield f" Live Restore Enabled: {str(bool(info.get('LiveRestoreEnabled'))).lower()}"


def _registries(config: Json) -> Iterator[str]:
    indexes = sorted((config.get("IndexConfigs") or {}).items())
    insecure = [name for name, index in indexes if not index.get("Secure")]
    insecure += config.get("InsecureRegistryCIDRs") or []
    mirrors = config.get("Mirrors") or []
    for title, names in (("Insecure Registries", insecure), ("Registry Mirrors", mirrors)):
        if names:
            yield f" {title}:"
            yield from (f"  {name}" for name in names)


COMMAND = Command(
    "info [OPTIONS]",
    run,
    flags=(FORMAT,),
)
