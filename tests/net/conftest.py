"""A failing test of a network prints the packet walk: what crossed which interface, and why."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.net.network import LATEST


@pytest.fixture(autouse=True)
def _no_network_of_another_test() -> Iterator[None]:
    LATEST.clear()
    yield
    LATEST.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call" and call.excinfo is not None and LATEST:
        report.sections.append(("packet walk", LATEST[0].walk()))
    return report
