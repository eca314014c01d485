"""From words to a tree of plain tuples. Pure.

Nodes: ``("text", str)``, ``("do", pipeline)``, ``("if" | "with", pipeline, body, otherwise)``, ``("range",
pipeline, body, otherwise)``. A pipeline is ``(variables, assigns, commands)``; a command is a list of
operands: ``("dot", fields)``, ``("variable", name, fields)``, ``("call", name)``, ``("value", object)``,
``("pipeline", pipeline, fields)``.
"""

from __future__ import annotations

from onggi.cli.template.lexer import TemplateError, Word, pieces, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Node = tuple[Any, ...]

__all__ = ["TemplateError", "parse"]

_CONSTANTS = {"true": True, "false": False, "nil": None}


def parse(text: str) -> list[Node]:
    """Return the tree of a template. Raises TemplateError."""
    parser = _Parser(list(pieces(text)))
    nodes, end = parser.nodes()
    if end:
        raise TemplateError(f"unexpected {{{{{end}}}}}")
    return nodes


class _Parser:
    def __init__(self, parts: list[tuple[bool, str]]) -> None:
        self._parts = parts

    def nodes(self) -> tuple[list[Node], str]:
        """Read up to an ``end`` or ``else`` and return that action too ("" at the end of the text)."""
        nodes: list[Node] = []
        while self._parts:
            is_action, content = self._parts.pop(0)
            if not is_action:
                if content:
                    nodes.append(("text", content))
                continue
            if content.strip().startswith("/*"):
                continue
            head = content.split(None, 1)[0] if content.strip() else ""
            if head in ("end", "else"):
                return nodes, content.strip()
            nodes.append(self._action(head, content))
        return nodes, ""

    def _action(self, head: str, content: str) -> Node:
        if head not in ("if", "with", "range"):
            return "do", _pipeline_of(content)
        return self._block(head, content.strip()[len(head) :])

    def _block(self, head: str, condition: str) -> Node:
        if not condition.strip():
            raise TemplateError(f"missing value for {head}")
        pipeline = _pipeline_of(condition)
        body, end = self.nodes()
        otherwise: list[Node] = []
        if end.startswith("else") and end != "else":
            following = end[4:].strip()
            inner = following.split(None, 1)[0]
            return head, pipeline, body, [self._block(inner, following[len(inner) :])]
        if end == "else":
            otherwise, end = self.nodes()
        if end != "end":
            raise TemplateError("unexpected EOF")
        return head, pipeline, body, otherwise


def _pipeline_of(content: str) -> Node:
    reader = _Reader(words(content))
    pipeline = reader.pipeline()
    if reader.word.kind != "end":
        raise TemplateError(f'unexpected "{reader.word.value}" in command')
    return pipeline


class _Reader:
    def __init__(self, found: list[Word]) -> None:
        self._words, self._at = found, 0

    @property
    def word(self) -> Word:
        return self._words[self._at]

    def _is(self, *marks: str) -> bool:
        return self.word.kind == "mark" and self.word.value in marks

    def pipeline(self) -> Node:
        """Read ``[$x [, $y] :=] command | command ...``."""
        variables, assigns = self._variables()
        commands = [self._command()]
        while self._is("|"):
            self._at += 1
            commands.append(self._command())
        return variables, assigns, commands

    def _variables(self) -> tuple[list[str], bool]:
        ahead = self._words[self._at :]
        names = [word.value for word in ahead[:3:2] if word.kind == "variable"]
        for count in (1, 2):
            marks = [word.value for word in ahead[1 : 2 * count : 2]]
            if len(names) >= count and marks[-1:] in ([":="], ["="]) and marks[:-1] in ([], [","]):
                self._at += 2 * count
                return names[:count], marks[-1] == "="
        return [], False

    def _command(self) -> list[Node]:
        operands: list[Node] = []
        while self.word.kind != "end" and not self._is("|", ")"):
            operands.append(self._operand())
        if not operands:
            raise TemplateError("missing value for command")
        return operands

    def _operand(self) -> Node:
        word = self.word
        self._at += 1
        if word.kind == "mark" and word.value == "(":
            inner = self.pipeline()
            if not self._is(")"):
                raise TemplateError("unclosed left paren")
            self._at += 1
            return "pipeline", inner, self._fields()
        if word.kind == "field":
            return "dot", ([word.value[1:]] if word.value != "." else []) + self._fields()
        if word.kind == "variable":
            return "variable", word.value, self._fields()
        if word.kind == "string":
            return "value", word.value
        if word.kind == "number":
            return "value", _number(word.value)
        if word.kind == "name":
            return ("value", _CONSTANTS[word.value]) if word.value in _CONSTANTS else ("call", word.value)
        raise TemplateError(f'unexpected "{word.value}" in operand')

    def _fields(self) -> list[str]:
        """Read the ``.A.B`` that follows without a space."""
        names: list[str] = []
        while self.word.kind == "field" and not self.word.spaced and self.word.value != ".":
            names.append(self.word.value[1:])
            self._at += 1
        return names


def _number(text: str) -> int | float:
    try:
        return int(text, 0)
    except ValueError:
        pass  # not an integer: a float or nothing
    try:
        return float(text)
    except ValueError:
        raise TemplateError(f'bad number syntax: "{text}"') from None
