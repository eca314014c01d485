"""The functions of templates (Go's own and docker's), and how Go prints values. Pure."""

from __future__ import annotations

from onggi.cli.template.gotypes import Nil
from onggi.cli.template.lexer import TemplateError
from onggi.client.codec import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Value = Any


def show(value: Value) -> str:
    """Return the text that an action writes for a value."""
    return "<no value>" if value is None else _plain(value)


def _plain(value: Value) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list):
        return "[" + " ".join(_plain(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_plain(item)}" for key, item in sorted(value.items())) + "]"
    return str(value)


def _float(value: float) -> str:
    """Write a float as Go's %v: exponent from 1e21 on and below 1e-4."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def to_json(value: Value) -> str:
    """Return a value as JSON, without the methods of rows."""
    return encode(_without_methods(value)).decode("utf-8", "replace")


def _without_methods(value: Value) -> Value:
    if isinstance(value, Nil):
        return None
    if isinstance(value, dict):
        return {key: _without_methods(item) for key, item in value.items() if not callable(item)}
    return [_without_methods(item) for item in value] if isinstance(value, list) else value


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, (list, str)) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise TemplateError(f"index out of range: {key}")
            value = value[key]
        else:
            raise TemplateError(f"can't index item of type {type(value).__name__}")
    return value


def _slice(value: Value, start: int = 0, end: int | None = None) -> Value:
    if not 0 <= start <= (len(value) if end is None else end) <= len(value):
        raise TemplateError(f"index out of range: {start if end is None else end}")
    return value[start:end]


def _join(value: Value, separator: str) -> str:
    if isinstance(value, dict):
        return separator.join(sorted(_plain(item) for item in value.values()))
    return separator.join(_plain(item) for item in value or [])


def _title(text: str) -> str:
    return "".join(c.upper() if at == 0 or not text[at - 1].isalnum() else c for at, c in enumerate(text))


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _print(*values: Value) -> str:
    text = ""
    for at, value in enumerate(values):
        both_plain = at and not isinstance(value, str) and not isinstance(values[at - 1], str)
        text += (" " if both_plain else "") + _plain(value)
    return text


def quoted(text: str) -> str:
    """Return a text as Go quotes it."""
    out = ""
    for character in text:
        if character in '"\\':
            out += "\\" + character
        elif character in "\a\b\f\n\r\t\v":
            out += "\\" + "abfnrtv"["\a\b\f\n\r\t\v".index(character)]
        elif not character.isprintable():
            code = ord(character)
            out += (
                f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
            )
        else:
            out += character
    return f'"{out}"'


def _printf(form: str, *values: Value) -> str:
    """Format as Go's Printf with the verbs v, s, q, d, x, X, o, b, c, t, f, e, g, T and %."""
    out, rest, given = "", form, list(values)
    while rest:
        before, percent, rest = rest.partition("%")
        out += before
        if not percent:
            break
        flags = rest[: len(rest) - len(rest.lstrip("+-# 0123456789."))]
        verb, rest = rest[len(flags) : len(flags) + 1], rest[len(flags) + 1 :]
        if verb == "%":
            out += "%"
        elif not given:
            out += f"%!{verb}(MISSING)"
        else:
            out += _verb(flags, verb, given.pop(0))
    return out


def _verb(flags: str, verb: str, value: Value) -> str:
    if verb in "dxXobcfeEgG" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(f"%{flags}{verb}" % value) if verb != "b" else _width(flags, f"{int(value):b}")
    if verb == "q":
        return _width(flags, quoted(_plain(value)))
    if verb in "vst":
        return _width(flags, _plain(value))
    if verb in "xX" and isinstance(value, str):
        digits = value.encode().hex()
        return _width(flags, digits.upper() if verb == "X" else digits)
    return f"%!{verb}({_plain(value)})"


def _width(flags: str, text: str) -> str:
    return str(f"%{flags.replace('#', '').replace('+', '')}s" % text)


def _compare(test: Callable[[Value, Value], bool]) -> Callable[[Value, Value], bool]:
    def compare(first: Value, second: Value) -> bool:
        if isinstance(first, str) != isinstance(second, str):
            raise TemplateError("incompatible types for comparison")
        return test(first, second)

    return compare


def _equal(first: Value, *others: Value) -> bool:
    for other in others:
        if isinstance(first, str) != isinstance(other, str) and None not in (first, other):
            raise TemplateError("incompatible types for comparison")
        if first == other:
            return True
    return False


def _escape_html(value: Value) -> str:
    text = _plain(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&#34;").replace("'", "&#39;")


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "json": to_json,
    "join": _join,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "title": _title,
    "lower": str.lower,
    "upper": str.upper,
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
    "println": lambda *values: " ".join(_plain(value) for value in values) + "\n",
    "print": _print,
    "printf": _printf,
    "html": _escape_html,
    "len": lambda value: 0 if value is None else len(value),
    "index": _index,
    "slice": _slice,
    "not": lambda value: not value,
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": _compare(lambda first, second: first < second),
    "le": _compare(lambda first, second: first <= second),
    "gt": _compare(lambda first, second: first > second),
    "ge": _compare(lambda first, second: first >= second),
}


def _unchanged(text: Value, *_: Value) -> Value:
    if not isinstance(text, str):
        raise TypeError("headers are strings")
    return text


HEADER_FUNCTIONS = {
    **FUNCTIONS,
    **dict.fromkeys(("json", "split", "join", "title", "lower", "upper", "truncate"), _unchanged),
}
