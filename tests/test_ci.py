"""What the tests need of a machine is what CI installs there: nothing is skipped for lack of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

# The Debian package of each command that a test names with ``needs``; None is in every Debian.
PACKAGES = {
    "bash": None,
    "bird": "bird2",
    "birdc": "bird2",
    "busybox": "busybox",
    "curl": "curl",
    "dash": None,
    "dig": "bind9-dnsutils",
    "dot": "graphviz",
    "getent": None,
    "host": "bind9-dnsutils",
    "ip": "iproute2",
    "ip6tables-restore": "iptables",
    "iptables-restore": "iptables",
    "iptables-save": "iptables",
    "mount": None,
    "nc": "netcat-openbsd",
    "nft": "nftables",
    "nsenter": "util-linux",
    "nslookup": "bind9-dnsutils",
    "ping": "iputils-ping",
    "redis-cli": "redis-server",
    "redis-server": "redis-server",
    "telnet": "inetutils-telnet",
    "tshark": "tshark",
    "unshare": "util-linux",
    "wget": "wget",
}
PRIVILEGES = {"root", "netns"}


def needed() -> Iterator[tuple[str, str]]:
    """Every word that stands in a ``needs`` marker, or in a tuple NEEDS, with its file."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            for word in _words(node):
                yield word, str(path.relative_to(ROOT))


def _words(node: ast.AST) -> Iterator[str]:
    values: list[ast.expr] = []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "needs":
        values = node.args
    elif isinstance(node, ast.Assign) and any(getattr(to, "id", "") == "NEEDS" for to in node.targets):
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
    yield from (value.value for value in values if isinstance(value, ast.Constant))


def installed() -> set[str]:
    """The packages of .ci/run."""
    text = Path(ROOT / ".ci" / "run").read_text(encoding="utf-8")
    return set(text.partition("PACKAGES=(")[2].partition(")")[0].split())


def test_every_command_that_a_test_needs_comes_with_a_package_that_ci_installs() -> None:
    found = dict(needed())
    commands = found.keys() - PRIVILEGES
    assert commands >= {"bird", "dig", "tshark"}
    assert {word: found[word] for word in commands if word not in PACKAGES} == {}
    wanted = {package for word in commands if (package := PACKAGES[word]) is not None}
    assert wanted - installed() == set()
