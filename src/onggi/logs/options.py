"""Log drivers and their options: what is allowed, what it means. Pure; the words are docker's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from onggi import quantities
from onggi.errors import InvalidArgument, Unsupported
from onggi.logs import sending
from onggi.logs.sending import SENDING

DRIVERS = ("json-file", "local", "none", *SENDING)
_LATER = frozenset(("gelf", "fluentd", "awslogs", "splunk", "etwlogs", "gcplogs"))
_ROTATION = frozenset(("max-size", "max-file", "compress"))
_ATTRIBUTES = frozenset(("labels", "labels-regex", "env", "env-regex", "tag"))
_GENERAL = frozenset(("mode", "max-buffer-size"))
_CACHE = frozenset(("cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"))
_KNOWN = {
    "json-file": _ROTATION | _GENERAL | _ATTRIBUTES,
    "local": _ROTATION | _GENERAL,
    "journald": _GENERAL | _ATTRIBUTES | _CACHE,
    "syslog": _GENERAL
    | _ATTRIBUTES
    | _CACHE
    | {"syslog-address", "syslog-facility", "syslog-format"}
    | {f"syslog-tls-{name}" for name in ("ca-cert", "cert", "key", "skip-verify")},
}
_DEFAULT_SIZE, _DEFAULT_FILES = 10_000_000, 3
_BUFFER = 10**6
_TAG_FIELD = re.compile(
    r"""{{\s*(?:\.ContainerLabels\.(?P<label>\w+)|index\s+\.ContainerLabels\s+"(?P<key>[^"]*)"|\.(?P<field>\w+))\s*}}"""
)
TAG_FIELDS = frozenset((
    "ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName", "Command", "Hostname",
    "ContainerID", "ContainerName", "ContainerImageID", "ContainerImageName", "ContainerEntrypoint",
))  # fmt: skip


class Rotation(NamedTuple):
    """``max_size`` in bytes, -1 for no limit; ``max_file`` counts the file being written."""

    max_size: int = _DEFAULT_SIZE
    max_file: int = _DEFAULT_FILES
    compress: bool = False


