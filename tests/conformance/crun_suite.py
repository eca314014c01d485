"""Runs crun's test suite (a checkout of github.com/containers/crun, GPL, never copied here) on a runtime.

    python tests/conformance/crun_suite.py --suite DIR --runtime COMMAND [--runtime COMMAND ...]

Everything happens in private mount and network namespaces with their own /dev, because cases of the suite
replace nodes there. ``--no-unified`` unmounts /sys/fs/cgroup/unified in it: crun 1.8 refuses hybrid hosts, so
runtimes are compared on equal terms without it. Prints a table; ``--json FILE`` keeps every result.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

import private_world  # noqa: E402 - it is found by the line above
from conformance.foreign import keep, printed  # noqa: E402

UNIFIED = "/sys/fs/cgroup/unified"
CASE = re.compile(r"^(ok|not ok) \d+ - (.*?)(?: #(SKIP)?.*)?$")


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--suite", required=True, type=Path, help="directory with tests/test_*.py")
    parser.add_argument("--runtime", action="append", required=True, help="a runtime's path; may be repeated")
    parser.add_argument("--no-unified", action="store_true", help=f"unmount {UNIFIED} first")
    parser.add_argument("--only", nargs="*", default=[], help="files, as test_exec.py")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one file")
    parser.add_argument("--json", type=Path, help="write the result of every case there")
    parser.add_argument("--output", type=Path, help="keep what the suite printed in this directory")
    arguments = parser.parse_args()
    machine = os.open("/dev", os.O_PATH)
    before = null_device(machine)
    private_world.enter()
    if arguments.no_unified and os.path.ismount(UNIFIED):
        subprocess.run(["umount", UNIFIED], check=True)
    results = {runtime: run_suite(arguments, runtime) for runtime in arguments.runtime}
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    if null_device(machine) != before:
        sys.exit("the suite changed the machine's /dev/null")
    return 0


def null_device(directory: int) -> tuple[int, int, int]:
    """What the machine's own is, also seen from elsewhere: a descriptor stays in its mount namespace."""
    status = os.stat("null", dir_fd=directory, follow_symlinks=False)
    return status.st_ino, status.st_mode, status.st_rdev


def run_suite(arguments: argparse.Namespace, runtime: str) -> dict[str, str]:
    """Case -> ok, failed or skipped."""
    with tempfile.TemporaryDirectory(prefix="crun-suite-") as directory:
        init = build_init(arguments.suite / "tests", Path(directory))
        environment = {
            **os.environ,
            "OCI_RUNTIME": os.path.abspath(shutil.which(runtime) or runtime),
            "INIT": str(init),
        }
        environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        results = {}
        for path in sorted((arguments.suite / "tests").glob("test_*.py")):
            if not arguments.only or path.name in arguments.only:
                command = [sys.executable, str(path)]
                text, _ = printed(command, cwd=Path(directory), env=environment, timeout=arguments.timeout)
                keep(arguments.output, f"{Path(runtime).name}-{path.name}.log", text)
                results |= {f"{path.name}: {name}": result for name, result in parse(text).items()}
        return results


def build_init(tests: Path, directory: Path) -> Path:
    """The suite's static helper; of its configure run it needs only what headers there are."""
    headers = {"LINUX_IOPRIO_H": "linux/ioprio.h", "ERROR_H": "error.h", "SECCOMP": "seccomp.h"}
    found = [f"HAVE_{name}" for name, header in headers.items() if Path("/usr/include", header).exists()]
    (directory / "config.h").write_text("".join(f"#define {name} 1\n" for name in found))
    target = directory / "init"
    flags = ["-I", str(directory), "-D_GNU_SOURCE", "-static", "-o", str(target)]
    subprocess.run(["gcc", *flags, str(tests / "init.c")], check=True, stderr=subprocess.DEVNULL)
    return target


def parse(text: str) -> dict[str, str]:
    """The cases of one file's TAP output; a case named twice counts as ok only if it always was."""
    results: dict[str, str] = {}
    for line in text.splitlines():
        if found := CASE.match(line):
            word, name, skipped = found.groups()
            result = "skipped" if skipped else "ok" if word == "ok" else "failed"
            results[name.strip()] = result if results.get(name.strip(), "ok") == "ok" else "failed"
    return results


def table(results: dict[str, dict[str, str]]) -> str:
    lines = ["| runtime | ok | failed | skipped |", "|---|---:|---:|---:|"]
    for runtime, cases in results.items():
        counts = [sum(result == word for result in cases.values()) for word in ("ok", "failed", "skipped")]
        lines.append(f"| {runtime} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
