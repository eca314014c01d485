"""From bytes to statements: directives, comments, continuation lines and heredocs.

Memory is bounded by the size of the file, which has a limit, as each line has; time grows with the size.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from onggi.dockerfile import words
from onggi.dockerfile.expansion import SPACE, Mode, expand
from onggi.dockerfile.failure import DockerfileError
from onggi.dockerfile.instructions import Heredoc
from onggi.errors import InvalidArgument

MAX_BYTES = 4 << 20
MAX_INSTRUCTIONS = 10_000
MAX_LINE = 65535  # docker's

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"[0-9]*<<(-?)[ \t\n\f\r]*([^<]+)")
_WITH_HEREDOCS = ("ADD", "COPY", "RUN")
# As written: only what stands between the words counts here.
_AS_WRITTEN = Mode(raw_quotes=True, raw_escapes=True, keep_unset=True)


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One instruction as it was split; ``json`` tells the exec form, ``nested`` is what ONBUILD holds.

    ``keyword`` is as written; the words of ENV and LABEL are rows of name, value and separator.
    """

    keyword: str
    text: str
    flags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    json: bool = False
    nested: Statement | None = None
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()
    first_line: int = 0
    last_line: int = 0


class Syntax(msgspec.Struct, frozen=True, kw_only=True):
    """A file as statements; ``empty_continuations`` are the last lines of those with empty lines inside."""

    statements: tuple[Statement, ...]
    lines: tuple[str, ...]
    directives: dict[str, str]
    empty_continuations: tuple[int, ...] = ()

    @property
    def escape(self) -> str:
        """The escape character."""
        return self.directives.get("escape", "\\")


def read(data: bytes) -> Syntax:
    """Split a Dockerfile; raises DockerfileError."""
    if not data:
        raise DockerfileError("the Dockerfile cannot be empty")
    if len(data) > MAX_BYTES:
        raise DockerfileError(f"dockerfile is larger than max allowed size of {MAX_BYTES}")
    reader = _Reader(data.removeprefix(b"\xef\xbb\xbf"))
    statements = reader.statements()
    if not statements:
        raise DockerfileError("file with no instructions")
    return Syntax(
        statements=tuple(statements),
        lines=tuple(line.decode("utf-8", "replace").rstrip("\r\n") for line in reader.lines),
        directives=reader.directives,
        empty_continuations=tuple(reader.empty_continuations),
    )


class _Reader:
    """Goes through the lines of a file once."""

    def __init__(self, data: bytes) -> None:
        self.lines = _lines(data)
        self.directives: dict[str, str] = {}
        self.empty_continuations: list[int] = []
        self._at = 0

    def statements(self) -> list[Statement]:
        self._read_directives()
        found: list[Statement] = []
        comments: list[str] = []
        while self._at < len(self.lines):
            if _is_comment(self.lines[self._at]):
                comments = self._comment(comments)
                continue
            first = self._at + 1
            text, continued = self._continuation(self._next().lstrip(SPACE))
            if text or continued:
                if len(found) == MAX_INSTRUCTIONS:
                    raise DockerfileError(f"more than {MAX_INSTRUCTIONS} instructions", first)
                found.append(self._statement(text, continued, first, comments))
            # An empty line separates a comment from what follows.
            comments = []
        return found

    def _comment(self, before: list[str]) -> list[str]:
        comment = self.lines[self._at].decode("utf-8", "replace").strip(SPACE)[1:].strip(SPACE)
        self._at += 1
        return [*before, comment] if comment else []

    def _next(self) -> str:
        """The next line without its end; raises DockerfileError for what is too long or no text."""
        return self._raw().rstrip("\r\n")

    def _raw(self) -> str:
        line = self.lines[self._at]
        self._at += 1
        if len(line.removesuffix(b"\n")) > MAX_LINE:
            raise DockerfileError(f"dockerfile line greater than max allowed size of {MAX_LINE}", self._at)
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise DockerfileError(f"invalid UTF-8 at byte {error.start + 1} of the line", self._at) from None
        if "\0" in text:
            raise DockerfileError("a NUL byte is not allowed", self._at)
        return text

    def _read_directives(self) -> None:
        """Comments ``# name=value`` before anything else."""
        for line in self.lines:
            match = _DIRECTIVE.fullmatch(line.decode("utf-8", "replace").strip(SPACE))
            name = match[1].lower() if match else ""
            if not match or name not in _DIRECTIVES:
                return
            self._at += 1
            if name in self.directives:
                raise DockerfileError(f"only one {name} parser directive can be used", self._at)
            if name == "escape" and match[2] not in ("\\", "`"):
                raise DockerfileError(f"invalid escape token '{match[2]}' does not match ` or \\", self._at)
            self.directives[name] = match[2]

    @property
    def _escape(self) -> str:
        return self.directives.get("escape", "\\")

    def _continuation(self, line: str) -> tuple[str, bool]:
        """The line without an escape at its end, and whether there was one; two of them are none."""
        stripped = line.rstrip(" \t")
        if stripped.endswith(self._escape) and not stripped.endswith(self._escape * 2):
            return stripped[:-1], True
        return line, False

    def _statement(self, text: str, continued: bool, first: int, comments: list[str]) -> Statement:
        pieces, empty = [text], False
        while continued and self._at < len(self.lines):
            if _is_comment(self.lines[self._at]):
                self._at += 1
                continue
            line = self._next()
            if not line.strip(SPACE):
                empty = True
                continue
            text, continued = self._continuation(line)
            pieces.append(text)
        if empty:
            self.empty_continuations.append(self._at)
        try:
            statement = split("".join(pieces), self._escape)
            heredocs = self._heredocs(statement)
        except DockerfileError:
            raise
        except InvalidArgument as error:
            raise DockerfileError(str(error), first, self._at) from None
        return msgspec.structs.replace(
            statement,
            heredocs=tuple(heredocs),
            comments=tuple(comments),
            first_line=first,
            last_line=self._at,
        )

    def _heredocs(self, statement: Statement) -> list[Heredoc]:
        inner = statement.nested or statement
        if inner.json or inner.keyword.upper() not in _WITH_HEREDOCS or "<<" not in statement.text:
            return []
        return [self._filled(heredoc) for heredoc in _announced(statement.text)]

    def _filled(self, heredoc: Heredoc) -> Heredoc:
        """The heredoc with its content, which ends at the line that is its name."""
        first = self._at
        content: list[str] = []
        while self._at < len(self.lines):
            line = self._raw()
            end = line.rstrip("\r\n")
            if (end.lstrip("\t") if heredoc.strip_tabs else end) == heredoc.name:
                return msgspec.structs.replace(heredoc, content="".join(content))
            content.append(line)
        raise DockerfileError(f"unterminated heredoc (no line {heredoc.name!r})", first, self._at)


