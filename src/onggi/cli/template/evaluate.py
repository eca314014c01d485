"""Executes a template's tree for one value. Pure."""

from __future__ import annotations

from onggi.cli.template.functions import FUNCTIONS, show
from onggi.cli.template.gotypes import NilPointer
from onggi.cli.template.lexer import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Value = Any
    Node = tuple[Any, ...]


def execute(
    nodes: list[Node], value: Value, functions: Mapping[str, Callable[..., Value]] = FUNCTIONS
) -> str:
    """Return the text of a template for ``value``. Raises TemplateError."""
    return _Run(value, functions).nodes(nodes, value)


class _Run:
    def __init__(self, root: Value, functions: Mapping[str, Callable[..., Value]]) -> None:
        self._functions = functions
        self._variables: list[tuple[str, Value]] = [("$", root)]

    def nodes(self, nodes: list[Node], dot: Value) -> str:
        """Write a list of nodes; variables declared in it end with it."""
        depth = len(self._variables)
        text = "".join(self._node(node, dot) for node in nodes)
        del self._variables[depth:]
        return text

    def _node(self, node: Node, dot: Value) -> str:
        if node[0] == "text":
            return str(node[1])
        if node[0] == "do":
            value = self._pipeline(node[1], dot)
            return "" if node[1][0] else show(value)
        if node[0] == "range":
            return self._range(node, dot)
        depth = len(self._variables)
        value = self._pipeline(node[1], dot)
        inner = value if node[0] == "with" and value else dot
        text = self.nodes(node[2] if value else node[3], inner)
        del self._variables[depth:]
        return text

    def _range(self, node: Node, dot: Value) -> str:
        _, (names, _, commands), body, otherwise = node
        value = self._commands(commands, dot)
        rows = _rows(value)
        if not rows:
            return self.nodes(otherwise, dot)
        text = ""
        for key, item in rows:
            depth = len(self._variables)
            self._variables += zip(names, [item] if len(names) == 1 else [key, item], strict=False)
            text += self.nodes(body, item)
            del self._variables[depth:]
        return text

    def _pipeline(self, pipeline: Node, dot: Value) -> Value:
        names, assigns, commands = pipeline
        value = self._commands(commands, dot)
        for name in names:
            if assigns:
                at = max(index for index, (known, _) in enumerate(self._variables) if known == name)
                self._variables[at] = (name, value)
            else:
                self._variables.append((name, value))
        return value

    def _commands(self, commands: list[list[Node]], dot: Value) -> Value:
        value = self._command(commands[0], dot, [])
        for command in commands[1:]:
            value = self._command(command, dot, [value])
        return value

    def _command(self, operands: list[Node], dot: Value, last: list[Value]) -> Value:
        first, rest = operands[0], operands[1:]
        if first[0] == "call":
            return self._call(first[1], rest, dot, last)
        value = self._operand(first, dot)
        if callable(value):
            return _method(value, first, [*(self._operand(operand, dot) for operand in rest), *last])
        if rest or last:
            raise TemplateError(
                f'executing "" at <{_source(first)}>: can\'t give argument to non-function {_source(first)}'
            )
        return value

    def _call(self, name: str, rest: list[Node], dot: Value, last: list[Value]) -> Value:
        if name in ("and", "or"):
            return self._short_circuit(name == "or", rest, dot, last)
        function = self._functions.get(name)
        if function is None:
            raise TemplateError(f'function "{name}" not defined')
        arguments = [self._operand(operand, dot) for operand in rest] + last
        try:
            return function(*arguments)
        except TemplateError as error:
            raise TemplateError(f'executing "" at <{name}>: error calling {name}: {error}') from None
        except (TypeError, ValueError, AttributeError, KeyError, IndexError):
            raise TemplateError(f'executing "" at <{name}>: wrong arguments for {name}') from None

    def _short_circuit(self, until: bool, rest: list[Node], dot: Value, last: list[Value]) -> Value:
        value: Value = None
        for operand in [*rest, *(("value", item) for item in last)]:
            value = self._operand(operand, dot)
            if bool(value) == until:
                break
        return value

    def _operand(self, operand: Node, dot: Value) -> Value:
        kind = operand[0]
        if kind == "value":
            return operand[1]
        if kind == "call":
            return self._call(operand[1], [], dot, [])
        if kind == "dot":
            return _descend(dot, operand[1], operand)
        if kind == "variable":
            for name, value in reversed(self._variables):
                if name == operand[1]:
                    return _descend(value, operand[2], operand)
            raise TemplateError(f'undefined variable "{operand[1]}"')
        return _descend(self._pipeline(operand[1], dot), operand[2], operand)


def _method(method: Callable[..., Value], named: Node, arguments: list[Value]) -> Value:
    """Call a method of a row, all of which take one argument."""
    if len(arguments) != 1:
        words = f"wrong number of args for {named[1][-1]}: want 1 got {len(arguments)}"
        raise TemplateError(f'executing "" at <{_source(named)}>: {words}')
    return method(arguments[0])


def _rows(value: Value) -> list[tuple[Value, Value]]:
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(index, index) for index in range(value)]
    if value is None:
        return []
    raise TemplateError(f"range can't iterate over {show(value)}")


def _descend(value: Value, fields: list[str], operand: Node) -> Value:
    for name in fields:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, dict):
            raise TemplateError(f'executing "" at <{_source(operand)}>: {_missing(value, name)}')
        elif isinstance(value, NilPointer):
            words = value.words + (name if value.words.endswith(".") else "")
            raise TemplateError(f'executing "" at <{_source(operand)}>: {words}')
        elif value is None:
            raise TemplateError(
                f'executing "" at <{_source(operand)}>: nil pointer evaluating interface {{}}.{name}'
            )
        else:
            raise TemplateError(
                f'executing "" at <{_source(operand)}>: can\'t evaluate field {name} in type {_type(value)}'
            )
    return value


def _missing(value: dict[str, Value], name: str) -> str:
    row = getattr(value, "go_type", "")
    return f"can't evaluate field {name} in type {row}" if row else f'map has no entry for key "{name}"'


def _type(value: Value) -> str:
    return {str: "string", bool: "bool", int: "int", float: "float64", list: "[]interface {}"}.get(
        type(value), "interface {}"
    )


def _source(operand: Node) -> str:
    if operand[0] == "dot":
        return "." + ".".join(operand[1])
    if operand[0] == "variable":
        return ".".join([operand[1], *operand[2]])
    return str(operand[1]) if operand[0] == "value" else "pipeline"
