"""The instructions of a Dockerfile as typed records, with the lines they came from.

Words are as written: variables are still in them (`expand` replaces them), and nothing was looked up.
Durations are nanoseconds, as in an image's configuration. Lines count from 1, both ends of a range included.
"""

from __future__ import annotations

import msgspec


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """What every instruction has; ``text`` has its continuation lines joined and holds no heredoc bodies.

    ``keyword`` is as written; ``comments`` are the lines of the comment right above.
    """

    first_line: int
    last_line: int
    text: str
    keyword: str
    comments: tuple[str, ...] = ()


class Heredoc(msgspec.Struct, frozen=True):
    """A document written after its instruction, up to the line that is ``name``.

    ``expand`` is false if any part of the name was quoted; ``strip_tabs`` is the dash of ``<<-``; ``content``
    keeps its leading tabs: `body` is what a file gets.
    """

    name: str
    content: str = ""
    expand: bool = True
    strip_tabs: bool = False

    @property
    def body(self) -> str:
        """The content, without leading tabs where the dash asks for that."""
        if not self.strip_tabs:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


class CommandLine(msgspec.Struct, frozen=True):
    """What to execute: the words of an exec form, or one text for the stage's shell (``shell``)."""

    words: tuple[str, ...] = ()
    shell: bool = True


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One ``--mount`` of RUN, after expansion; ``identity`` is the option ``id``.

    ``kind`` is bind, cache, tmpfs, secret or ssh; ``sharing`` shared, private, locked or empty; an ``env`` of
    "" means the default name; ``size`` is in bytes, 0 for no limit.
    """

    kind: str = "bind"
    origin: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = True
    size: int = 0
    identity: str = ""
    sharing: str = ""
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class Pair(msgspec.Struct, frozen=True):
    """A name and its value; ``legacy`` is the form without an equals sign."""

    name: str
    value: str
    legacy: bool = False


class Variable(msgspec.Struct, frozen=True):
    """One name of an ARG; ``default`` is None where none was written."""

    name: str
    default: str | None = None


class From(Instruction, frozen=True, kw_only=True):
    """Begins a stage; ``name`` is in lower case, "" without AS."""

    base: str
    name: str = ""
    platform: str = ""


class Run(Instruction, frozen=True, kw_only=True):
    """``mount_options`` are the values of --mount as written; ``mounts`` is empty until `expand`."""

    command: CommandLine
    heredocs: tuple[Heredoc, ...] = ()
    mount_options: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    security: str = "sandbox"


class Transfer(Instruction, frozen=True, kw_only=True):
    """What COPY and ADD share; ``files`` are sources written as heredocs, named like these."""

    sources: tuple[str, ...]
    destination: str
    files: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()


class Copy(Transfer, frozen=True, kw_only=True):
    """``origin`` is --from: a stage's name or number, an image, or a named context."""

    origin: str = ""
    parents: bool = False


class Add(Transfer, frozen=True, kw_only=True):
    """``unpack`` and ``keep_git_dir`` are None where the flag was not given."""

    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


class Env(Instruction, frozen=True, kw_only=True):
    """Variables for the steps that follow and for the containers."""

    pairs: tuple[Pair, ...]


class Label(Instruction, frozen=True, kw_only=True):
    """Labels of the image."""

    pairs: tuple[Pair, ...]


class Arg(Instruction, frozen=True, kw_only=True):
    """Variables that --build-arg may set."""

    variables: tuple[Variable, ...]


class Workdir(Instruction, frozen=True, kw_only=True):
    """The directory of what follows, relative to the one before."""

    path: str


class User(Instruction, frozen=True, kw_only=True):
    """Who runs what follows: ``user[:group]``."""

    user: str


class Expose(Instruction, frozen=True, kw_only=True):
    """``ports`` are sorted as text, each ``port[-port][/protocol]``."""

    ports: tuple[str, ...]


class Volume(Instruction, frozen=True, kw_only=True):
    """Paths that a container gets as volumes."""

    paths: tuple[str, ...]


class Cmd(Instruction, frozen=True, kw_only=True):
    """The default command, or the default arguments of the entrypoint."""

    command: CommandLine


class Entrypoint(Instruction, frozen=True, kw_only=True):
    """The program of the containers."""

    command: CommandLine


class Healthcheck(Instruction, frozen=True, kw_only=True):
    """``test`` begins with NONE, CMD or CMD-SHELL; a duration of 0 and no retries mean "as inherited"."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Shell(Instruction, frozen=True, kw_only=True):
    """The words before every command in shell form."""

    words: tuple[str, ...]


class Stopsignal(Instruction, frozen=True, kw_only=True):
    """The signal that asks a container to end."""

    signal: str


class Onbuild(Instruction, frozen=True, kw_only=True):
    """``trigger`` is the instruction for the images built on this one, as its configuration keeps it."""

    trigger: str


class Maintainer(Instruction, frozen=True, kw_only=True):
    """The author of the image (deprecated)."""

    name: str


class Stage(msgspec.Struct, frozen=True):
    """A FROM and all that follows up to the next one."""

    origin: From
    instructions: tuple[Instruction, ...] = ()


class Dockerfile(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file: the ARGs before the first FROM, and at least one stage.

    ``escape`` is the escape character; ``check`` is the value of that directive.
    """

    stages: tuple[Stage, ...]
    args: tuple[Arg, ...] = ()
    escape: str = "\\"
    check: str = ""
    empty_continuations: tuple[int, ...] = ()
    name: str = "Dockerfile"
    lines: tuple[str, ...] = ()