def _lines(data: bytes) -> list[bytes]:
    """Lines with their ends; only a newline ends one."""
    *ended, last = data.split(b"\n")
    lines = [line + b"\n" for line in ended]
    return [*lines, last] if last else lines


def _is_comment(line: bytes) -> bool:
    return line.lstrip(b" \t\r\n\v\f").startswith(b"#")


def split(text: str, escape: str) -> Statement:
    """Split the text of one instruction; raises InvalidArgument."""
    keyword, flags, rest = words.split_keyword(text, escape)
    statement = Statement(keyword=keyword, text=text, flags=flags)
    if keyword.upper() == "ONBUILD":
        return msgspec.structs.replace(statement, nested=_nested(rest, escape))
    splitter = _SPLITTERS.get(keyword.upper())
    if splitter is None:
        return statement
    found, is_json = splitter(rest, escape)
    return msgspec.structs.replace(statement, words=found, json=is_json)


def _nested(text: str, escape: str) -> Statement | None:
    if not text:
        return None
    keyword = words.split_keyword(text, escape)[0]
    # One within another is refused later; a thousand of them must not fill the stack here.
    return Statement(keyword=keyword, text=text) if keyword.upper() == "ONBUILD" else split(text, escape)


_Split = tuple[tuple[str, ...], bool]
_Splitter = Callable[[str, str], _Split]


def _text(rest: str, escape: str) -> _Split:
    return ((rest,) if rest else ()), False


def _spaces(rest: str, escape: str) -> _Split:
    return words.split_spaces(rest), False


def _json_or(other: _Splitter) -> _Splitter:
    """The exec form, or what ``other`` makes of what is none."""

    def split(rest: str, escape: str) -> _Split:
        array = words.split_json(rest)
        return (array, True) if array is not None else other(rest, escape)

    return split


_json_or_text, _json_or_spaces = _json_or(_text), _json_or(_spaces)


def _health(rest: str, escape: str) -> _Split:
    kind, command = (*rest.split(maxsplit=1), "", "")[:2]
    found, is_json = _json_or_text(command, escape)
    return ((kind, *found) if kind else ()), is_json


def _definitions(rest: str, escape: str) -> _Split:
    return tuple(words.split_words(rest, escape)), False


def _assignments(instruction: str) -> _Splitter:
    return lambda rest, escape: (words.split_assignments(rest, instruction, escape), False)


_SPLITTERS: dict[str, _Splitter] = {
    "ADD": _json_or_spaces,
    "ARG": _definitions,
    "CMD": _json_or_text,
    "COPY": _json_or_spaces,
    "ENTRYPOINT": _json_or_text,
    "ENV": _assignments("ENV"),
    "EXPOSE": _spaces,
    "FROM": _spaces,
    "HEALTHCHECK": _health,
    "LABEL": _assignments("LABEL"),
    "MAINTAINER": _text,
    "RUN": _json_or_text,
    "SHELL": _json_or_text,
    "STOPSIGNAL": _text,
    "USER": _text,
    "VOLUME": _json_or_spaces,
    "WORKDIR": _text,
}
KEYWORDS = (*_SPLITTERS, "ONBUILD")


def _announced(text: str) -> list[Heredoc]:
    """The heredocs that a line announces, empty as yet."""
    try:
        candidates = expand(text, {}, mode=_AS_WRITTEN).words
    except InvalidArgument:
        # An open quote is the shell's to complain about.
        return []
    return [heredoc for word in candidates if (heredoc := heredoc_of(word))]


def heredoc_of(word: str) -> Heredoc | None:
    """The heredoc that a word like ``<<-"EOF"`` announces, None for another word; raises InvalidArgument."""
    match = _HEREDOC.fullmatch(word)
    if not match:
        return None
    dash, rest = match.groups()
    plain = expand(rest, {}, mode=Mode(keep_unset=True)).words
    if len(plain) != 1:
        return None
    raw = expand(rest, {}, mode=Mode(raw_quotes=True, keep_unset=True)).words
    quoted = raw != plain
    return Heredoc(plain[0], expand=not quoted, strip_tabs=bool(dash))
