"""The shop: one cluster for all tests that only look at it."""

from __future__ import annotations

import pytest

from netsim.checks.report import run_check
from netsim.checks.targets import Book, book_of
from netsim.cluster import Cluster
from tests.checks.shop import Judge, open_shop, read_check


@pytest.fixture(scope="session")
def shop() -> Cluster:
    return open_shop()


@pytest.fixture(scope="session")
def book(shop: Cluster) -> Book:
    return book_of(shop)


@pytest.fixture
def judged(shop: Cluster) -> Judge:
    """``judged(yaml)`` carries a check out in the shop."""
    return lambda text: run_check(shop, read_check(text))
