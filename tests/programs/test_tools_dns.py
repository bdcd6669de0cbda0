"""nslookup, dig, host and getent: the questions that they send, and what they print of the answers."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Golden

from .playground import Playground

CHANCE = re.compile(r"(, id: |; COOKIE: )[0-9a-f]+")
"""What dig draws by lot."""
FOUND_IN_THE_SECOND = ["ent.prod.dev.svc.cluster.local. A", "ent.prod.svc.cluster.local. A"]
EVERYWHERE = [
    "nope.dev.svc.cluster.local.", "nope.svc.cluster.local.", "nope.cluster.local.", "nope.",
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "busybox", "asked"),
    [
        ("nslookup ent.prod", False, [*FOUND_IN_THE_SECOND, "ent.prod.svc.cluster.local. AAAA"]),
        ("nslookup nope", False, [f"{name} A" for name in EVERYWHERE]),
        ("nslookup cn", False, ["cn.dev.svc.cluster.local. A", "www.example.com. AAAA"]),
        ("nslookup 10.244.2.9", False, ["9.2.244.10.in-addr.arpa. PTR"]),
        ("nslookup sf", False, ["sf.dev.svc.cluster.local. A"]),
        ("nslookup ent.", False, ["ent. A"]),
        ("nslookup ent.prod", True, ["ent.prod. A", "ent.prod. AAAA"]),
        (
            "nslookup nope",
            True,
            [f"{name} {qtype}" for qtype in ("A", "AAAA") for name in EVERYWHERE[:3]],
        ),
        ("dig ent.prod", False, ["ent.prod. A"]),
        ("dig +search ent.prod", False, FOUND_IN_THE_SECOND),
        ("dig -x 10.244.2.9 ent AAAA", False, ["9.2.244.10.in-addr.arpa. PTR", "ent. AAAA"]),
        ("dig SRV ent", False, ["ent. SRV"]),
        ("host ent", False, [f"ent.dev.svc.cluster.local. {qtype}" for qtype in ("A", "AAAA", "MX")]),
        ("host -t SRV ent.prod", False, [line.replace(" A", " SRV") for line in FOUND_IN_THE_SECOND]),
        ("getent ahostsv4 ent", False, ["ent.dev.svc.cluster.local. A"]),
        (
            "getent hosts ent",
            False,
            [
                "ent.dev.svc.cluster.local. AAAA", "ent.svc.cluster.local. AAAA", "ent.cluster.local. AAAA",
                "ent. AAAA", "ent.dev.svc.cluster.local. A",
            ],
        ),
        ("getent ahostsv4 jump", False, []),
        ("ping -c 1 -n ent", False, ["ent.dev.svc.cluster.local. A", "ent.dev.svc.cluster.local. AAAA"]),
        ("curl -s -4 ent", False, ["ent.dev.svc.cluster.local. A"]),
        ("curl -s ent", False, ["ent.dev.svc.cluster.local. A", "ent.dev.svc.cluster.local. AAAA"]),
        ("wget -q ent", False, ["ent.dev.svc.cluster.local. A", "ent.dev.svc.cluster.local. AAAA"]),
        ("wget -q -4 ent", False, ["ent.dev.svc.cluster.local. A"]),
        (
            "ping -c 1 -n -4 ent",
            False,
            ["ent.dev.svc.cluster.local. A", "ent.dev.svc.cluster.local. AAAA"],
        ),
        ("ping -c 1 -4 ent", True, ["ent.dev.svc.cluster.local. A"]),
        ("nc -4 -z ent 8080", False, ["ent.dev.svc.cluster.local. A"]),
    ],
)  # fmt: skip
def test_a_tool_asks_what_the_real_one_asks(line: str, busybox: bool, asked: list[str]) -> None:
    site = Playground()
    site.shell(line, busybox=busybox)
    assert site.dns.asked == asked


TRANSCRIPTS: dict[str, tuple[str, ...]] = {
    "nslookup": (
        "nslookup ent",
        "nslookup ent.prod",
        "nslookup nope",
        "nslookup cn",
        "nslookup head",
        "nslookup www.example.com",
        "nslookup 10.244.2.9",
        "nslookup 1.2.3.4",
        "nslookup -type=srv ent.prod.svc.cluster.local",
        "nslookup -type=AAAA ent",
        "nslookup -type=mx www.example.com",
        "nslookup -type=txt www.example.com",
        "nslookup sf",
        "nslookup rf",
        "nslookup ent.dev.svc.cluster.local 10.244.2.53",
        "nslookup ent ent.prod",
        "nslookup ent nosuchserver",
        "nslookup ent 10.97.0.1",
        "nslookup ent 10.244.1.1",
        "nslookup -timeout=1 -retry=0 ent 10.97.0.1",
        "nslookup -type=bogus ent",
        "nslookup",
    ),
    "dig": (
        "dig ent",
        "dig ent.prod.svc.cluster.local",
        "dig +short ent.prod.svc.cluster.local",
        "dig +search +short ent",
        "dig +noall +answer head.dev.svc.cluster.local",
        "dig -x 10.244.2.9 +short",
        "dig +short cn.dev.svc.cluster.local",
        "dig -t SRV ent.prod.svc.cluster.local +noall +question +answer",
        "dig ent.dev.svc.cluster.local AAAA +nocmd",
        "dig @10.244.2.53 +tcp ent.prod.svc.cluster.local +noall +comments +stats",
        "dig +nocomments +search ent",
        "dig @10.244.1.1 +tries=1 x",
        "dig @10.244.1.1 +tcp +tries=1 x",
        "dig @10.97.0.1 +tries=1 +time=1 x",
        "dig big.dev.svc.cluster.local +noedns +noall +comments",
        "dig @nosuch x",
        "dig -4 +short ent.prod.svc.cluster.local",
        "dig -6 ent.prod.svc.cluster.local",
        "dig -6 +short +tries=1 ent.prod.svc.cluster.local",
        "dig -6 @10.244.2.53 x y",
        "dig -4 @fd00:10:96::a x",
        "dig -6 @ent x",
        "dig -4 -6 x",
        "dig +bogus x",
        "dig -x nonsense",
        "dig +short nope www.example.com MX",
    ),
    "host": (
        "host ent",
        "host ent.prod",
        "host nope",
        "host 10.244.2.9",
        "host 1.2.3.4",
        "host -t SRV ent.prod.svc.cluster.local",
        "host -t AAAA ent",
        "host -t TXT www.example.com",
        "host cn",
        "host sf",
        "host ent 10.244.2.53",
        "host ent 10.244.1.1",
        "host -t bogus ent",
        "host -6 ent",
        "host -6 ent 10.244.2.53",
        "host -4 ent fd00:10:96::a",
        "host -4 -6 ent",
        "host",
    ),
    "getent": (
        "getent hosts ent",
        "getent hosts ent.prod nope",
        "getent hosts cn",
        "getent hosts 10.244.2.9",
        "getent hosts 1.2.3.4",
        "getent hosts jump",
        "getent hosts",
        "getent ahosts head",
        "getent ahostsv4 ent",
        "getent ahosts cn",
        "getent ahosts nope",
        "getent ahosts 10.96.0.1",
        "getent",
        "getent bogus x",
    ),
    "nslookup-busybox": (
        "nslookup ent",
        "nslookup ent.prod",
        "nslookup ent.prod.svc.cluster.local",
        "nslookup nope",
        "nslookup 10.244.2.9",
        "nslookup cn.dev.svc.cluster.local",
        "nslookup www.example.com",
        "nslookup -type=srv ent.prod.svc.cluster.local",
        "nslookup -type=a ent.prod.svc.cluster.local",
        "nslookup sf.dev.svc.cluster.local",
        "nslookup ent.prod.svc.cluster.local 10.244.1.1",
        "nslookup ent.prod.svc.cluster.local 10.97.0.1",
        "nslookup ent.prod.svc.cluster.local nosuch",
        "nslookup 1.2.3.4",
        "nslookup -type=bogus ent",
    ),
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_tool_prints_what_the_real_one_prints(name: str, golden: Golden) -> None:
    transcript = Playground().transcript(TRANSCRIPTS[name], busybox=name.endswith("busybox"))
    golden(f"{name}.txt", CHANCE.sub(r"\1…", transcript))


@pytest.mark.parametrize("tool", ["nslookup", "dig", "host"])
@pytest.mark.parametrize("name", ["a..b", "x" * 64, ".".join(["x" * 60] * 5)])
def test_a_name_that_dns_cannot_carry_is_refused_without_a_query(tool: str, name: str) -> None:
    site = Playground()
    for busybox in (False, True):
        outcome = site.command(tool, name, busybox=busybox)
        assert outcome.exit != 0
        assert name in outcome.stderr
    assert site.dns.asked == []
