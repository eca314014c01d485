"""What the three inspect commands share: look objects up, print them as JSON or by a template."""

from __future__ import annotations

from onggi.cli.command import Cli, Failure
from onggi.client.codec import encode, indent
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from onggi.client.codec import Json


def print_objects(
    cli: Cli, names: list[str], look_up: Callable[[str], Json], form: str, local: bool = False
) -> int:
    """Print all objects that are found, then the errors; exit code 1 if there are any.

    ``local``: they come from no engine. docker's command passes an engine's JSON on as it is, and escapes its
    own.
    """
    if form not in ("", "json"):
        from onggi.cli.format import TEMPLATE_ERROR, compile_template

        compile_template(form, status=TEMPLATE_ERROR)
    found: list[Json] = []
    errors: list[ClientError] = []
    for name in names:
        try:
            found.append(look_up(name))
        except ClientError as error:
            errors.append(error)
    _print(cli, found, form, local)
    return cli.tell(errors)


def _print(cli: Cli, found: list[Json], form: str, local: bool) -> None:
    if form in ("", "json"):
        text = encode(found).decode("utf-8", "surrogateescape") if form else indent(found)
        if local:
            from onggi.cli.format import escape_html

            text = escape_html(text)
        cli.out(text)
        return
    from onggi.cli.format import render_object
    from onggi.cli.template.gotypes import typed

    if not found:
        cli.out("")
    for value in found:
        try:
            cli.out(render_object(form, value if local else typed(value)))
        except Failure:
            cli.out("")  # docker ends the line of what it could not print
            raise
