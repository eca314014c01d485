"""``--format``: presets, ``json``, ``table TEMPLATE`` and templates, for lists and for single objects."""

from __future__ import annotations

from onggi.cli.command import Cli, Failure, Options
from onggi.cli.table import align
from onggi.cli.template import TemplateError, execute, parse
from onggi.cli.template.functions import FUNCTIONS, HEADER_FUNCTIONS, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from onggi.client.codec import Json


class Row(dict):  # type: ignore[type-arg]
    """One row: column name to value; callable members are methods. ``go_type`` names it in messages."""

    def __init__(self, go_type: str = "*formatter.Context", /, **columns: Json) -> None:
        super().__init__(columns)
        self.go_type = go_type


def escape_html(text: str) -> str:
    """Write ``<``, ``>`` and ``&`` within JSON as Go's encoder does."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _row_json(value: Json) -> str:
    return escape_html(to_json(value)) if isinstance(value, Row) else to_json(value)


ROW_FUNCTIONS: dict[str, Callable[..., Json]] = {**FUNCTIONS, "json": _row_json}
HEADER_ROW_FUNCTIONS: dict[str, Callable[..., Json]] = dict(HEADER_FUNCTIONS)


def compile_template(text: str, complaint: str = "template parsing error", status: int = 1) -> list[Any]:
    """Return the tree of a template. Raises Failure in docker's words."""
    try:
        nodes = parse(text)
    except TemplateError as error:
        raise Failure(f"{complaint}: template: :1: {error}", status) from None
    for name in _calls(nodes):
        if name not in FUNCTIONS and name not in ("and", "or"):
            raise Failure(f'{complaint}: template: :1: function "{name}" not defined', status)
    return nodes


def _calls(tree: Json) -> Iterator[str]:
    """Yield the names of all functions that a tree calls."""
    if isinstance(tree, tuple) and tree and tree[0] == "call":
        yield tree[1]
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            yield from _calls(part)


def asked_form(cli: Cli, options: Options, configured: str) -> str:
    """Return the template as typed, else as the configuration has it under ``configured``, or ``table``."""
    return options.text("format") or str(cli.config().get(configured) or "table")


def chosen_form(cli: Cli, options: Options, configured: str, forms: dict[str, tuple[str, str]]) -> str:
    """Return the template of a list, by its name if ``forms`` has it: whole, and for ``--quiet``, which no
    configuration changes.
    """
    quiet = options.on("quiet")
    form = (options.text("format") or "table") if quiet else asked_form(cli, options, configured)
    return forms[form][quiet] if form in forms else form


def render_rows(form: str, rows: Iterable[Row], headers: dict[str, Json]) -> str:
    """Return the text of a list: ``form`` is ``json``, ``table TEMPLATE`` or a template. Raises Failure."""
    is_table = form.startswith("table")
    body = "{{json .}}" if form == "json" else form.removeprefix("table") if is_table else form
    nodes = compile_template(body.strip(" ").replace("\\t", "\t").replace("\\n", "\n"))
    try:
        lines = [execute(nodes, row, ROW_FUNCTIONS) for row in rows]
    except TemplateError as error:
        raise Failure(f"template parsing error: template: :1:2: {error}") from None
    if is_table:
        lines.insert(0, _header(nodes, headers))
    text = "".join(line + "\n" for line in lines)
    return align(text) if is_table else text


def _header(nodes: list[Any], headers: dict[str, Json]) -> str:
    try:
        return execute(nodes, Row(**headers), HEADER_ROW_FUNCTIONS)
    except TemplateError:
        return ""  # no row was there to show that the template is wrong; docker says nothing either


def check_fields(form: str, headers: dict[str, Json], go_type: str) -> set[str]:
    """Return the fields that a template names. Raises Failure for those that rows do not have."""
    if form in ("json", "table", ""):
        return set()
    names = set(_names(compile_template(form.removeprefix("table"), "failed to parse template")))
    for name in sorted(names - set(headers)):
        cause = f"can't evaluate field {name} in type {go_type}"
        raise Failure(f'failed to execute template: template: :1:2: executing "" at <.{name}>: {cause}')
    return names | ({"Size"} if "{{json .}}" in form else set())


def _names(tree: Json) -> Iterable[str]:
    """Yield the first field of every ``.Field`` outside of range and with bodies (whose dot is another)."""
    if isinstance(tree, tuple) and tree and tree[0] in ("range", "with"):
        yield from _names(tree[1])
    elif isinstance(tree, tuple) and tree and tree[0] == "dot":
        yield from tree[1][:1]
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            yield from _names(part)


def render_object(form: str, value: Json) -> str:
    """Return one object by a template, or as one line of JSON. Raises Failure."""
    if form == "json":
        return to_json(value)
    nodes = compile_template(form)
    try:
        return execute(nodes, value)
    except TemplateError as error:
        raise Failure(f"template parsing error: template: :1:2: {error}") from None


def label_header(name: str) -> str:
    """Return the column header of ``{{.Label "a.b-c"}}``."""
    return name.split(".")[-1].replace("-", " ").replace("_", " ")
