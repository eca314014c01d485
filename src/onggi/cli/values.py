"""The kinds of flag values. Pure functions; ValueError in Go's and docker's words."""

from __future__ import annotations

from onggi.booleans import BOOLEANS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_NANOSECONDS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def convert(kind: str, text: str) -> object:
    """Return the value of ``text`` for a flag of ``kind`` (``name`` or ``shown:check``)."""
    check = _CHECKS.get(kind.split(":")[-1])
    if check is None:
        from onggi.cli import specs

        return specs.convert(kind.split(":")[-1], text)
    return check(text)


def parse_bool(text: str) -> bool:
    """Return a boolean as Go's strconv.ParseBool reads it."""
    if text not in BOOLEANS:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return BOOLEANS[text]


def parse_int(text: str) -> int:
    """Return a signed 64-bit number as Go's strconv.ParseInt reads it with base 0."""
    return _integer(text, -(1 << 63), (1 << 63) - 1, "ParseInt")


def parse_uint(text: str) -> int:
    """Return an unsigned 64-bit number."""
    return _integer(text, 0, (1 << 64) - 1, "ParseUint")


def parse_uint16(text: str) -> int:
    """Return an unsigned 16-bit number."""
    return _integer(text, 0, (1 << 16) - 1, "ParseUint")


def _integer(text: str, least: int, most: int, function: str) -> int:
    digits = text.lstrip("+-") if least < 0 else text
    base = 8 if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit() else 0
    try:
        if not text.isascii() or text.strip() != text or (least == 0 and text[:1] in "+-"):
            raise ValueError
        value = int(text, base)
    except ValueError:
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax') from None
    if not least <= value <= most:
        raise ValueError(f'strconv.{function}: parsing "{text}": value out of range')
    return value


def parse_bytes(text: str) -> int:
    """Return a size in bytes; units b, k, m, g, t, p, also kb, kib (powers of 1024)."""
    number, suffix = split_number(text)
    number, unit = number.removesuffix(" "), suffix.removeprefix(" ").lower()
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None
    if value < 0 or number != number.strip():
        raise ValueError(f"invalid size: '{text}'")
    if unit[1:] not in ("", "b", "ib") or unit[:1] not in _UNITS or unit in ("bb", "bib"):
        raise ValueError(f"invalid suffix: '{suffix.strip()}'")
    return int(value * _UNITS[unit[:1]])


def split_number(text: str) -> tuple[str, str]:
    """Split a text behind its last digit, point or sign."""
    end = len(text)
    while end and not (text[end - 1].isdigit() or text[end - 1] == "."):
        end -= 1
    return text[:end], text[end:]


def parse_swap(text: str) -> int:
    """Return a size in bytes, or -1 for unlimited."""
    return -1 if text == "-1" else parse_bytes(text)


def parse_cpus(text: str) -> int:
    """Return a number of processors in billionths, exactly."""
    whole, _, fraction = text.lstrip("+").partition(".")
    numerator, slash, denominator = text.partition("/")
    if slash and numerator.lstrip("-").isdigit() and denominator.isdigit() and int(denominator):
        billionths, rest = divmod(int(numerator) * 10**9, int(denominator))
    elif (whole + fraction).lstrip("-").isdigit() and (whole + fraction).isascii():
        digits = fraction.ljust(9, "0")
        billionths = int((whole or "0") + digits[:9]) if whole != "-" else -int(digits[:9])
        rest = int(digits[9:] or 0)
    else:
        raise ValueError(f"failed to parse {text} as a rational number")
    if rest:
        raise ValueError("value is too precise")
    return billionths


def parse_duration(text: str) -> int:
    """Return nanoseconds of a Go duration (``1h2m3.5s``)."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    total = 0.0
    while rest:
        number, rest = _leading(rest, numeric=True)
        unit, rest = _leading(rest, numeric=False)
        if number in ("", "."):
            raise ValueError(f'time: invalid duration "{text}"')
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _NANOSECONDS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += float(number) * _NANOSECONDS[unit]
    return sign * round(total)


def _leading(text: str, *, numeric: bool) -> tuple[str, str]:
    """Split off the characters in front that numbers have, or have not."""
    end = next((at for at, it in enumerate(text) if (it in "0123456789.") != numeric), len(text))
    return text[:end], text[end:]


def check_env(text: str) -> str:
    """Return ``NAME=value``; a bare name takes the value of the caller's environment, if it has one."""
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if equals:
        return text
    from os import environ

    return f"{name}={environ[name]}" if name in environ else name


def check_attach(text: str) -> str:
    """Return the stream's name in lower case."""
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def check_label(text: str) -> str:
    """Return ``key=value`` or ``key``."""
    if not text.partition("=")[0]:
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def check_filter(text: str) -> str:
    """Return ``name=value`` of a list filter with its name in lower case."""
    if not text:
        return text
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("bad format of filter (expected name=value)")
    return f"{name.strip().lower()}={value.strip()}"


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """Return the pairs of ``key=value,key=value``."""
    pairs = [part.partition("=") for part in text.split(",") if text]
    for key, equals, _ in pairs:
        if not equals:
            raise ValueError(f"{key} must be formatted as key=value")
    return [(key, value) for key, _, value in pairs]


_CHECKS: dict[str, Callable[[str], object]] = {
    "bool": parse_bool,
    "int": parse_int,
    "uint": parse_uint,
    "uint16": parse_uint16,
    "bytes": parse_bytes,
    "swap": parse_swap,
    "decimal": parse_cpus,
    "duration": parse_duration,
    "env": check_env,
    "attach": check_attach,
    "label": check_label,
    "filter": check_filter,
    "pairs": parse_pairs,
}
