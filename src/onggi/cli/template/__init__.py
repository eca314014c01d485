"""Go templates for ``--format``: the part of Go's text/template that docker's commands document. Imported
when used.

``parse`` makes a tree, ``execute`` writes it for one value. Values are JSON values; a row of a table is a
dict whose callable members are methods with arguments.
"""

from onggi.cli.template.evaluate import execute
from onggi.cli.template.parse import TemplateError, parse

__all__ = ["TemplateError", "execute", "parse"]
