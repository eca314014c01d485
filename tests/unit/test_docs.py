"""The documents say what is so: named tests and linked files exist, every room has its charter."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.md")])
CHARTER_LINES = 40
SECURITY_ROW = re.compile(r"\| (?P<id>[^|]+) \|[^|]+\|[^|]+\| (?P<answer>[^|]+) \|")
WAITS = re.compile(r"waits for: \w|not shipped: \w")


@cache
def names_in(path: Path) -> frozenset[str]:
    """Names of functions and classes that a test file defines."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(
        node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, definitions)
    )


def named_tests() -> list[str]:
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    return sorted(set(re.findall(r"`(tests/[\w/]+\.py::\w+(?:::\w+)?)`", text)))


def security_rows() -> list[tuple[str, str]]:
    lines = (ROOT / "docs/security.md").read_text().splitlines()
    rows = [match for line in lines if (match := SECURITY_ROW.fullmatch(line)) and match["id"] != "id"]
    return [(row["id"], row["answer"]) for row in rows]


def test_named_tests_exist():
    missing = []
    for name in named_tests():
        path, *names = name.split("::")
        if not (ROOT / path).is_file() or not set(names) <= names_in(ROOT / path):
            missing.append(name)
    assert not missing


def test_every_vulnerability_has_an_answer():
    rows = security_rows()
    assert len(rows) > 100
    assert not [row for row in rows if "::" not in row[1] and not WAITS.match(row[1])]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert not [link for link in links if not (document.parent / link).exists()]


def test_rooms_have_charters():
    rooms = [path.parent for path in (ROOT / "src/onggi").glob("*/__init__.py")]
    charters = {room.name: room / "README.md" for room in rooms}
    assert not [name for name, charter in charters.items() if not charter.is_file()]
    long = {name: len(charter.read_text().splitlines()) for name, charter in charters.items()}
    assert not {name: lines for name, lines in long.items() if lines > CHARTER_LINES}


def test_security_tests_are_documented():
    """A regression that no row names is one that nobody will look for."""
    text = (ROOT / "docs/security.md").read_text()
    files = sorted((ROOT / "tests/security").glob("test_*.py"))
    assert not [path.name for path in files if f"tests/security/{path.name}" not in text]
