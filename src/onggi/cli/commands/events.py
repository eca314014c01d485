"""``onggi events``."""

from __future__ import annotations

from onggi.cli.command import FILTER, Cli, Command, Options
from onggi.cli.filters import filters
from onggi.cli.times import moment, rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_FIELDS = {"Scope": "scope", "Time": "time", "TimeNano": "timeNano", "Status": "status", "ID": "id"}


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Print events as they happen."""
    query = {
        "filters": filters(options.many("filter")),
        "since": moment(options, "since"),
        "until": moment(options, "until"),
    }
    form = options.text("format")
    if form and form != "json":
        from onggi.cli.format import TEMPLATE_ERROR, compile_template

        compile_template(form, "Error parsing format", TEMPLATE_ERROR)
    for event in cli.engine.messages(cli.engine.request("GET", "/events", query)):
        cli.out(_line(event, form))
        cli.flush()


def _line(event: Json, form: str) -> str:
    if form == "json":
        from onggi.client.codec import encode

        actor = event.get("Actor") or {}
        actor["Attributes"] = dict(sorted((actor.get("Attributes") or {}).items()))
        return encode(event).decode()
    if form:
        from onggi.cli.format import render_object
        from onggi.cli.template.gotypes import Fields, Strings

        actor = event.get("Actor") or {}
        actor["Attributes"] = Strings(actor.get("Attributes") or {})
        return render_object(form, Fields({**event, "Actor": actor}, _FIELDS))
    return default_line(event)


def default_line(event: Json) -> str:
    """Return one event as docker prints it: time, type, action, ID, attributes in order."""
    actor = event.get("Actor") or {}
    attributes = ", ".join(f"{key}={value}" for key, value in sorted((actor.get("Attributes") or {}).items()))
    shown = f" ({attributes})" if attributes else ""
    moment = event.get("timeNano") or (event.get("time") or 0) * 10**9
    when = rfc3339(moment // 10**9, f".{moment % 10**9:09d}")
    return f"{when} {event.get('Type', '')} {event.get('Action', '')} {actor.get('ID', '')}{shown}"


COMMAND = Command(
    "events [OPTIONS]",
    run,
    flags=(
        FILTER,
        ("format", "", "string", "", "How to print: 'json' or a Go template"),
        ("since", "", "string", "", "Begin with the events since this time or age"),
        ("until", "", "string", "", "End at this time or age"),
    ),
)