def validate(driver: str, options: Mapping[str, str]) -> None:
    """Raise InvalidArgument or Unsupported, with docker's sentence, for what cannot be done."""
    if driver == "none":
        return
    if driver not in DRIVERS:
        if driver in _LATER:
            raise Unsupported(f"log driver '{driver}' is not supported: use one of {', '.join(DRIVERS)}")
        raise InvalidArgument(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
    for name in options:
        if name not in _KNOWN[driver]:
            of = f"log driver {driver}" if driver == "local" else f"{driver} log driver"
            raise InvalidArgument(f"unknown log opt '{name}' for {of}")
        if name.startswith("syslog-tls"):
            raise Unsupported(f"log opt '{name}' is not supported: syslog is not sent over TLS")
    _validate_mode(options)
    cache(options) if driver in SENDING else rotation(options)
    sending.validate(driver, options)
    for name in ("labels-regex", "env-regex"):
        _pattern(options, name)
    render_tag(options.get("tag", ""), dict.fromkeys(TAG_FIELDS, ""), {})


def rotation(options: Mapping[str, str]) -> Rotation:
    """The rotation that ``max-size``, ``max-file`` and ``compress`` ask for. Raises InvalidArgument."""
    size = _DEFAULT_SIZE if "max-size" not in options else parse_size(options["max-size"])
    try:
        files = int(options.get("max-file", str(_DEFAULT_FILES)))
    except ValueError:
        raise InvalidArgument(f"invalid max-file: '{options['max-file']}'") from None
    if files < 1:
        raise InvalidArgument("max-file cannot be less than 1")
    compress = options.get("compress", "false").lower()
    if compress not in ("true", "false", "1", "0", "t", "f"):
        raise InvalidArgument(f"invalid compress: '{options['compress']}'")
    if compress in ("true", "1", "t") and (files < 2 or size < 0):
        raise InvalidArgument("compress cannot be true when max-file is less than 2 or max-size is not set")
    return Rotation(size, files, compress in ("true", "1", "t"))


def cache(options: Mapping[str, str]) -> Rotation | None:
    """What is kept here of a log that is sent away, so that it can be read; None: nothing is."""
    disabled = options.get("cache-disabled", "false").lower()
    if disabled not in ("true", "false", "1", "0", "t", "f"):
        raise InvalidArgument(f"invalid value for option cache-disabled: {options['cache-disabled']}")
    if disabled in ("true", "1", "t"):
        return None
    asked = {key.removeprefix("cache-"): value for key, value in options.items() if key.startswith("cache-")}
    return rotation({"max-size": "20m", "max-file": "5", "compress": "true"} | asked)


def readable(driver: str, options: Mapping[str, str]) -> bool:
    """Whether ``logs`` finds anything."""
    return driver != "none" and (driver not in SENDING or cache(options) is not None)


def parse_size(text: str) -> int:
    """``10m`` -> 10 000 000 (powers of ten, as docker); -1 means no limit. Raises InvalidArgument."""
    if text.strip() == "-1":
        return -1
    size = quantities.size(text, 1000)
    if size <= 0:
        raise InvalidArgument("max-size must be a positive number")
    return size


def buffer_size(options: Mapping[str, str]) -> int:
    """How many bytes may wait for a log daemon (``mode=non-blocking``); 0: the container waits."""
    if options.get("mode") != "non-blocking":
        return 0
    try:
        return quantities.size(options.get("max-buffer-size", "0")) or _BUFFER
    except InvalidArgument as error:
        raise InvalidArgument(f"error parsing option max-buffer-size: {error}") from None


def attributes(
    options: Mapping[str, str],
    labels: Mapping[str, str],
    env: Mapping[str, str],
    tag_fields: Mapping[str, str],
) -> dict[str, str]:
    """What stands beside every json-file record (``logs --details``): chosen labels, variables, the tag.

    ``tag_fields`` has the values of TAG_FIELDS.
    """
    chosen = _choose(labels, options.get("labels", ""), _pattern(options, "labels-regex"))
    chosen |= _choose(env, options.get("env", ""), _pattern(options, "env-regex"))
    if options.get("tag"):
        chosen["tag"] = render_tag(options["tag"], tag_fields, labels)
    return chosen


def render_tag(template: str, fields: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """A log tag such as ``{{.Name}}/{{.ID}}``; raises Unsupported for more of Go's templates than fields and
    labels, InvalidArgument in docker's words for a field that does not exist.
    """

    def value(match: re.Match[str]) -> str:
        if match["field"] is None:
            return labels.get(match["key"], "") if match["key"] else labels.get(match["label"], "<no value>")
        if match["field"] not in fields:
            raise InvalidArgument(
                f'failed to initialize logging driver: template: log-tag: executing "log-tag" at '
                f"<.{match['field']}>: can't evaluate field {match['field']} in type *logger.Info"
            )
        return fields[match["field"]]

    if "{{" in _TAG_FIELD.sub("", template):
        raise Unsupported(f"log opt 'tag' supports fields such as {{{{.Name}}}} only: {template}")
    return _TAG_FIELD.sub(value, template)


def _choose(values: Mapping[str, str], names: str, pattern: re.Pattern[str] | None) -> dict[str, str]:
    wanted = set(names.split(","))
    chosen = (name for name in values if name in wanted or (pattern and pattern.search(name)))
    return {name: values[name] for name in chosen if name}


def _pattern(options: Mapping[str, str], name: str) -> re.Pattern[str] | None:
    try:
        return re.compile(options[name]) if options.get(name) else None
    except re.error as error:
        raise InvalidArgument(f"invalid {name}: {error}") from None


def _validate_mode(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "blocking")
    if mode == "non-blocking":
        buffer_size(options)
        return
    if mode not in ("", "blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
