"""What every test gets: repeatable random input, listed skips, and a private world for those that need root.

The suites of ROOT_SUITES touch namespaces, mounts and cgroups. Before the first of them runs, this process
enters a mount and a network namespace of its own (private_world.py).
"""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

import private_world

TESTS = Path(__file__).parent
ROOT_SUITES = {"contracts", "root", "api", "crash", "security"}
SETUP_SUITE = "setup"  # needs root, and the machine's own network for packages

hypothesis.settings.register_profile(
    "onggi",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # on a busy machine everything is
)
hypothesis.settings.load_profile("onggi")

# A shell ignores it for what it starts in the background, and so would every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def suite_of(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if suite_of(item) in {*ROOT_SUITES, SETUP_SUITE}:
                item.add_marker(pytest.mark.skip(reason="needs root"))
    elif not config.option.collectonly and any(suite_of(item) in ROOT_SUITES for item in items):
        private_world.enter()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skip whose reason is not listed in skips.txt fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    listed = [line for line in (TESTS / "skips.txt").read_text().splitlines() if line and line[0] != "#"]
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in skipped if report.longrepr}
    unlisted = sorted(reason for reason in reasons if not any(reason.startswith(line) for line in listed))
    if unlisted:
        reporter.write_line(f"skip reasons that tests/skips.txt does not list: {unlisted}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
