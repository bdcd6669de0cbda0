"""Every verb and every ``expect`` key: an example that passes and one that fails, on a real cluster."""

from __future__ import annotations

import pytest

from netsim.checks.fields import FIELDS
from netsim.checks.verbs import VERBS
from netsim.cluster.network_tables import NETWORK_TABLES
from netsim.objects import check_schema
from netsim.objects.node_tables import NODE_TABLES
from tests.checks.shop import Judge, read_check

ANSWER = "shop.prod.svc.cluster.local. 30 IN A 10.96.1.1"

# What is done; what passes; what fails. Each line of the last two is one ``expect``.
EXAMPLES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "from: dev/jump, resolve: shop.prod",
        (
            "{}",
            "{addresses: [svc/prod/shop]}",
            "{addresses: [10.96.1.1]}",
            "{queries: 4}",
            "{queries: [shop.prod.dev.svc.cluster.local, SHOP.prod.svc.cluster.local.]}",
            "{queries: [shop.prod.dev.svc.cluster.local. A, shop.prod.dev.svc.cluster.local. AAAA, "
            "shop.prod.svc.cluster.local A, shop.prod.svc.cluster.local aaaa]}",
            "{within: 10ms}",
            "{after: 0s}",
            "{not: {error: EAI_NONAME}}",
        ),
        (
            "{addresses: [svc/prod/peers]}",
            "{addresses: [svc/prod/shop, svc/prod/deaf]}",
            "{addresses: []}",
            "{error: EAI_NONAME}",
            "{queries: 2}",
            "{queries: [shop.prod.svc.cluster.local]}",
            "{queries: [shop.prod.svc.cluster.local A, shop.prod.dev.svc.cluster.local A]}",
            "{within: 0s}",
            "{after: 5s}",
            "{not: {addresses: [svc/prod/shop]}}",
        ),
    ),
    ("from: dev/jump, resolve: shop.prod, type: A", ("{queries: 2}",), ("{queries: 4}",)),
    (
        "from: dev/jump, resolve: shop.prod, type: AAAA",
        ("{error: EAI_NODATA}", "{addresses: []}"),
        ("{}", "{error: EAI_NONAME}", "{addresses: [svc/prod/shop]}"),
    ),
    (
        "from: dev/jump, resolve: peers.prod",
        ("{addresses: [deploy/prod/shop]}",),
        ("{addresses: [dev/jump]}",),
    ),
    (
        "from: node/node1, resolve: www.example.com",
        ("{addresses: [external/www.example.com]}",),
        ("{queries: 0}",),
    ),
    (
        "from: dev/jump, query: {name: shop.prod.svc.cluster.local}",
        (
            "{}",
            "{rcode: NOERROR}",
            "{answer: [svc/prod/shop]}",
            "{answer: [10.96.1.1]}",
            "{answer: [A 10.96.1.1]}",
            f"{{answer: [{ANSWER}]}}",
            "{authority: [], additional: []}",
        ),
        (
            "{rcode: NXDOMAIN}",
            "{answer: [svc/prod/deaf]}",
            "{answer: []}",
            "{answer: [10.96.1.1, 10.96.1.2]}",
            f"{{answer: [{ANSWER.replace('30', '5')}]}}",
            "{authority: [10.96.1.1]}",
            "{additional: [10.96.1.1]}",
        ),
    ),
    (
        "from: dev/jump, "
        "query: {name: nope.prod.svc.cluster.local., type: AAAA, server: svc/kube-system/kube-dns}",
        ("{rcode: NXDOMAIN}", "{not: {authority: []}}"),
        ("{}", "{rcode: NOERROR}", "{authority: []}"),
    ),
    (
        "from: dev/jump, query: {name: _http._tcp.shop.prod.svc.cluster.local, type: SRV}",
        (
            "{answer: [0 100 8080 shop.prod.svc.cluster.local.]}",
            f"{{additional: [{ANSWER}]}}",
            "{additional: [svc/prod/shop]}",
        ),
        ("{answer: [0 100 80 shop.prod.svc.cluster.local.]}", "{additional: []}"),
    ),
    (
        "from: dev/jump, query: {name: peers.prod.svc.cluster.local}",
        ("{answer: [deploy/prod/shop]}",),
        ("{answer: [svc/prod/shop]}", "{answer: [deploy/prod/shop, dev/jump]}"),
    ),
    (
        "from: dev/jump, query: {name: shop.prod.svc.cluster.local, server: dev/far}",
        ("{not: {rcode: NOERROR}}",),
        ("{}", "{answer: []}", "{rcode: REFUSED}"),
    ),
    (
        "from: dev/jump, connect: 'shop.prod:8080', count: 60",
        (
            "{}",
            "{reached: [deploy/prod/shop]}",
            "{reached: [svc/prod/shop], balanced: true}",
            "{balanced: true}",
            "{source: dev/jump}",
        ),
        (
            "{reached: [dev/far]}",
            "{reached: [deploy/prod/shop, dev/far]}",
            "{balanced: false}",
            "{reached: [deploy/prod/shop, dev/far], balanced: true}",
            "{order: [deploy/prod/shop]}",
            "{order: rr}",
            "{result: refused}",
            "{source: node/node1}",
            "{encapsulation: vxlan}",
            "{encapsulation: none}",
            "{path: [dev/jump, node/node1, deploy/prod/shop]}",
        ),
    ),
    (
        "from: dev/jump, connect: 'shop.prod:8080', count: 3",
        ("{order: [deploy/prod/shop, svc/prod/shop, deploy/prod/shop]}",),
        ("{balanced: true}", "{balanced: false}", "{order: [dev/far, dev/far, dev/far]}"),
    ),
    (
        "from: dev/jump, connect: 'one:80', count: 2",
        (
            "{reached: [dev/far], balanced: true, order: [dev/far, dev/far]}",
            "{path: [dev/jump, node/node1, node/node2, dev/far]}",
            "{encapsulation: vxlan}",
            "{not: {reached: [dev/near]}}",
        ),
        (
            "{order: [dev/far]}",
            "{order: [dev/far, dev/near]}",
            "{path: [dev/jump, node/node2, node/node1, dev/far]}",
            "{path: [dev/jump, dev/far]}",
            "{path: []}",
            "{encapsulation: none}",
            "{balanced: false}",
            "{not: {reached: [dev/far]}}",
        ),
    ),
    (
        "from: dev/jump, connect: 'dev/near:8080'",
        ("{encapsulation: none, path: [dev/jump, node/node1, dev/near]}",),
        ("{encapsulation: vxlan}",),
    ),
    (
        "from: dev/jump, connect: 'dev/onnode:7070'",
        ("{source: node/node1, reached: [node/node2], path: [dev/jump, node/node1, node/node2]}",),
        ("{source: dev/jump}", "{source: node/node2}"),
    ),
    (
        "from: node/node1, connect: 'svc/prod/shop:8080', count: 10",
        ("{source: node/node1, reached: [svc/prod/shop]}",),
        ("{source: node/node2}",),
    ),
    (
        "from: dev/jump, connect: 'external/client:80'",
        ("{source: node/node1, path: [dev/jump, node/node1, router, external/client]}",),
        ("{source: dev/jump}", "{path: [dev/jump, node/node1, external/client]}"),
    ),
    (
        "from: external/client, connect: 'node/node2:7070'",
        ("{reached: [dev/onnode], source: external/client}",),
        ("{reached: [node/node1]}",),
    ),
    (
        "from: dev/jump, connect: 'deaf.prod:80'",
        ("{result: refused}", "{result: refused, reached: [deploy/prod/shop]}", "{not: {result: ok}}"),
        ("{}", "{reached: [deploy/prod/shop]}", "{result: timeout}"),
    ),
    (
        "from: dev/jump, connect: 'empty.prod:80'",
        ("{result: refused}", "{not: {reached: [deploy/prod/shop]}}"),
        ("{}", "{result: refused, reached: [deploy/prod/shop]}", "{result: refused, balanced: true}"),
    ),
    ("from: dev/jump, connect: '10.244.9.9:80'", ("{result: timeout}",), ("{result: unreachable}",)),
    ("from: dev/jump, connect: '192.168.10.99:80'", ("{result: unreachable}",), ("{result: timeout}", "{}")),
    ("from: dev/jump, connect: 'nowhere:80'", ("{not: {result: ok}}",), ("{}", "{path: [dev/jump]}")),
    (
        "from: dev/jump, connect: 'dev/far:9000', protocol: udp, count: 2",
        ("{}", "{reached: [dev/far], encapsulation: vxlan, source: dev/jump}"),
        ("{result: refused}", "{reached: [dev/near]}"),
    ),
    (
        "from: dev/jump, connect: 'dev/far:9001', protocol: udp",
        ("{result: refused}", "{result: refused, reached: [dev/far]}"),
        ("{}", "{result: timeout}"),
    ),
    (
        "from: dev/jump, connect: '10.244.9.9:80', protocol: udp",
        ("{result: timeout}",),
        ("{result: refused}",),
    ),
    ("from: dev/jump, connect: 'nowhere:80', protocol: udp", ("{not: {result: ok}}",), ("{}",)),
    (
        "from: external/client, connect: 'svc/prod/edge:80', via: node2, count: 60",
        ("{}", "{reached: [svc/prod/edge], balanced: true}", "{balanced: true}", "{source: node/node2}"),
        ("{reached: [dev/far]}", "{balanced: false}", "{source: external/client}", "{source: node/node1}"),
    ),
    (
        "from: external/client, connect: 'svc/prod/edge:30080', via: control",
        ("{reached: [deploy/prod/shop]}",),
        ("{result: refused}",),
    ),
    (
        "from: external/client, connect: 'svc/dev/edge:9000', protocol: udp, via: node1",
        ("{reached: [dev/far], path: [external/client, router, node/node1, node/node2, dev/far]}",),
        ("{result: timeout}",),
    ),
    ("from: external/client, connect: 'node/node1:30080'", ("{reached: [svc/prod/edge]}",), ("{path: []}",)),
    (
        "from: dev/near, connect: 'dev/near:8080'",
        ("{path: [dev/near], reached: [dev/near]}",),
        ("{path: []}",),
    ),
    (
        "from: dev/jump, get: 'http://shop.prod:8080/', count: 4",
        (
            "{}",
            "{status: 200}",
            "{body: ^shop on shop-}",
            "{body: shop on}",
            "{reached: [deploy/prod/shop]}",
            "{not: {status: 404}}",
            "{lost: 0}",
        ),
        ("{status: 404}", "{lost: 1}", "{body: ^on}"),
    ),
    (
        "from: dev/jump, get: 'http://shop.prod:8080/', count: 4",
        ("{}",),
        ("{reached: [dev/far]}", "{reached: [deploy/prod/shop, dev/far]}"),
    ),
    (
        "from: dev/jump, get: 'http://shop.prod:8080/', count: 10, every: 1ms",
        ("{status: 200, lost: 0, reached: [deploy/prod/shop]}",),
        ("{status: 404}", "{reached: [dev/far]}"),
    ),
    (
        "from: dev/jump, get: 'http://shop.prod:8080/', count: 60",
        ("{lost: 0, balanced: true, targets: 3}",),
        ("{balanced: false}", "{targets: 1}"),
    ),
    (
        "from: dev/jump, get: 'http://shop.prod:8080/', count: 60, keepAlive: true",
        ("{status: 200, lost: 0, targets: 1}", "{reached: [deploy/prod/shop], balanced: false}"),
        ("{balanced: true}", "{targets: 3}"),
    ),
    (
        "from: dev/jump, get: 'http://shop.prod:8080/', count: 40, keepAlive: true, every: 100s",
        ("{lost: 0}",),
        ("{targets: 1}",),
    ),
    (
        "from: dev/jump, get: 'http://deaf.prod/', count: 40, keepAlive: true",
        ("{lost: 40}",),
        ("{targets: 1}",),
    ),
    (
        "from: dev/jump, connect: 'shop.prod:8080', count: 60, every: 1ms",
        ("{reached: [deploy/prod/shop], balanced: true}", "{targets: 3}"),
        ("{result: refused}", "{reached: [dev/far]}", "{targets: 2}"),
    ),
    (
        "from: dev/jump, connect: 'deaf.prod:80', count: 3, every: 500ms",
        ("{result: refused}",),
        ("{}",),
    ),
    ("from: dev/jump, get: 'http://deaf.prod/', count: 3", ("{lost: 3}",), ("{lost: 2}",)),
    (
        "from: dev/jump, get: 'http://dev/far', headers: {X-Shop: '7'}",
        ("{not: {status: 200}}",),
        ("{}",),
    ),
    (
        "from: dev/jump, get: 'http://one/who', headers: {X-Shop: '7'}",
        ("{body: '^X-Shop: 7$'}", "{body: ^GET /who}"),
        ("{body: '^X-Shop: 8$'}",),
    ),
    (
        "from: dev/jump, get: 'http://deaf.prod/'",
        ("{not: {status: 200}}", "{reached: [deploy/prod/shop]}"),
        ("{}", "{status: 200}", "{body: ''}"),
    ),
    ("from: dev/jump, get: 'http://nowhere/'", ("{not: {reached: [dev/far]}}",), ("{}", "{body: .*}")),
    (
        "from: dev/jump, ping: dev/far, count: 3",
        ("{}", "{result: ok, ttl: 62, lost: 0}"),
        ("{result: timeout}", "{ttl: 63}", "{lost: 1}", "{not: {lost: 0}}"),
    ),
    ("from: dev/jump, ping: one.dev", ("{not: {result: ok}}",), ("{}",)),
    ("from: dev/jump, ping: www.example.com", ("{result: ok}",), ("{lost: 1}",)),
    ("from: dev/jump, ping: deploy/prod/shop", ("{lost: 0}",), ("{result: unreachable}",)),
    (
        "from: dev/jump, ping: 10.244.9.9, count: 2",
        ("{result: timeout, lost: 2}",),
        ("{}", "{result: timeout, lost: 1}", "{result: timeout, ttl: 64}", "{result: unreachable}"),
    ),
    (
        "from: dev/jump, ping: 192.168.10.99, count: 2",
        (
            "{result: unreachable, lost: 2}",
            "{result: unreachable, error: host-unreachable, errorFrom: node/node1}",
        ),
        (
            "{result: timeout}",
            "{result: unreachable, error: port-unreachable}",
            "{lost: 2, errorFrom: dev/far}",
        ),
    ),
    ("from: dev/jump, ping: dev/far", ("{}",), ("{error: host-unreachable}", "{errorFrom: node/node1}")),
    ("from: dev/jump, ping: dev/far, size: 3000, df: true", ("{result: unreachable}",), ("{}",)),
    ("from: dev/jump, ping: dev/far, size: 3000", ("{lost: 0}",), ("{lost: 1}",)),
    ("from: dev/jump, ping: nowhere", ("{not: {result: ok}}",), ("{}", "{lost: 0}", "{lost: 1}")),
    (
        "from: dev/jump, exec: [sh, -c, 'cat; echo end; exit 3'], stdin: \"start\\n\"",
        ("{exit: 3}", "{stdout: ^start$}", "{stdout: 'end', exit: 3}"),
        ("{}", "{exit: 0}", "{stdout: ^tart}"),
    ),
    ("from: node/node1, exec: [hostname]", ("{}", "{stdout: ^node1$}"), ("{exit: 1}",)),
    (
        "table: {node: node1, show: routes}",
        (
            "{}",
            "{contains: '10.244.2.0/24 via 10.244.2.0 dev flannel.1'}",
            "{lacks: 10.244.9.0/24}",
            "{contains: [default via, 'dev   cni0'], lacks: [ppp0, wg0]}",
        ),
        (
            "{contains: 10.244.9.0/24}",
            "{contains: [default via, ppp0]}",
            "{lacks: flannel}",
            "{lacks: [ppp0, cni0]}",
        ),
    ),
    ("table: {node: node1, show: fdb}", ("{contains: dev flannel.1 dst 192.168.10.12}",), ("{contains: x}",)),
    ("table: {node: node2, show: proxy}", ("{contains: 10.96.1.1}",), ("{lacks: 10.96.1.1}",)),
    ("table: {node: node1, show: conntrack}", ("{lacks: 10.244.8.8}",), ("{contains: 10.244.8.8}",)),
    ("table: {node: node1, show: addresses}", ("{contains: inet 192.168.10.11/24}",), ("{lacks: cni0}",)),
    ("table: {node: node1, show: neighbours}", ("{contains: 192.168.10.12}",), ("{contains: 10.9.9.9}",)),
    (
        "capture: {on: node1/eth0, filter: vxlan}, during: {from: dev/jump, connect: 'dev/far:8080'}",
        (
            "{}",
            "{count: 7}",
            "{fields: {vxlan.vni: 1, udp.dstport: 8472, ip.addr: dev/jump}}",
            "{not: {count: 0}}",
        ),
        (
            "{count: 6}",
            "{fields: {vxlan.vni: 2}}",
            "{fields: {vxlan.vni: 1, udp.dstport: 4789}}",
            "{fields: {ip.addr: dev/near}}",
        ),
    ),
    (
        "capture: {on: node1/eth0, filter: vxlan}, during: {from: dev/jump, connect: 'dev/near:8080'}",
        ("{count: 0}",),
        ("{fields: {vxlan.vni: 1}}", "{count: 1}"),
    ),
    (
        "capture: {on: node1/eth0, filter: icmp}, "
        "during: {from: dev/jump, connect: 'empty.prod:80', expect: {result: refused}}",
        ("{count: 0}",),
        ("{count: 1}",),
    ),
    (
        "capture: {on: dev/jump, filter: dns}, during: {from: dev/jump, resolve: shop.prod, type: A}",
        ("{count: 4, fields: {udp.port: 53, dns.qry.type: 1}}",),
        ("{fields: {dns.qry.name: shop.prod.svc.cluster.local}}",),
    ),
)


