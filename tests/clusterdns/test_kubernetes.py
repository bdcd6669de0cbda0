"""The kubernetes plugin: which names exist, with which records, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netsim.clusterdns.chain import Transport
from netsim.objects.core import ServicePort
from netsim.objects.meta import Object, ObjectMeta
from netsim.objects.multicluster import CLUSTER_LABEL, SERVICE_NAME_LABEL, ServiceImport, ServiceImportSpec
from netsim.wire import dns
from netsim.wire.dns import Message, Rcode
from tests.clusterdns.world import (
    CLUSTER,
    ROOT_SOA,
    World,
    address_of,
    answering,
    endpoint,
    endpoint_slice,
    external,
    lines,
    namespace,
    pod,
    service,
    values,
)

SOA = "cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1767225600 7200 1800 86400 5"
UPSTREAM = {"192.168.10.1": answering(address_of("www.example.com."))}


def kubernetes(*options: str, zones: str = "cluster.local in-addr.arpa ip6.arpa", after: str = "") -> str:
    body = "\n  ".join(options)
    return f". {{\n kubernetes {zones} {{\n  {body}\n }}\n {after}\n}}"


def world(*options: str, objects: tuple[Object, ...] = (), after: str = "") -> World:
    return World(kubernetes(*options, after=after), (*CLUSTER, *objects), UPSTREAM)


ANSWERS = [
    ("ent.prod.svc.cluster.local.", "A", ["10.96.0.20"]),
    ("db.prod.svc.cluster.local.", "A", ["10.244.1.7", "10.244.2.8"]),
    ("db-0.db.prod.svc.cluster.local.", "A", ["10.244.1.7"]),
    ("10-244-1-5.ent.prod.svc.cluster.local.", "A", ["10.244.1.5"]),
    ("http.tcp.ent.prod.svc.cluster.local.", "A", ["10.96.0.20"]),
    ("ENT.Prod.Svc.Cluster.Local.", "A", ["10.96.0.20"]),
    ("ent.prod.svc.cluster.local.", "SRV", [
        "0 50 80 ent.prod.svc.cluster.local.", "0 50 9090 ent.prod.svc.cluster.local.",
    ]),
    ("_http._tcp.ent.prod.svc.cluster.local.", "SRV", ["0 100 80 ent.prod.svc.cluster.local."]),
    ("_pg._tcp.db.prod.svc.cluster.local.", "SRV", [
        "0 50 5432 db-0.db.prod.svc.cluster.local.", "0 50 5432 db-1.db.prod.svc.cluster.local.",
    ]),
    ("db-1.db.prod.svc.cluster.local.", "SRV", ["0 100 5432 db-1.db.prod.svc.cluster.local."]),
    ("20.0.96.10.in-addr.arpa.", "PTR", ["ent.prod.svc.cluster.local."]),
    ("5.1.244.10.in-addr.arpa.", "PTR", ["10-244-1-5.ent.prod.svc.cluster.local."]),
    ("7.1.244.10.in-addr.arpa.", "PTR", ["db-0.db.prod.svc.cluster.local."]),
    ("web.prod.svc.cluster.local.", "CNAME", ["www.example.com."]),
    ("dns-version.cluster.local.", "TXT", ['"1.1.0"']),
    ("cluster.local.", "NS", ["kube-dns.kube-system.svc.cluster.local."]),
    ("ns.dns.cluster.local.", "A", ["10.96.0.10"]),
    ("cluster.local.", "SOA", [SOA.partition("SOA ")[2]]),
]  # fmt: skip

NODATA = [
    ("ent.prod.svc.cluster.local.", "AAAA"),
    ("ent.prod.svc.cluster.local.", "MX"),
    ("ent.prod.svc.cluster.local.", "ANY"),
    ("ent.prod.svc.cluster.local.", "TXT"),
    ("ent.prod.svc.cluster.local.", "HTTPS"),
    ("prod.svc.cluster.local.", "A"),
    ("svc.cluster.local.", "A"),
    ("pod.cluster.local.", "A"),
    ("cluster.local.", "A"),
    ("web.prod.svc.cluster.local.", "SRV"),
    ("web.prod.svc.cluster.local.", "TXT"),
    ("nosuch.prod.svc.cluster.local.", "SOA"),  # below the apex nothing is looked up
    ("ns.dns.cluster.local.", "AAAA"),
    ("CLUSTER.local.", "NS"),  # the apex is compared with the query's own spelling
]

NXDOMAIN = [
    ("nosuch.prod.svc.cluster.local.", "A", "no Service nosuch in namespace prod"),
    ("ent.nowhere.svc.cluster.local.", "A", "no namespace nowhere"),
    ("ent.dev.svc.cluster.local.", "A", "no Service ent in namespace dev"),
    ("foo.cluster.local.", "A", "'foo' is neither svc nor pod"),
    ("a.b.c.ent.prod.svc.cluster.local.", "A", "the name has too many labels"),
    ("_tcp.ent.prod.svc.cluster.local.", "A", "svc prod/ent has no ready endpoint named _tcp"),
    ("_x._tcp.ent.prod.svc.cluster.local.", "SRV", "svc prod/ent has no port x tcp"),
    ("_x._tcp.db.prod.svc.cluster.local.", "SRV", "svc prod/db has no port x tcp at a ready endpoint"),
    ("db-2.db.prod.svc.cluster.local.", "A", "svc prod/db has no ready endpoint named db-2"),
    ("10-244-1-7.db.prod.svc.cluster.local.", "A", "no ready endpoint named 10-244-1-7"),
    ("x.web.prod.svc.cluster.local.", "A", "svc prod/web is an ExternalName, nothing is below it"),
    ("10-244-1-5.prod.pod.cluster.local.", "A", "Pod names are switched off (pods disabled)"),
    ("prod.pod.cluster.local.", "A", "Pod names are switched off (pods disabled)"),
    ("prod.svc.cluster.local.", "TXT", "TXT exists for dns-version alone"),
    ("dns-version.cluster.local.", "A", "neither svc nor pod"),
    ("1.1.168.192.in-addr.arpa.", "PTR", "no Service has 192.168.1.1 as ClusterIP or ready endpoint"),
    ("20.0.96.10.in-addr.arpa.", "A", "is neither svc nor pod"),
    ("x.96.10.in-addr.arpa.", "PTR", "is neither svc nor pod"),
    ("ent.prod.svc.in-addr.arpa.", "A", "reverse names have PTR records only"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "qtype", "expected"), ANSWERS)
def test_a_name_that_exists_is_answered(name: str, qtype: str, expected: list[str]) -> None:
    reply = world().ask(name, qtype)
    assert values(reply) == expected
    assert all(record.name == name for record in reply.answers)
    assert (reply.rcode, reply.authoritative, reply.recursion_available) == (Rcode.NOERROR, True, False)
    assert reply.authority == ()


@pytest.mark.parametrize(("name", "qtype"), NODATA)
def test_a_name_without_such_records_is_nodata(name: str, qtype: str) -> None:
    coredns = world()
    reply = coredns.ask(name, qtype)
    zone = name[-len("cluster.local.") :]
    assert (reply.rcode, reply.answers) == (Rcode.NOERROR, ())
    assert lines(reply.authority) == [SOA.replace("cluster.local.", zone)]
    assert coredns.cause.startswith("kubernetes: ")
    assert coredns.cause.endswith(": NODATA")


@pytest.mark.parametrize(("name", "qtype", "why"), NXDOMAIN)
def test_a_name_that_does_not_exist_is_nxdomain(name: str, qtype: str, why: str) -> None:
    coredns = world()
    reply = coredns.ask(name, qtype)
    zone = "in-addr.arpa." if name.endswith("arpa.") else "cluster.local."
    assert (reply.rcode, reply.answers) == (Rcode.NXDOMAIN, ())
    assert lines(reply.authority) == [SOA.replace("cluster.local.", zone)]
    assert coredns.cause.startswith("kubernetes: ")
    assert coredns.cause.endswith(f"{why}: NXDOMAIN")


@pytest.mark.parametrize(
    ("name", "qtype", "cause"),
    [
        ("ent.prod.svc.cluster.local.", "A", "kubernetes: svc prod/ent has ClusterIP 10.96.0.20"),
        ("db.prod.svc.cluster.local.", "A", "kubernetes: headless svc prod/db has 2 ready endpoints"),
        ("db-0.db.prod.svc.cluster.local.", "A", "kubernetes: endpoint db-0 of svc prod/db"),
        (
            "web.prod.svc.cluster.local.",
            "A",
            "kubernetes: svc prod/web is an ExternalName for www.example.com",
        ),
        ("20.0.96.10.in-addr.arpa.", "PTR", "kubernetes: 10.96.0.20 is the ClusterIP of svc prod/ent"),
    ],
)
def test_a_reply_carries_its_reason(name: str, qtype: str, cause: str) -> None:
    coredns = world()
    coredns.ask(name, qtype)
    assert coredns.cause == cause


class TestSrv:
    def test_additional_records_are_the_targets_addresses(self) -> None:
        reply = world().ask("db.prod.svc.cluster.local.", "SRV")
        assert lines(reply.additional) == [
            "db-0.db.prod.svc.cluster.local. 5 A 10.244.1.7",
            "db-1.db.prod.svc.cluster.local. 5 A 10.244.2.8",
        ]

    def test_weights_count_what_is_then_left_out_as_a_duplicate(self) -> None:
        twice = service("prod/dns", "10.96.0.53", ("dns", 53), ("dns-tcp", 53))
        reply = world(objects=(twice,)).ask("dns.prod.svc.cluster.local.", "SRV")
        assert values(reply) == ["0 50 53 dns.prod.svc.cluster.local."]

    def test_the_weight_is_at_least_one(self) -> None:
        many = [endpoint(f"10.1.0.{n}") for n in range(1, 202)]
        crowd = (service("prod/crowd", "None"), endpoint_slice("prod/crowd", *many))
        reply = world(objects=crowd).ask("crowd.prod.svc.cluster.local.", "SRV", edns=dns.Edns(65535))
        assert {record.data.weight for record in reply.answers} == {1}

    def test_a_service_without_ports_has_addresses_and_no_srv(self) -> None:
        bare = (service("prod/bare", "None"), endpoint_slice("prod/bare", endpoint("10.1.0.1"), ports=()))
        coredns = world(objects=bare)
        assert values(coredns.ask("bare.prod.svc.cluster.local.", "A")) == ["10.1.0.1"]
        reply = coredns.ask("bare.prod.svc.cluster.local.", "SRV")
        assert (reply.rcode, reply.answers, reply.additional) == (Rcode.NOERROR, (), ())


class TestEndpoints:
    def test_slices_of_one_service_are_merged_and_duplicates_collapse(self) -> None:
        more = endpoint_slice("prod/db", endpoint("10.244.1.7"), endpoint("10.244.3.3"), suffix="2")
        reply = world(objects=(more,)).ask("db.prod.svc.cluster.local.")
        assert values(reply) == ["10.244.1.7", "10.244.2.8", "10.244.3.3"]

    def test_a_headless_service_without_ready_endpoint_is_nxdomain(self) -> None:
        idle = (service("prod/idle", "None"), endpoint_slice("prod/idle", endpoint("10.1.0.1", ready=False)))
        assert world(objects=idle).ask("idle.prod.svc.cluster.local.").rcode == Rcode.NXDOMAIN

    def test_a_cluster_ip_answers_without_endpoints(self) -> None:
        lonely = service("prod/lonely", "10.96.0.77")
        assert values(world(objects=(lonely,)).ask("lonely.prod.svc.cluster.local.")) == ["10.96.0.77"]

    def test_an_unknown_readiness_counts_as_ready(self) -> None:
        unsure = (
            service("prod/unsure", "None"),
            endpoint_slice("prod/unsure", endpoint("10.1.0.1", ready=None)),
        )
        assert values(world(objects=unsure).ask("unsure.prod.svc.cluster.local.")) == ["10.1.0.1"]

    def test_two_services_of_one_pod_give_two_ptr_records(self) -> None:
        second = endpoint_slice("prod/second", endpoint("10.244.1.5"))
        reply = world(objects=(second,)).ask("5.1.244.10.in-addr.arpa.", "PTR")
        assert values(reply) == [
            "10-244-1-5.ent.prod.svc.cluster.local.", "10-244-1-5.second.prod.svc.cluster.local.",
        ]  # fmt: skip

    def test_a_dual_stack_service_has_both_families(self) -> None:
        dual = service("prod/dual", "10.96.0.88", ("http", 80), more=["fd00::88"])
        coredns = world(objects=(dual,))
        assert values(coredns.ask("dual.prod.svc.cluster.local.", "AAAA")) == ["fd00::88"]
        assert coredns.cause == "kubernetes: svc prod/dual has ClusterIPs 10.96.0.88, fd00::88"
        reverse = "8.8." + "0." * 26 + "0.0.d.f.ip6.arpa."
        assert values(coredns.ask(reverse, "PTR")) == ["dual.prod.svc.cluster.local."]


class TestExternalName:
    def test_a_target_outside_is_resolved_through_the_whole_server(self) -> None:
        coredns = world("fallthrough", after="forward . /etc/resolv.conf")
        reply = coredns.ask("web.prod.svc.cluster.local.")
        assert lines(reply.answers) == [
            "web.prod.svc.cluster.local. 5 CNAME www.example.com.",
            "www.example.com. 300 A 203.0.113.80",
        ]
        assert reply.authoritative

    def test_an_unknown_target_leaves_the_bare_cname(self) -> None:
        coredns = world(after="forward . /etc/resolv.conf")
        coredns.upstreams["192.168.10.1"] = answering(rcode=Rcode.NXDOMAIN, authority=[ROOT_SOA])
        reply = coredns.ask("web.prod.svc.cluster.local.")
        assert lines(reply.answers) == ["web.prod.svc.cluster.local. 5 CNAME www.example.com."]
        assert (reply.rcode, reply.authority) == (Rcode.NOERROR, ())

    def test_a_target_inside_is_followed_without_asking_anybody(self) -> None:
        alias = external("dev/alias", "ent.prod.svc.cluster.local")
        reply = world(objects=(alias,)).ask("alias.dev.svc.cluster.local.")
        assert [dns.type_name(record.rtype) for record in reply.answers] == ["CNAME", "A"]
        assert values(reply) == ["10.96.0.20", "ent.prod.svc.cluster.local."]

    @pytest.mark.parametrize(
        "target",
        ["nosuch.prod.svc.cluster.local", "alias.dev.svc.cluster.local", "loop.dev.svc.cluster.local"],
    )
    def test_a_target_inside_that_leads_nowhere_is_nodata(self, target: str) -> None:
        objects = (external("dev/alias", target), external("dev/loop", "alias.dev.svc.cluster.local"))
        reply = world(objects=objects).ask("alias.dev.svc.cluster.local.")
        assert (reply.rcode, reply.answers) == (Rcode.NOERROR, ())

    @pytest.mark.parametrize(("links", "followed"), [(11, True), (12, False)])
    def test_a_chain_inside_is_followed_so_far(self, links: int, followed: bool) -> None:
        chain = [external(f"dev/a{n}", f"a{n + 1}.dev.svc.cluster.local") for n in range(links)]
        coredns = world(objects=(*chain, service(f"dev/a{links}", "10.96.0.99")))
        reply = coredns.ask("a0.dev.svc.cluster.local.", edns=dns.Edns(4096))
        assert len(reply.answers) == (links + 1 if followed else 0)

    def test_two_zones_that_point_at_each_other_end(self) -> None:
        text = "a {\n kubernetes\n}\nb {\n kubernetes\n}"
        pair = (external("prod/x", "y.prod.svc.b"), external("prod/y", "x.prod.svc.a"))
        reply = World(text, (*CLUSTER, *pair)).ask("x.prod.svc.a.")
        assert {dns.type_name(record.rtype) for record in reply.answers} == {"CNAME"}

    @pytest.mark.parametrize("target", ["10.1.2.3", "fd00::1"])
    def test_an_address_is_no_name(self, target: str) -> None:
        alias = external("dev/alias", target)
        assert world(objects=(alias,)).ask("alias.dev.svc.cluster.local.").rcode == Rcode.NXDOMAIN

    def test_a_target_that_cannot_be_a_name_is_no_crash(self) -> None:
        broken = external("dev/broken", "a..b")
        coredns = world(objects=(broken,), after="forward . /etc/resolv.conf")
        assert coredns.ask("broken.dev.svc.cluster.local.").answers == ()
        assert coredns.ask("broken.dev.svc.cluster.local.", "CNAME").rcode == Rcode.SERVFAIL


class TestOptions:
    def test_ttl(self) -> None:
        reply = world("ttl 400").ask("nosuch.prod.svc.cluster.local.")
        assert (reply.authority[0].ttl, reply.authority[0].data.minimum) == (300, 400)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("10-1-2-3.prod.pod.cluster.local.", ["10.1.2.3"]),
            ("x.10-1-2-3.prod.pod.cluster.local.", ["10.1.2.3"]),
            ("10-1-2-3.nowhere.pod.cluster.local.", None),
            ("10-1-2-333.prod.pod.cluster.local.", None),
            ("prod.pod.cluster.local.", []),
        ],
    )
    def test_pods_insecure_believes_the_name(self, name: str, expected: list[str] | None) -> None:
        reply = world("pods insecure").ask(name)
        assert reply.rcode == (Rcode.NXDOMAIN if expected is None else Rcode.NOERROR)
        assert values(reply) == (expected or [])

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("10-1-2-3.prod.pod.cluster.local.", True),
            ("10-1-2-3.dev.pod.cluster.local.", False),
            ("10-1-2-4.prod.pod.cluster.local.", False),
            ("10-1-2-5.prod.pod.cluster.local.", False),
        ],
    )
    def test_pods_verified_wants_a_pod(self, name: str, found: bool) -> None:
        pods = (
            pod("prod/a", "10.1.2.3"),
            pod("prod/gone", "10.1.2.4", phase="Succeeded"),
            pod("prod/ending", "10.1.2.5", deleted=True),
        )
        reply = world("pods verified", objects=pods).ask(name)
        assert reply.rcode == (Rcode.NOERROR if found else Rcode.NXDOMAIN)

    def test_endpoint_pod_names(self) -> None:
        named = endpoint_slice("prod/ent", endpoint("10.244.9.9", pod="ent-abc"), suffix="2")
        coredns = world("endpoint_pod_names", objects=(named,))
        assert values(coredns.ask("ent-abc.ent.prod.svc.cluster.local.")) == ["10.244.9.9"]
        assert coredns.ask("10-244-9-9.ent.prod.svc.cluster.local.").rcode == Rcode.NXDOMAIN

    def test_namespaces(self) -> None:
        coredns = world("namespaces dev")
        assert coredns.ask("ent.prod.svc.cluster.local.").rcode == Rcode.NXDOMAIN
        assert coredns.ask("20.0.96.10.in-addr.arpa.", "PTR").rcode == Rcode.NXDOMAIN

    def test_namespace_labels_do_not_hide_ptr(self) -> None:
        coredns = world("namespace_labels team=a", objects=(namespace("dev", team="a"),))
        assert coredns.ask("ent.prod.svc.cluster.local.").rcode == Rcode.NXDOMAIN
        assert coredns.ask("20.0.96.10.in-addr.arpa.", "PTR").rcode == Rcode.NOERROR

    def test_labels_choose_services(self) -> None:
        labelled = service("prod/seen", "10.96.0.99", tier="prod")
        coredns = world("labels tier in (prod, staging)", objects=(labelled,))
        assert coredns.ask("seen.prod.svc.cluster.local.").rcode == Rcode.NOERROR
        assert coredns.ask("ent.prod.svc.cluster.local.").rcode == Rcode.NXDOMAIN

    def test_noendpoints(self) -> None:
        coredns = world("noendpoints")
        assert coredns.ask("db.prod.svc.cluster.local.").rcode == Rcode.NXDOMAIN
        assert coredns.ask("ent.prod.svc.cluster.local.").rcode == Rcode.NOERROR

    def test_ignore_empty_service(self) -> None:
        coredns = world("ignore empty_service", objects=(service("prod/empty", "10.96.0.66"),))
        assert coredns.ask("empty.prod.svc.cluster.local.").rcode == Rcode.NXDOMAIN
        assert coredns.ask("ent.prod.svc.cluster.local.").rcode == Rcode.NOERROR

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("a.pin._zone.z.prod.svc.cluster.local.", ["10.1.0.1"]),
            ("c.pin._zone.z.prod.svc.cluster.local.", []),
            ("c.prefer._zone.z.prod.svc.cluster.local.", ["10.1.0.1", "10.1.0.2"]),
        ],
    )
    def test_zonal(self, name: str, expected: list[str]) -> None:
        spread = [endpoint("10.1.0.1", zone="A"), endpoint("10.1.0.2", zone="b")]
        reply = world("zonal", objects=(service("prod/z", "None"), endpoint_slice("prod/z", *spread))).ask(
            name
        )
        assert (reply.rcode, values(reply)) == (Rcode.NOERROR, expected)
        assert world(objects=(service("prod/z", "None"),)).ask(name).rcode == Rcode.NXDOMAIN

    def test_fallthrough_passes_nxdomain_of_its_zones_on(self) -> None:
        coredns = world("fallthrough in-addr.arpa", after="forward . /etc/resolv.conf")
        coredns.ask("1.1.168.192.in-addr.arpa.", "PTR")
        assert coredns.cause == "forward: answer from 192.168.10.1"
        coredns.ask("nosuch.prod.svc.cluster.local.")
        assert coredns.cause.endswith("NXDOMAIN")

    def test_fallthrough_never_passes_nodata_on(self) -> None:
        coredns = world("fallthrough", after="forward . /etc/resolv.conf")
        coredns.ask("ent.prod.svc.cluster.local.", "AAAA")
        assert coredns.asked == []

    def test_before_the_watches_have_caught_up_nxdomain_is_servfail(self) -> None:
        coredns = world()
        coredns.zone.synced = False
        reply = coredns.ask("nosuch.prod.svc.cluster.local.")
        assert (reply.rcode, len(reply.authority)) == (Rcode.SERVFAIL, 1)
        assert coredns.ask("ent.prod.svc.cluster.local.").rcode == Rcode.NOERROR


class TestMulticluster:
    def ask(self, name: str, qtype: str, transport: Transport = Transport.UDP) -> Message:
        ports = (ServicePort(5432, "pg"),)
        far = endpoint_slice("prod/far", endpoint("10.4.0.1", hostname="db-0"), ports=[("pg", 5433)])
        labels = {SERVICE_NAME_LABEL: "far", CLUSTER_LABEL: "East"}
        objects: tuple[Object, ...] = (
            namespace("prod"),
            ServiceImport(
                metadata=ObjectMeta(name="far", namespace="prod"),
                spec=ServiceImportSpec("Headless", (), ports),
            ),
            replace(far, metadata=replace(far.metadata, labels=labels)),
            ServiceImport(
                metadata=ObjectMeta(name="bare", namespace="prod"),
                spec=ServiceImportSpec("ClusterSetIP", (), ()),
            ),
        )
        text = ". {\n transfer {\n  to *\n }\n kubernetes set.local {\n  multicluster set.local\n }\n}"
        return World(text, objects).ask(name, qtype, transport=transport)

    def test_a_clusters_name_is_spelled_as_its_label(self) -> None:
        host = "db-0.East.far.prod.svc.set.local."
        for name in ("far.prod.svc.set.local.", "db-0.EAST.far.prod.svc.set.local."):
            assert values(self.ask(name, "SRV")) == [f"0 100 5433 {host}"]

    def test_an_import_without_ports_does_not_exist(self) -> None:
        assert self.ask("bare.prod.svc.set.local.", "A").rcode == Rcode.NXDOMAIN
        answers = self.ask("set.local.", "AXFR", transport=Transport.TCP).answers
        assert not any(record.name.startswith("bare.") for record in answers)


def test_without_an_endpoint_of_its_own_the_server_names_itself() -> None:
    reply = World(kubernetes(), (namespace("prod"),)).ask("cluster.local.", "NS")
    assert values(reply) == ["ns.dns.cluster.local."]
    assert lines(reply.additional) == ["ns.dns.cluster.local. 5 A 10.244.0.2"]


def test_a_zone_transfer_is_refused() -> None:
    assert world().ask("cluster.local.", "AXFR").rcode == Rcode.REFUSED


def test_labels_with_dots_in_them_are_no_zone_boundary() -> None:
    coredns = world()
    assert (
        coredns.ask("x\\.cluster.local.").rcode == Rcode.SERVFAIL
    )  # not in the zone, and nobody else is here
    assert coredns.ask("a\\.b.prod.svc.cluster.local.").rcode == Rcode.NXDOMAIN
    assert coredns.ask("a\\..prod.svc.cluster.local.").rcode == Rcode.NXDOMAIN
