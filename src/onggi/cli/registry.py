"""Which commands there are: a table; imports nothing.

``ROWS``: full name, place below ``commands`` (empty: a group), about, heading in help (empty: only within
its group). A place is ``module``, or ``module:NAME`` where a module has several commands. An empty about is
that of the first row of the place. Names of later rooms are refused by name.
"""

from __future__ import annotations

COMMON, MANAGEMENT, PLAIN, OWN = "Common Commands", "Management Commands", "Commands", "Onggi Commands"

_ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("run", "run", "Create and run a container", COMMON),
    ("exec", "exec_", "Run a command in a running container", COMMON),
    ("ps", "ps", "List containers", COMMON),
    ("build", "build", "Build an image from a Dockerfile", COMMON),
    ("pull", "pull", "Download an image", COMMON),
    ("push", "push", "Upload an image", COMMON),
    ("images", "images", "List images", COMMON),
    ("login", "login", "Log in to a registry", COMMON),
    ("logout", "logout", "Log out of a registry", COMMON),
    ("search", "search", "Search Docker Hub for images", COMMON),
    ("version", "version", "Show versions", COMMON),
    ("info", "info", "Show facts about the engine and the machine", COMMON),
    ("try", "try_", "Show on this machine what a container is", OWN),
    ("doctor", "doctor", "Say what this machine can and cannot do, and the remedy", OWN),
    ("daemon", "daemon", "Serve as an engine in the foreground", OWN),
    ("builder", "", "Manage builds", MANAGEMENT),
    ("container", "", "Manage containers", MANAGEMENT),
    ("context", "", "Manage contexts: named engines", MANAGEMENT),
    ("image", "", "Manage images", MANAGEMENT),
    ("manifest", "", "Look into registries", MANAGEMENT),
    ("network", "", "Manage networks", MANAGEMENT),
    ("registry", "", "Serve images to others", MANAGEMENT),
    ("system", "", "Manage the engine", MANAGEMENT),
    ("volume", "", "Manage volumes", MANAGEMENT),
    ("attach", "attach", "Connect to the streams of a running container", PLAIN),
    ("commit", "commit", "Make an image of what a container changed", PLAIN),
    ("completion", "completion", "Print the completion script of a shell", PLAIN),
    ("cp", "cp", "Copy files between a container and this machine", PLAIN),
    ("create", "create", "Create a container", PLAIN),
    ("diff", "diff", "Show what a container changed in its file system", PLAIN),
    ("events", "events", "Show what happens in the engine, as it happens", PLAIN),
    ("export", "export", "Write the file system of a container to a tar archive", PLAIN),
    ("history", "history", "Show the layers of an image", PLAIN),
    ("import", "import_", "Make an image from a tar archive of a file system", PLAIN),
    ("inspect", "inspect", "Show all facts about containers and images", PLAIN),
    ("kill", "lifecycle:KILL", "Kill running containers", PLAIN),
    ("load", "load", "Read images from a tar archive", PLAIN),
    ("logs", "logs", "Show the output of a container", PLAIN),
    ("pause", "lifecycle:PAUSE", "Freeze all processes of containers", PLAIN),
    ("port", "port", "List the published ports of a container", PLAIN),
    ("rename", "rename", "Give a container another name", PLAIN),
    ("restart", "lifecycle:RESTART", "Stop and start containers", PLAIN),
    ("rm", "rm", "Remove containers", PLAIN),
    ("rmi", "rmi", "Remove images", PLAIN),
    ("save", "save", "Write images to a tar archive", PLAIN),
    ("start", "start", "Start stopped containers", PLAIN),
    ("stats", "stats", "Show what containers use", PLAIN),
    ("stop", "lifecycle:STOP", "Stop running containers", PLAIN),
    ("tag", "tag", "Give an image another name", PLAIN),
    ("top", "top", "Show the processes of a container", PLAIN),
    ("unpause", "lifecycle:UNPAUSE", "Thaw all processes of containers", PLAIN),
    ("update", "update", "Change the limits of containers", PLAIN),
    ("wait", "wait", "Wait for containers to stop and print their exit codes", PLAIN),
    ("__complete", "complete", "-", ""),
    ("builder df", "builder_df", "Show what builds keep to be fast again", ""),
    ("builder prune", "prune:BUILDER", "Remove what builds keep to be fast again", ""),
    ("container inspect", "inspect:CONTAINER", "Show all facts about containers", ""),
    ("container ls", "ps", "", ""),
    ("container list", "ps", "-", ""),
    ("container ps", "ps", "-", ""),
    ("container prune", "prune:CONTAINER", "Remove all stopped containers", ""),
    ("container rm", "rm", "", ""),
    ("container remove", "rm", "-", ""),
    ("context create", "context:CREATE", "Create a context", ""),
    ("context export", "context_archive:EXPORT", "Write a context to a tar archive", ""),
    ("context import", "context_archive:IMPORT", "Keep a context from an archive", ""),
    ("context inspect", "context:INSPECT", "Show all facts about contexts", ""),
    ("context ls", "context:LS", "List contexts", ""),
    ("context list", "context:LS", "-", ""),
    ("context rm", "context:RM", "Remove contexts", ""),
    ("context remove", "context:RM", "-", ""),
    ("context show", "context:SHOW", "Print the name of the current context", ""),
    ("context update", "context:UPDATE", "Change a context", ""),
    ("context use", "context:USE", "Use a context from now on", ""),
    ("image inspect", "inspect:IMAGE", "Show all facts about images", ""),
    ("image ls", "images", "", ""),
    ("image list", "images", "-", ""),
    ("image prune", "prune:IMAGE", "Remove unused images", ""),
    ("image rm", "rmi", "", ""),
    ("image remove", "rmi", "-", ""),
    ("image rmi", "rmi", "-", ""),
    ("manifest inspect", "manifest_inspect", "Show the manifest of an image in a registry", ""),
    ("registry serve", "registry_serve", "Serve the images of this engine as a registry", ""),
    ("network connect", "network:CONNECT", "Connect a container to a network", ""),
    ("network create", "network:CREATE", "Create a network", ""),
    ("network disconnect", "network:DISCONNECT", "Take a container off a network", ""),
    ("network inspect", "inspect:NETWORK", "Show all facts about networks", ""),
    ("network ls", "network:LS", "List networks", ""),
    ("network list", "network:LS", "-", ""),
    ("network prune", "prune:NETWORK", "Remove unused networks", ""),
    ("network rm", "network:RM", "Remove networks that no container is connected to", ""),
    ("network remove", "network:RM", "-", ""),
    ("volume create", "volume:CREATE", "Create a volume", ""),
    ("volume export", "volume:EXPORT", "Write the content of a volume to a tar archive", ""),
    ("volume import", "volume:IMPORT", "Unpack a tar archive into a volume", ""),
    ("volume inspect", "inspect:VOLUME", "Show all facts about volumes", ""),
    ("volume ls", "volume:LS", "List volumes", ""),
    ("volume list", "volume:LS", "-", ""),
    ("volume prune", "prune:VOLUME", "Remove unused volumes", ""),
    ("volume rm", "volume:RM", "Remove volumes that no container uses, with their content", ""),
    ("volume remove", "volume:RM", "-", ""),
    ("volume update", "volume:UPDATE", "Refused: only volumes of a swarm can be changed", ""),
    ("system dial-stdio", "system_dial_stdio", "-", ""),
    ("system df", "system_df", "Show what takes space on the disk", ""),
    ("system fsck", "system_fsck", "Verify digests, rows and files of everything that is kept", ""),
    ("system prune", "prune:SYSTEM", "Remove what nothing uses", ""),
)
# Commands that stand in a group too, by the same name.
_ALSO = {
    "builder": ("build",),
    "container": (
        "attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause", "port",
        "rename", "restart", "run", "start", "stats", "stop", "top", "unpause", "update", "wait",
    ),
    "image": ("build", "history", "import", "load", "pull", "push", "save", "tag"),
    "system": ("events", "info"),
}  # fmt: skip
# Where help does not have all names of a command, or those without a group last.
_SHOWN = {
    "build": ("image build", "build", "builder build"),
    "rmi": ("image rm", "image remove", "rmi"),
}
_PLACES = {row[0]: row[1] for row in _ROWS}
ROWS = _ROWS + tuple((f"{group} {name}", _PLACES[name], "", "") for group in _ALSO for name in _ALSO[group])
LATER = (
    "buildx", "checkpoint", "compose", "config", "node", "plugin", "secret", "service", "stack", "swarm",
    "trust", "manifest_annotate", "manifest_create", "manifest_push", "manifest_rm",
)  # fmt: skip