def cases(*, passing: bool) -> list[str]:
    return [
        f"{{{done}, expect: {expect}}}"
        for done, good, bad in EXAMPLES
        for expect in (good if passing else bad)
    ]


@pytest.mark.parametrize("text", cases(passing=True))
def test_passes(judged: Judge, text: str) -> None:
    result = judged(text)
    assert result.passed, f"{result.observed}\n" + "\n".join(result.walk)


@pytest.mark.parametrize("text", cases(passing=False))
def test_fails_with_what_was_there_instead(judged: Judge, text: str) -> None:
    result = judged(text)
    assert not result.passed
    assert result.observed


# --- nothing is admitted that is not judged, and nothing is judged without an example -----------------------


def test_the_schema_admits_exactly_the_verbs_and_keys_that_are_judged() -> None:
    admitted = {verb.name: set(verb.expect) for verb in check_schema.VERBS}
    assert {name: set(verb.judges) for name, verb in VERBS.items()} == admitted


def test_the_schema_admits_exactly_the_tables_that_there_are() -> None:
    assert set(NODE_TABLES) == set(NETWORK_TABLES)


@pytest.mark.parametrize("passing", [True, False])
def test_every_key_has_an_example(passing: bool) -> None:
    shown = set()
    for check in map(read_check, cases(passing=passing)):
        shown |= {(check.verb, key) for key in check.expect}
    assert shown == {(name, key) for name, verb in VERBS.items() for key in verb.judges}


def test_every_argument_has_an_example() -> None:
    shown: set[tuple[str, str]] = set()
    for check in map(read_check, cases(passing=True)):
        shown |= {(check.verb, key) for key in check.arguments}
    wanted = {(verb.name, key) for verb in check_schema.VERBS for key in verb.more if key != "libc"}
    assert wanted <= shown


def test_what_is_assumed_is_judged() -> None:
    for verb in VERBS.values():
        assert {*verb.assumed, *verb.at_least} <= set(verb.judges)


def test_every_field_of_packets_is_one_of_wiresharks() -> None:
    assert all(name == name.lower() and "." in name for name in FIELDS)
