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

    from onggi.cli.template.gotypes import Fields
    from onggi.client.codec import Json

TEMPLATE_ERROR = 64  # exit status of a template that is none, where docker tells it from other failures


class Row(dict):  # type: ignore[type-arg]
    """One row: columns by name, sorted; callable members are methods. ``go_type`` names it in messages."""

    def __init__(self, go_type: str = "*formatter.Context", /, **columns: Json) -> None:
        super().__init__(sorted(columns.items()))
        self.go_type = go_type


def headers(names: str, **others: Json) -> dict[str, Json]:
    """Return the headers of columns: ``Created_At`` has CREATED AT, ``others`` what is given."""
    words = names.split()
    return {word.replace("_", ""): word.replace("_", " ").upper() for word in words} | others


def escape_html(text: str) -> str:
    """Write ``<``, ``>`` and ``&`` within JSON as Go's encoder does."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _row_json(value: Json) -> str:
    return escape_html(to_json(value)) if isinstance(value, Row) else to_json(value)


ROW_FUNCTIONS: dict[str, Callable[..., Json]] = {**FUNCTIONS, "json": _row_json}
HEADER_ROW_FUNCTIONS: dict[str, Callable[..., Json]] = dict(HEADER_FUNCTIONS)


def compile_template(
    text: str, complaint: str = "template parsing error", status: int = 1, name: str = ""
) -> list[Any]:
    """Return the tree of a template called ``name``. Raises Failure in docker's words."""
    try:
        nodes = parse(text)
    except TemplateError as error:
        raise Failure(f"{complaint}: template: {name}:1: {error}", status) from None
    for called in _calls(nodes):
        if called not in FUNCTIONS and called not in ("and", "or"):
            raise Failure(f'{complaint}: template: {name}:1: function "{called}" not defined', status)
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


def render_object(form: str, value: Json) -> str:
    """Return one object by a template, or as one line of JSON. Raises Failure."""
    if form == "json":
        return to_json(value)
    nodes = compile_template(form)
    try:
        return execute(nodes, value)
    except TemplateError as error:
        raise Failure(f"template parsing error: template: :1:2: {error}") from None


def print_facts(cli: Cli, form: str, facts: Fields, name: str = "") -> None:
    """Print what ``info`` and ``version`` know, by a template called ``name``. Raises Failure."""
    if form == "json":
        cli.out(to_json(facts))
        return
    nodes = compile_template(form, status=TEMPLATE_ERROR, name=name)
    try:
        cli.out(execute(nodes, facts))
    except TemplateError as error:
        cli.out("")  # docker ends the line of what it could not print
        words = str(error).replace('executing ""', f'executing "{name}"', 1)
        raise Failure(f"template: {name}:1:2: {words}") from None


def label_columns(item: Json) -> dict[str, Json]:
    """Return ``Labels`` and ``Label`` of an object."""
    labels = item.get("Labels") or {}
    shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return {"Labels": shown, "Label": lambda name: labels.get(name, "")}


def label_header(name: str) -> str:
    """Return the column header of ``{{.Label "a.b-c"}}``."""
    return name.split(".")[-1].replace("-", " ").replace("_", " ")
