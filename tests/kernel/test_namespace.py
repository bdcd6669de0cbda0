"""The test's own namespaces leave nothing behind, and nobody in them."""

from __future__ import annotations

import os
import socket

import pytest

from tests.kernel.namespace import OWN, Namespace
from tests.kernel.node import KernelNode, NodeAddresses

pytestmark = pytest.mark.needs("root", "netns", "nsenter", "ip")


def here() -> tuple[int, list[str], set[int]]:
    """The namespace that this thread is in, its devices, and the processors that it may use."""
    return os.stat(OWN).st_ino, [name for _, name in socket.if_nameindex()], os.sched_getaffinity(0)


def test_whoever_enters_comes_back_after_a_mistake_too() -> None:
    before = here()
    namespace = Namespace()
    with pytest.raises(KeyboardInterrupt), namespace.entered():
        assert here()[0] != before[0]
        raise KeyboardInterrupt
    namespace.close()
    assert here() == before


@pytest.mark.parametrize("own", ["192.0.2.11/24", "no address"])
def test_a_node_that_was_stopped_or_never_stood_leaves_nothing(own: str) -> None:
    before, descriptors = here(), len(os.listdir("/proc/self/fd"))
    node = KernelNode(NodeAddresses((own,), ("10.42.1.0/24",)), {})
    with pytest.raises((KeyboardInterrupt, AssertionError, ValueError)), node:
        raise KeyboardInterrupt
    assert here() == before
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_command_that_fails_says_why() -> None:
    namespace = Namespace()
    with pytest.raises(AssertionError, match="Cannot find device"):
        namespace.run("ip", "link", "set", "nowhere0", "up")
    namespace.close()
