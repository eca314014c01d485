"""The house rules of docs/development.md as tests: sizes, layers, imports, places of dangerous calls.

Everything here reads source text only; a failure names the file and the rule.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "onggi"

FILE_LINES = 600
FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 10
PUBLIC_METHODS = 15
PARAMETERS = 7

# Which rooms a room may import, besides itself and what is open to all.
OPEN_TO_ALL = {
    "booleans", "errors", "filters", "frames", "interpreter", "quantities", "times", "__init__", "version",
}  # fmt: skip
FOUNDATIONS = {"kernel", "oci", "archive"}
SERVICES = {"images", "volumes", "networks", "containers", "build"}
MECHANISMS = {"store", "registry", "logs", "launch", "runtime"}
LAYERS: dict[str, set[str]] = {
    "interpreter": set(),
    "booleans": set(),
    "errors": set(),
    "filters": set(),
    "frames": set(),
    "quantities": set(),
    "times": set(),
    "kernel": set(),
    "oci": set(),
    "archive": {"kernel"},
    "runtime": {"kernel"},
    "logs": {"kernel"},
    "launch": {"kernel", "archive", "runtime", "logs"},
    "store": {"kernel", "oci", "archive"},
    "registry": {"oci"},
    "dockerfile": {"oci", "archive"},
    "images": FOUNDATIONS | MECHANISMS | {"dockerfile"},
    "volumes": {"kernel", "archive", "store"},
    "networks": {"kernel", "store"},
    "containers": FOUNDATIONS | MECHANISMS | {"images", "volumes", "networks"},
    "build": FOUNDATIONS | MECHANISMS | {"dockerfile", "images", "volumes", "networks", "containers"},
    "api": FOUNDATIONS | SERVICES | {"store", "registry", "logs"},
    "daemon": FOUNDATIONS | MECHANISMS | SERVICES | {"api"},
    "client": set(),
    "cli": {"client", "archive", "oci"},
}
FRONT = {"client", "cli"}
STDLIB_ONLY = {
    "errors", "frames", "quantities", "times", "kernel", "archive", "runtime", "launch", "logs", *FRONT,
}  # fmt: skip
# Rooms whose code is loaded by processes that fork.
FORKING = {"frames", "times", "kernel", "archive", "runtime", "launch", "logs"}
FORBIDDEN_IN_FORKING = {
    "asyncio", "concurrent", "dataclasses", "hashlib", "logging", "multiprocessing", "pwd", "grp", "shutil",
    "subprocess", "tempfile", "threading",
}  # fmt: skip
FORBIDDEN_IN_FRONT = {"argparse", "asyncio", "dataclasses", "http", "importlib.metadata", "logging"}
CTYPES_FILES = {"kernel/syscalls.py", "kernel/seccomp.py"}
FORK_ROOMS = {"kernel", "launch"}
FORK_CALLS = {"fork", "forkpty", "posix_spawn", "posix_spawnp", "system", "popen"}
# What else may make a process: `runtime` turns a plan into one; the front, which may not import `kernel`,
# starts the daemon, the person's own credential helpers (found by PATH) and, for `onggi try`, the probes
# outside a container.
ALLOWED_FORKS = {
    ("runtime", "fork"),
    ("client", "posix_spawn"),
    ("client", "posix_spawnp"),
    ("cli", "posix_spawn"),
}


@cache
def sources() -> dict[str, ast.Module]:
    """Path below src/onggi -> parsed module."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text(), str(path)) for path in files}


