"""Runs the public parser cases of github.com/moby/buildkit (a checkout, not copied) on our Dockerfile reader.

    python tests/conformance/dockerfile_cases.py --suite DIR [--patterns DIR]

`DIR` is the checkout. A case of `parser/testfiles` passes if our tree, printed as that project prints its
own, is the file beside it; one of `parser/testfiles-negative` if we refuse it too; `shell/envVarTest` and
`wordsTest` are tables of words and what they expand to. `--patterns` is a checkout of moby/patternmatcher,
whose test has rows of a pattern, a path and a truth. Ends with 1 if a case fails, or none was found.
"""

import argparse
import json
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from onggi.archive.ignore import Ignored
from onggi.dockerfile import syntax
from onggi.dockerfile.expansion import Mode, expand
from onggi.dockerfile.parser import parse
from onggi.errors import OnggiError

ESCAPES = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v", '"': '"', "\\": "\\"}
VARIABLES = {"PWD": "/home", "SHELL": "bash", "KOREAN": "한국어", "NULL": ""}
Case = tuple[str, bool]
WORD = re.compile(r'"(?:[^"\\]|\\.)*"')
ROWS = re.compile(
    rf"\{{(?:\[\]string\{{)?({WORD.pattern}(?:, {WORD.pattern})*?)\}}?, ({WORD.pattern}), (true|false)\}}"
)


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    arguments.add_argument("--suite", required=True, type=Path, help="a checkout of moby/buildkit")
    arguments.add_argument("--patterns", type=Path, help="a checkout of moby/patternmatcher")
    options = arguments.parse_args()
    front = options.suite / "frontend" / "dockerfile"
    areas = {
        "parser/testfiles": list(trees(front / "parser" / "testfiles")),
        "parser/testfiles-negative": list(refusals(front / "parser" / "testfiles-negative")),
        "parser/testfile-line": list(positions(front / "parser" / "testfile-line" / "Dockerfile")),
        "shell/envVarTest": list(variables(front / "shell" / "envVarTest")),
        "shell/wordsTest": list(word_lists(front / "shell" / "wordsTest")),
    }
    if options.patterns:
        areas["patternmatcher"] = list(path_patterns(options.patterns / "patternmatcher_test.go"))
    for area, cases in areas.items():
        print(f"{area:28} {sum(passed for _, passed in cases):4} of {len(cases)}")
        for name, passed in cases:
            if not passed:
                print(f"    failed: {name}")
    return int(not all(cases and all(passed for _, passed in cases) for cases in areas.values()))


def trees(directory: Path) -> Iterator[Case]:
    for case in sorted(directory.iterdir()):
        try:
            source = syntax.read((case / "Dockerfile").read_bytes())
        except OnggiError as error:
            print(f"    {case.name}: {error}")
            yield case.name, False
            continue
        printed = "".join(f"({tree(statement)})\n" for statement in source.statements)
        yield case.name, printed == (case / "result").read_text()


def refusals(directory: Path) -> Iterator[Case]:
    for case in sorted(directory.iterdir()):
        yield case.name, raises(lambda data: parse(data), (case / "Dockerfile").read_bytes())


def raises(function, *arguments) -> bool:
    try:
        function(*arguments)
    except OnggiError:
        return True
    return False


def positions(path: Path) -> Iterator[Case]:
    found = [(s.first_line, s.last_line) for s in syntax.read(path.read_bytes()).statements]
    yield "lines", found == [(5, 5), (11, 12), (17, 31)]


def variables(path: Path) -> Iterator[Case]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        platform, source, expected = (column.strip() for column in line.split("|"))
        if platform == "W":
            continue
        if expected == "error":
            yield f"line {number}", raises(expand, source, VARIABLES)
        else:
            yield (
                f"line {number}",
                not raises(expand, source, VARIABLES) and (expand(source, VARIABLES).text == expected),
            )


def word_lists(path: Path) -> Iterator[Case]:
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("ENV "):
            name, _, value = line[4:].partition("=")
            values[name] = value
        elif line.strip() and not line.startswith("#"):
            source, expected = line.split("|")
            wanted = expected.lstrip(" ").split(",")
            if wanted == ["error"]:
                yield f"line {number}", raises(expand, source.strip(), values)
            else:
                yield f"line {number}", list(expand(source.strip(), values, mode=Mode()).words) == wanted


def path_patterns(path: Path) -> Iterator[Case]:
    for patterns, text, truth in ROWS.findall(path.read_text()):
        lines = [json.loads(word) for word in WORD.findall(patterns)]
        yield f"{lines} {text}", (posixpath.normpath(json.loads(text)) in Ignored(lines)) == (truth == "true")


def tree(statement: syntax.Statement) -> str:
    """One statement as that project's tests print it."""
    text = statement.keyword.lower()
    if statement.flags:
        text += f" [{' '.join(map(quote, statement.flags))}]"
    if statement.nested:
        text += f" ({tree(statement.nested)})"
    return " ".join([text, *map(quote, statement.words)])


def quote(text: str) -> str:
    return '"' + "".join(f"\\{ESCAPES[c]}" if c in ESCAPES else c for c in text).replace("\0", "\\x00") + '"'


if __name__ == "__main__":
    sys.exit(main())
