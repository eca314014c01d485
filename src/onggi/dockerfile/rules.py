"""The rules of docker's build checks by name, and what a file or a comment says about which of them count."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from onggi.dockerfile.failure import hint
from onggi.errors import InvalidArgument

_PAGES = "https://docs.docker.com/go/dockerfile/rule/"
_CHECK = re.compile(r"check\s*=\s*(\S+).*")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
EXPERIMENTAL = frozenset({"InvalidDefinitionDescription"})


def page(rule: str) -> str:
    """Where docker explains a rule."""
    return f"{_PAGES}{_CAPITAL.sub('-', rule).lower()}/"


class Choice(msgspec.Struct, frozen=True):
    """Which rules count: all but the skipped ones, of the experimental ones those that are named.

    ``all`` in a set stands for every rule; ``fatal`` makes a finding end the build.
    """

    skipped: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    fatal: bool = False

    def counts(self, rule: str) -> bool:
        """Whether a rule counts."""
        if rule in EXPERIMENTAL:
            return bool({rule, "all"} & self.experimental)
        return not {rule, "all"} & self.skipped

    def at(self, comments: Sequence[str]) -> Choice:
        """What counts for an instruction below a comment ``# check=…``."""
        for comment in comments:
            if match := _CHECK.fullmatch(comment):
                try:
                    own = choice(match[1])
                except InvalidArgument:
                    return self
                return Choice(self.skipped | own.skipped, self.experimental | own.experimental, self.fatal)
        return self


def choice(text: str) -> Choice:
    """Parse ``skip=A,B;experimental=C;error=true``. Raises InvalidArgument."""
    options: dict[str, str] = {}
    for part in text.strip().split(";", 2) if text.strip() else ():
        name, equals, value = part.partition("=")
        if not equals or name.strip() not in ("skip", "experimental", "error"):
            wrong = name.strip() if equals else part
            raise InvalidArgument(
                f'invalid check option "{wrong}"{hint(wrong, ("skip", "experimental", "error"))}'
            )
        options[name.strip()] = value.strip()
    fatal = options.get("error", "false").lower()
    if fatal not in ("true", "false", "1", "0", "t", "f"):
        raise InvalidArgument(f'failed to parse check option "error={options["error"]}"')
    return Choice(_names(options.get("skip", "")), _names(options.get("experimental", "")), fatal[0] in "t1")


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())