def room_of(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def imports(tree: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    """Line and absolute module name of every import, at any depth; type-checking imports included."""
    package = ["onggi", *path.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from onggi import kernel` names a room in its alias.
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}" if module == "onggi" else module


def os_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every `os.NAME`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            yield node.lineno, node.attr


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def report(broken: list[str]) -> None:
    assert not broken, "\n" + "\n".join(broken)


def test_files_are_small():
    report(
        [
            f"{path}: {lines} lines, at most {FILE_LINES}"
            for path in sources()
            if (lines := len((PACKAGE / path).read_text().splitlines())) > FILE_LINES
        ]
    )


def test_functions_are_small():
    report(
        [
            f"{path}:{node.lineno} {node.name}: {length(node)} lines, at most {FUNCTION_LINES}"
            for path, tree in sources().items()
            for node in functions(tree)
            if length(node) > FUNCTION_LINES
        ]
    )


def test_half_of_all_functions_are_short():
    lengths = sorted(length(node) for tree in sources().values() for node in functions(tree))
    assert not lengths or lengths[len(lengths) // 2] <= MEDIAN_FUNCTION_LINES


def test_classes_have_few_public_methods():
    broken = []
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names = {n.name for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
                public = {name for name in names if not name.startswith("_")}
                if len(public) > PUBLIC_METHODS:
                    broken.append(f"{path}:{node.lineno} {node.name}: {len(public)} public methods")
    report(broken)


def test_functions_take_few_parameters():
    broken = []
    for path, tree in sources().items():
        for node in functions(tree):
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            count = len([name for name in names if name not in ("self", "cls")])
            if count > PARAMETERS:
                broken.append(f"{path}:{node.lineno} {node.name}: {count} parameters, at most {PARAMETERS}")
    report(broken)


def test_every_module_says_what_it_is():
    report(
        [
            f"{path}: no module docstring"
            for path, tree in sources().items()
            if not ast.get_docstring(tree) and tree.body
        ]
    )


def test_every_room_is_in_the_plan():
    rooms = {room_of(path) for path in sources()} - {"__init__", "__main__", "version"}
    assert rooms <= set(LAYERS), f"rooms without a layer: {sorted(rooms - set(LAYERS))}"


def test_imports_only_point_down():
    broken = []
    for path, tree in sources().items():
        room = room_of(path)
        allowed = LAYERS.get(room, set()) | {room, *OPEN_TO_ALL}
        for line, name in imports(tree, path):
            parts = name.split(".")
            if parts[0] != "onggi" or len(parts) == 1 or parts[1] in allowed:
                continue
            # `from onggi import __version__` names no room.
            if (PACKAGE / parts[1]).exists() or (PACKAGE / f"{parts[1]}.py").exists():
                broken.append(f"{path}:{line}: {room} may not import {parts[1]}")
    report(broken)


def lines_for_types(tree: ast.AST) -> set[int]:
    """Lines below `if TYPE_CHECKING:`, which never run."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def test_stdlib_rooms_import_no_package():
    broken = []
    for path, tree in sources().items():
        if room_of(path) not in STDLIB_ONLY:
            continue
        for line, name in imports(tree, path):
            top = name.split(".")[0]
            if top != "onggi" and top not in sys.stdlib_module_names and line not in lines_for_types(tree):
                broken.append(f"{path}:{line}: {name}")
    report(broken)


@pytest.mark.parametrize(
    ("rooms", "forbidden"),
    [(FORKING, FORBIDDEN_IN_FORKING), (FRONT, FORBIDDEN_IN_FRONT)],
    ids=["forking rooms", "front"],
)
def test_slow_or_unsafe_modules_stay_out(rooms, forbidden):
    broken = []
    for path, tree in sources().items():
        if room_of(path) in rooms:
            for line, name in imports(tree, path):
                if any(name == bad or name.startswith(f"{bad}.") for bad in forbidden):
                    broken.append(f"{path}:{line}: {name}")
    report(broken)


def test_what_the_front_imports_of_oci_is_as_light():
    broken = []
    waiting = [path for path in sources() if room_of(path) in FRONT]
    for path in waiting:
        for line, name in imports(sources()[path], path):
            if name.startswith("onggi.oci."):
                used = "/".join(name.split(".")[1:]) + ".py"
                waiting += [used] if used not in waiting else []
            foreign = name.split(".")[0] not in ("onggi", *sys.stdlib_module_names)
            if room_of(path) == "oci" and (foreign or name in FORBIDDEN_IN_FRONT):
                broken.append(f"{path}:{line}: {name}")
    report(broken)


def test_ctypes_has_two_places():
    broken = []
    for path, tree in sources().items():
        for line, name in imports(tree, path):
            if name.split(".")[0] in ("ctypes", "_ctypes", "cffi") and path not in CTYPES_FILES:
                broken.append(f"{path}:{line}: {name}")
    report(broken)


def test_no_cancellation_is_lost():
    """Up to Python 3.11 asyncio.wait_for swallows one that comes as what it waits for is done."""
    report(
        [
            f"{path}:{node.lineno}"
            for path, tree in sources().items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "asyncio.wait_for"
        ]
    )


def test_processes_are_made_in_kernel_and_launch():
    broken = []
    for path, tree in sources().items():
        if room_of(path) in FORK_ROOMS:
            continue
        for line, name in imports(tree, path):
            if name.split(".")[0] in ("subprocess", "multiprocessing"):
                broken.append(f"{path}:{line}: {name}")
        for line, name in os_calls(tree):
            if name in FORK_CALLS and (room_of(path), name) not in ALLOWED_FORKS:
                broken.append(f"{path}:{line}: os.{name}")
    report(broken)


def test_only_the_cli_prints():
    broken = []
    for path, tree in sources().items():
        if room_of(path) == "cli":
            continue
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = [(call.lineno, call.func.id) for call in calls if isinstance(call.func, ast.Name)]
        broken += [f"{path}:{line}" for line, name in names if name == "print"]
    report(broken)


UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError")


def test_nothing_is_left_unfinished():
    broken = []
    for path in sources():
        for number, line in enumerate((PACKAGE / path).read_text().splitlines(), 1):
            if UNFINISHED.search(line):
                broken.append(f"{path}:{number}: {line.strip()}")
    report(broken)


def tracked_files() -> list[Path]:
    """Files of the checkout; without git (an unpacked archive) every file that is not ours to ignore."""
    git = ["git", "-C", ROOT, "ls-files", "-z"]
    listed = subprocess.run(git, capture_output=True, text=True, check=False) if shutil.which("git") else None
    if listed and listed.returncode == 0:
        return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    skipped = {".onggi", ".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis"}
    return [p for p in ROOT.rglob("*") if p.is_file() and not skipped & set(p.relative_to(ROOT).parts)]


# Spelled apart, so that this file does not match itself.
MACHINE_WORDS = ["/" + "work/", "../" + "shared", "/tmp/" + "og", "pypi" + ".org", "file" + "s.pythonhosted"]


def test_nothing_names_one_machine():
    broken = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", "replace")
        broken += [f"{path.relative_to(ROOT)}: {word}" for word in MACHINE_WORDS if word in text]
    report(broken)


def test_utils_is_no_name():
    names = {"utils.py", "util.py", "common.py", "misc.py", "helpers.py"}
    report([path for path in sources() if path.split("/")[-1] in names])
