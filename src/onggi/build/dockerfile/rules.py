"""The rules of docker's build checks by name, and what a file or a comment says about which of them count."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from onggi.build.dockerfile.failure import hint
from onggi.errors import InvalidArgument

_PAGES = "https://docs.docker.com/go/dockerfile/rule/"
_CHECK = re.compile(r"check\s*=\s*(\S+).*")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
EXPERIMENTAL = frozenset({"InvalidDefinitionDescription"})

DESCRIPTIONS = {
    "StageNameCasing": "Stage names should be lowercase",
    "FromAsCasing": "The 'as' keyword should match the case of the 'from' keyword",
    "NoEmptyContinuation": "Empty continuation lines will become errors in a future release",
    "ConsistentInstructionCasing": (
        "All commands within the Dockerfile should use the same casing (either upper or lower)"
    ),
    "DuplicateStageName": "Stage names should be unique",
    "ReservedStageName": "Reserved words should not be used as stage names",
    "JSONArgsRecommended": (
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals"
    ),
    "MaintainerDeprecated": (
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author"
    ),
    "UndefinedArgInFrom": "FROM command must use declared ARGs",
    "WorkdirRelativePath": (
        "Relative workdir without an absolute workdir declared within the build can have unexpected results "
        "if the base image changes"
    ),
    "UndefinedVar": "Variables should be defined before their use",
    "MultipleInstructionsDisallowed": (
        "Multiple instructions of the same type should not be used in the same stage"
    ),
    "LegacyKeyValueFormat": "Legacy key/value format with whitespace separator should not be used",
    "RedundantTargetPlatform": (
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"
    ),
    "SecretsUsedInArgOrEnv": "Sensitive data should not be used in the ARG or ENV commands",
    "InvalidDefaultArgInFrom": (
        "Default value for global ARG results in an empty or invalid base image name"
    ),
    "FromPlatformFlagConstDisallowed": "FROM --platform flag should not use a constant value",
    "CopyIgnoredFile": "Attempting to Copy file that is excluded by .dockerignore",
    "InvalidDefinitionDescription": (
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. "
        "If this is not intended to be a description comment, add an empty line or comment between the "
        "instruction and the comment."
    ),
    "ExposeProtoCasing": "Protocol in EXPOSE instruction should be lowercase",
    "ExposeInvalidFormat": (
        "IP address and host-port mapping should not be used in EXPOSE instruction. "
        "This will become an error in a future release"
    ),
}


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
