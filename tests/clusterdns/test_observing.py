"""What a CoreDNS tells about itself: log lines, metrics, readiness; and when it ends itself or reloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from netsim.wire import dns
from netsim.wire.dns import Edns, Rcode
from tests.clusterdns.world import World, address_of, answering, silent, values

ENT = "ent.prod.svc.cluster.local."
UPSTREAM = "192.0.2.1"


def serving(*plugins: str, **options: Any) -> World:
    body = "\n ".join(plugins)
    return World(f". {{\n {body}\n kubernetes cluster.local\n forward . {UPSTREAM}\n}}", **options)


def log_of(coredns: World) -> list[str]:
    return [line.text for line in coredns.server.log.lines]


class TestLog:
    def test_a_line_per_query(self) -> None:
        coredns = serving("log")
        coredns.ask(ENT, identifier=7, edns=Edns(1232, do=True))
        assert log_of(coredns) == [
            f'[INFO] 10.244.1.9:0 - 7 "A IN {ENT} udp 55 true 1232" NOERROR qr,aa,rd 86 0s'
        ]

    def test_the_time_is_virtual(self) -> None:
        coredns = serving("log", upstreams={UPSTREAM: silent})
        coredns.ask("a.example.")
        assert log_of(coredns)[0].endswith(" SERVFAIL qr,rd 27 4s")

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("log . {name}", [f"[INFO] {ENT}"]),
            ('log . "{type} {rcode} {/kubernetes/x} {nope}"', ["[INFO] A NOERROR - {nope}"]),
            ("log other.zone", []),
            ("log {\n  class denial\n }", []),
            ("log . {combined} {\n  class success error\n }", None),
        ],
    )
    def test_formats_scopes_and_classes(self, line: str, expected: list[str] | None) -> None:
        coredns = serving(line)
        coredns.ask(ENT)
        if expected is None:
            assert log_of(coredns)[0].endswith(' 0s "0"')
        else:
            assert log_of(coredns) == expected

    def test_it_is_bounded(self) -> None:
        coredns = serving("log")
        for _ in range(1100):
            coredns.ask(ENT)
        assert (len(log_of(coredns)), coredns.server.log.written) == (1000, 1100)


class TestErrors:
    def test_a_failure_is_a_line(self) -> None:
        coredns = serving("errors", upstreams={UPSTREAM: silent})
        coredns.ask("A.example.")
        assert log_of(coredns) == [
            f"[ERROR] plugin/errors: 2 a.example. A: read udp 10.244.0.2->{UPSTREAM}:53: i/o timeout"
        ]

    def test_no_next_plugin(self) -> None:
        coredns = World(". {\n errors\n kubernetes cluster.local\n}")
        coredns.ask("a.example.")
        assert log_of(coredns) == [
            "[ERROR] plugin/errors: 2 a.example. A: plugin/kubernetes: no next plugin found"
        ]

    @pytest.mark.parametrize(("option", "first"), [("", 0), (" warning show_first", 1)])
    def test_consolidated_errors_are_counted(self, option: str, first: int) -> None:
        line = f'errors {{\n  consolidate 1m ".* timeout$"{option}\n }}'
        coredns = serving(line, upstreams={UPSTREAM: lambda query: "i/o timeout"})
        for _ in range(3):
            coredns.ask("a.example.")
        assert len(log_of(coredns)) == first
        coredns.until(60)
        level = "WARNING" if first else "ERROR"
        text = "3 errors like '.* timeout$' occurred in last 1m"
        assert log_of(coredns)[first:] == [f"[{level}] plugin/errors: {text}"]


def metrics_of(coredns: World) -> Mapping[str, str]:
    text = coredns.server.page(9153, "/metrics").text
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in samples}


class TestPrometheus:
    def test_queries_are_counted_by_name_of_everything(self) -> None:
        coredns = serving("prometheus", "errors", "cache", upstreams={UPSTREAM: answering(address_of("a."))})
        for _ in range(3):
            coredns.ask("a.")
        coredns.ask("none.prod.svc.cluster.local.", "AAAA")
        metrics = metrics_of(coredns)
        place = 'server="dns://:53"'
        for name, value in {
            f'coredns_dns_requests_total{{family="1",proto="udp",{place},type="A",view="",zone="."}}': "3",
            f'coredns_dns_responses_total{{plugin="errors",rcode="NXDOMAIN",{place},view="",zone="."}}': "1",
            f'coredns_cache_requests_total{{{place},view="",zones="."}}': "4",
            f'coredns_cache_hits_total{{{place},type="success",view="",zones="."}}': "2",
            f'coredns_cache_misses_total{{{place},view="",zones="."}}': "2",
            f'coredns_cache_entries{{{place},type="denial",view="",zones="."}}': "1",
            f'coredns_dns_request_duration_seconds_count{{{place},view="",zone="."}}': "4",
            f'coredns_plugin_enabled{{name="cache",{place},view="",zone="."}}': "1",
            "coredns_forward_max_concurrent_rejects_total": "0",
        }.items():
            assert metrics[name] == value, name

    def test_hosts_local_health_and_connections_upstream_are_counted(self) -> None:
        upstreams = {UPSTREAM: answering(address_of("a."))}
        hosts = "hosts /h {\n  192.0.2.1 h\n  fallthrough\n }"
        coredns = serving(
            "prometheus", "local", hosts, upstreams=upstreams, files={"/h": "192.0.2.2 i\n"}
        ).start()
        for name in ("a.", "a.", "x.localhost."):
            coredns.ask(name)
        connections = (
            f'coredns_proxy_conn_cache_misses_total{{proto="udp",proxy_name="forward",to="{UPSTREAM}:53"}}'
        )
        metrics = metrics_of(coredns)
        for name, value in {
            'coredns_hosts_entries{hostsfile="/h"}': "4",
            "coredns_local_localhost_requests_total": "1",
            "coredns_health_request_failures_total": "0",
            "coredns_health_request_duration_seconds_count": "0",
            connections: "2",
        }.items():
            assert metrics[name] == value, name
        assert float(metrics["coredns_hosts_reload_timestamp_seconds"]) > 0

    def test_what_no_plugin_sees_is_counted_as_dropped(self) -> None:
        coredns = World("cluster.local {\n  prometheus\n  kubernetes cluster.local\n}")
        refused = coredns.ask("example.com.")
        assert refused.rcode == Rcode.REFUSED
        metrics = metrics_of(coredns)
        server, rest = 'server="dns://:53"', 'view="",zone="dropped"'
        size = len(dns.build(refused, uncompressed=dns.MAXIMUM_SIZE))
        for name, value in {
            f'coredns_dns_requests_total{{family="1",proto="udp",{server},type="A",{rest}}}': "1",
            f'coredns_dns_responses_total{{plugin="",rcode="REFUSED",{server},{rest}}}': "1",
            f'coredns_dns_response_size_bytes_sum{{proto="udp",{server},{rest}}}': str(size),
            f"coredns_dns_request_duration_seconds_count{{{server},{rest}}}": "1",
        }.items():
            assert metrics[name] == value, name

    def test_a_histogram_is_cumulative(self) -> None:
        coredns = serving("prometheus", upstreams={UPSTREAM: silent})
        coredns.ask("a.")
        metrics = metrics_of(coredns)
        name = 'coredns_dns_request_duration_seconds_bucket{server="dns://:53",view="",zone=".",le="%s"}'
        assert [metrics[name % bound] for bound in ("0.00025", "2.048", "4.096", "8.192", "+Inf")] == [
            "0", "0", "1", "1", "1",
        ]  # fmt: skip

    def test_every_sample_has_help_and_type_before_it(self) -> None:
        coredns = serving("prometheus")
        coredns.ask(ENT)
        described = set()
        for line in coredns.server.page(9153, "/metrics").text.splitlines():
            if line.startswith("# "):
                described.add((line.split()[1], line.split()[2]))
                continue
            name = line.partition("{")[0].split()[0]
            family = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
            assert {("HELP", family), ("TYPE", family)} <= described | {("HELP", name), ("TYPE", name)}


class TestReady:
    def test_it_waits_for_the_watches_once(self) -> None:
        coredns = serving("ready", synced=False)
        assert coredns.server.page(8181, "/ready") == ("kubernetes", 503)
        assert log_of(coredns) == ['[INFO] plugin/ready: Plugins not ready: "kubernetes"']
        coredns.zone.synced = True
        assert coredns.server.page(8181, "/ready") == ("OK", 200)
        coredns.zone.synced = False
        assert coredns.server.page(8181, "/ready") == ("OK", 200)

    def test_continuously_if_it_says_so(self) -> None:
        coredns = serving("ready {\n  monitor continuously\n }")
        assert coredns.server.page(8181, "/ready").status == 200
        coredns.zone.synced = False
        assert coredns.server.page(8181, "/ready").status == 503

    def test_health_is_always_ok_and_lameduck_is_told(self) -> None:
        coredns = serving("health :8081 {\n  lameduck 7s\n }", synced=False)
        assert coredns.server.page(8081, "/health") == ("OK", 200)
        assert coredns.server.page(8081, "/nothing").status == 404
        assert (coredns.server.page_ports, coredns.server.lameduck) == ((8081,), 7.0)


class TestLoop:
    def test_a_server_that_asks_itself_ends(self) -> None:
        coredns = World(". {\n loop\n forward . 127.0.0.1\n}").start()
        assert coredns.last_words.startswith(
            '[FATAL] plugin/loop: Loop (127.0.0.1:0 -> :53) detected for zone ".", see'
        )
        assert coredns.last_words.endswith('."')
        assert log_of(coredns)[-1] == coredns.last_words

    def test_one_that_does_not_goes_on(self) -> None:
        coredns = World(f". {{\n loop\n forward . {UPSTREAM}\n}}", upstreams={UPSTREAM: answering()}).start()
        coredns.until(60)
        assert coredns.last_words == ""
        assert coredns.asked == []


class TestReload:
    OLD = ". {\n reload 10s 0s\n hosts {\n  192.0.2.1 a\n }\n prometheus\n}"
    NEW = OLD.replace("192.0.2.1", "192.0.2.2")

    def reloading(self) -> tuple[World, dict[str, str]]:
        files = {"Corefile": self.OLD}
        return World(self.OLD, files=files).start(), files

    def test_a_changed_corefile_is_taken_within_the_interval(self) -> None:
        coredns, files = self.reloading()
        files["Corefile"] = self.NEW
        coredns.until(9.9)
        assert values(coredns.ask("a.")) == ["192.0.2.1"]
        coredns.until(10)
        assert values(coredns.ask("a.")) == ["192.0.2.2"]
        assert log_of(coredns)[-3] == "[INFO] Reloading"
        assert log_of(coredns)[-2] == "[INFO] Reloading complete"

    @pytest.mark.parametrize(
        ("wrong", "lines"),
        [
            (OLD + "{", ["[WARNING] plugin/reload: Corefile parse failed: "]),
            (". {", ["[WARNING] plugin/reload: Corefile parse failed: "]),
            (
                OLD + "\n" + OLD,
                ["[ERROR] Restart failed: ", "[ERROR] plugin/reload: Corefile changed but reload"],
            ),
        ],
    )
    def test_a_wrong_one_keeps_the_old_configuration(self, wrong: str, lines: list[str]) -> None:
        coredns, files = self.reloading()
        files["Corefile"] = wrong
        coredns.until(45)
        assert values(coredns.ask("a.")) == ["192.0.2.1"]
        for start in lines:
            assert any(line.startswith(start) for line in log_of(coredns)), start

    def test_a_refused_one_is_tried_once_and_counted(self) -> None:
        coredns, files = self.reloading()
        files["Corefile"] = self.OLD + "\n" + self.OLD
        coredns.until(100)
        assert sum("Reloading" in line for line in log_of(coredns)) == 1
        assert metrics_of(coredns)["coredns_reload_failed_total"] == "1"
        files["Corefile"] = self.NEW
        coredns.until(110)
        assert values(coredns.ask("a.")) == ["192.0.2.2"]

    def test_what_differs_in_blanks_and_comments_is_no_change(self) -> None:
        coredns, files = self.reloading()
        files["Corefile"] = self.OLD.replace("hosts {", "hosts  {  # a comment")
        coredns.until(100)
        assert sum("Reloading" in line for line in log_of(coredns)) == 0

    def test_without_reload_nothing_is_watched(self) -> None:
        files = {"Corefile": ". {\n hosts {\n  192.0.2.1 a\n }\n}"}
        coredns = World(files["Corefile"], files=files).start()
        files["Corefile"] = self.NEW
        coredns.until(100)
        assert values(coredns.ask("a.")) == ["192.0.2.1"]

    def test_caches_begin_anew(self) -> None:
        old = f". {{\n reload 10s 0s\n cache 60\n forward . {UPSTREAM}\n}}"
        files = {"Corefile": old}
        coredns = World(old, files=files, upstreams={UPSTREAM: answering(address_of("a."))}).start()
        coredns.ask("a.")
        files["Corefile"] = old.replace("cache 60", "cache 50")
        coredns.until(10)
        coredns.ask("a.")
        assert len(coredns.asked) == 2


def test_an_answer_that_waits_over_a_reload_still_comes() -> None:
    old = f". {{\n reload 2s 0s\n forward . {UPSTREAM}\n}}"
    files = {"Corefile": old}
    coredns = World(old, files=files, upstreams={UPSTREAM: silent}).start()
    coredns.until(1)
    event = coredns.send("a.example.")
    files["Corefile"] = f". {{\n whoami\n forward . {UPSTREAM}\n}}"
    coredns.until(9)
    reply = coredns.reply_to(event)
    assert reply is not None
    assert dns.parse(reply.data).rcode == Rcode.SERVFAIL