def find(words: list[str]) -> tuple[str, str, int]:
    """Return (full name, place, words used) of the command that ``words`` begin with, or "", "", 0."""
    for count in (2, 1):
        name = " ".join(words[:count])
        for row in ROWS if len(words) >= count else ():
            if row[0] == name:
                return row[0], row[1], count
    return "", "", 0


def about(name: str) -> str:
    """Return the line that lists show for a command; "-" for a second name that they do not show."""
    return next(row[2] for row in ROWS if row[0] == name) or title(name)


def title(name: str) -> str:
    """Return what a command does, whichever of its names this is."""
    place = next(row[1] for row in ROWS if row[0] == name)
    return next(row[2] for row in ROWS if row[1] == place)


def aliases(name: str) -> tuple[str, ...]:
    """Return the names of a command as help has them, those in groups first; none where it has one alone."""
    place = next((row[1] for row in ROWS if row[0] == name), "")
    names = [row[0] for row in ROWS if place and row[1] == place]
    ordered = sorted(names, key=lambda each: " " not in each) if len(names) > 1 else []
    return _SHOWN.get(place, tuple(ordered))


def members(group: str) -> list[tuple[str, str]]:
    """Return (name, about) of the commands of a group, in order."""
    names = [row[0] for row in ROWS if row[0].startswith(group + " ")]
    return sorted((name.split()[1], about(name)) for name in names if about(name) != "-")
