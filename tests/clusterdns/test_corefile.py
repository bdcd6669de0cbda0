"""The Corefile's grammar and CoreDNS's words for what is wrong with one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import CorefileError
from netsim.base.rng import Rng
from netsim.clusterdns.corefile import default_corefile, duration, parse, tokenize
from netsim.clusterdns.plugins import DIRECTIVES
from netsim.clusterdns.server import Server
from netsim.clusterdns.zone import KubernetesZone

RESOLV_CONF = {"/etc/resolv.conf": "search example.com\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"}


def start(text: str, **options: Any) -> Server:
    return Server(text, KubernetesZone(), Rng(1), files=RESOLV_CONF, **options)


def zones(text: str, **options: Any) -> list[str]:
    blocks = parse(text, DIRECTIVES, **options)
    return [str(address) for block in blocks for address in block.zones]


class TestWords:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("a b\n c", ["a", "b", "c"]),
            ("a # comment\nb#comment\nc", ["a", "b", "c"]),
            ('"a b" c"d" ""', ["a b", 'c"d"', ""]),
            (r'"say \"hi\" \n"', [r'say "hi" \n']),
            ('"never closed', ["never closed"]),
            ("\ufeffa\r\nb", ["a", "b"]),
            ("", []),
        ],
    )
    def test_words_are_split_as_caddy_splits_them(self, text: str, words: list[str]) -> None:
        assert [token.text for token in tokenize(text)] == words

    def test_a_word_knows_its_line_also_behind_a_quoted_line_break(self) -> None:
        assert [token.line for token in tokenize('a\n"b\nc" d\ne')] == [1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("5s", 5), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5), ("0", 0), ("-2s", -2)],
    )
    def test_durations_are_go_durations(self, text: str, seconds: float) -> None:
        assert duration(text) == pytest.approx(seconds)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("5", 'missing unit in duration "5"'),
            ("5x", 'unknown unit "x" in duration "5x"'),
            ("", 'invalid duration ""'),
            ("s", 'invalid duration "s"'),
        ],
    )
    def test_other_words_are_no_durations(self, text: str, message: str) -> None:
        with pytest.raises(CorefileError, match=f"time: {message}"):
            duration(text)


class TestBlocks:
    @pytest.mark.parametrize(
        ("text", "addresses"),
        [
            (".:53 {\n errors\n}", ["dns://.:53"]),
            ("Example.COM dns://b.:5353 {\n}", ["dns://example.com.:53", "dns://b.:5353"]),
            ("a,\nb {\n}\nc {\n}", ["dns://a.:53", "dns://b.:53", "dns://c.:53"]),
            (".\nerrors\nlog", ["dns://.:53"]),
            ("example.org", ["dns://example.org.:53"]),
            ("10.96.0.0/16 {\n}", ["dns://96.10.in-addr.arpa.:53"]),
            ("10.0.0.0/15 {\n}", ["dns://0.10.in-addr.arpa.:53", "dns://1.10.in-addr.arpa.:53"]),
            ("fd00::/12 {\n}", ["dns://0.d.f.ip6.arpa.:53"]),
            ("a:{$PORT} b:{%PORT%} {\n}", ["dns://a.:1053", "dns://b.:1053"]),
            ("{$UNSET}a {\n}", ["dns://a.:53"]),
        ],
    )
    def test_zones_and_ports_of_a_block(self, text: str, addresses: list[str]) -> None:
        assert zones(text, env={"PORT": "1053"}) == addresses

    def test_a_directive_keeps_its_words_and_its_block(self) -> None:
        (block,) = parse('. {\n forward . 1.1.1.1 {\n  except "a b"\n }\n errors\n}', DIRECTIVES)
        words = [token.text for token in block.directives["forward"]]
        assert words == ["forward", ".", "1.1.1.1", "{", "except", "a b", "}"]
        assert list(block.directives) == ["forward", "errors"]

    def test_a_snippet_is_put_where_it_is_imported(self) -> None:
        text = (
            "(common) {\n errors\n cache 10\n}\na {\n log\n import common\n loop\n}\nb {\n import common\n}"
        )
        first, second = parse(text, DIRECTIVES)
        assert list(first.directives) == ["log", "errors", "cache", "loop"]
        assert list(second.directives) == ["errors", "cache"]

    def test_a_snippet_inside_a_plugin_block(self) -> None:
        (block,) = parse("(o) {\n ttl 7\n}\n. {\n kubernetes a {\n  import o\n }\n}", DIRECTIVES)
        assert [token.text for token in block.directives["kubernetes"]][3:-1] == ["ttl", "7"]

    @pytest.mark.parametrize(
        ("name", "pattern"),
        [
            ("/etc/coredns/Corefile", "*.server"),
            ("/etc/coredns/Corefile", "./*.server"),
            ("/etc/x/Corefile", "../coredns/*.server"),
            ("/x/Corefile", "/etc/coredns/*.server"),
        ],
    )
    def test_files_are_imported_by_glob_in_order(self, name: str, pattern: str) -> None:
        files = {
            "/etc/coredns/b.server": "b {\n}\n",
            "/etc/coredns/a.server": "a {\n}\n",
            "/etc/x.server": "x",
        }
        found = zones(f"import {pattern}\n. {{\n}}", name=name, files=files)
        assert found == ["dns://a.:53", "dns://b.:53", "dns://.:53"]

    def test_a_glob_that_matches_nothing_is_fine(self) -> None:
        assert zones("import *.override\n. {\n import /etc/coredns/custom/*.override\n}") == ["dns://.:53"]

    @given(st.text(alphabet='ab.{}()"#\n \\$%:/', max_size=40))
    def test_any_text_is_parsed_or_refused(self, text: str) -> None:
        try:
            blocks = parse(text, frozenset({"a", "b"}))
        except CorefileError:
            return
        assert all(block.zones for block in blocks)


WRONG_TEXTS = [
    (". {\n proxy . 8.8.8.8\n}", "Corefile:2 - Error during parsing: Unknown directive 'proxy'"),
    (". {\n\n xyz\n}", "Corefile:3 - Error during parsing: Unknown directive 'xyz'"),
    (". {\n errors", "Corefile:2 - Syntax error: Unexpected token 'errors', expecting '}'"),
    (
        ". {\n errors }\n}",
        "Corefile:2 - Error during parsing: Unexpected '}' because no matching opening brace",
    ),
    (". {\n health {\n", "Corefile:2 - Error during parsing: Unexpected EOF"),
    (
        "a, {\n}",
        "Corefile:1 - Error during parsing: Expected another address but had '{' - check for extra comma",
    ),
    ("a,", "Corefile:1 - Error during parsing: Unexpected EOF"),
    ("(x) {\n errors\n}\n(x) {\n}\n", "redeclaration of previously declared snippet x"),
    (
        "(x) {\n import x\n}\n. {\n import x\n}",
        "Corefile:3 - Error during parsing: maximum snippet import depth (10000) exceeded",
    ),
    ('. {\n log . "', "Corefile:2 - Syntax error: Unexpected token '.', expecting '}'"),
    ("(x) {\n import y\n}\n(y) {\n import x\n}\n. {\n import x\n}", "maximum snippet import depth"),
    (". {\n import\n}", "Wrong argument count or unexpected line ending after 'import'"),
    (". {\n import a b\n}", "Import takes only one argument (glob pattern or file)"),
    (
        ". {\n import missing.conf\n}",
        "Corefile:2 - Error during parsing: File to import not found: missing.conf",
    ),
    (". {\n import a*b*\n}", "Glob pattern may only contain one wildcard (*), but has others: /a*b*"),
    (".:{$NO} {\n}", 'expecting data after last colon: ".:"'),
    ("a..b {\n}", "error inspecting server blocks: zone is not a valid domain name: a..b"),
    (":53 {\n}", "zone is not a valid domain name: "),
    ("tls://. {\n}", "netsim does not serve DNS over tls yet: tls://."),
    ("a.:65536 {\n}", "address 65536: invalid port"),
    (". {\n forward . {$NO}\n}", 'plugin/forward: invalid address: ""'),
    (". {\n forward . tls://\n}", 'plugin/forward: invalid address: "tls://"'),
    (".:53 {\n}\n. {\n}", "cannot serve dns://.:53 - it is already defined"),
    (". {\n errors\n errors\n}", "plugin/errors: this plugin can only be used once per Server Block"),
    (
        ". {\n errors {\n  x\n }\n}",
        "plugin/errors: Corefile:3 - Syntax error: Unexpected token 'x', expecting 'Unknown field x'",
    ),
    (
        ". {\n forward . " + " ".join(f"192.0.2.{n}" for n in range(16)) + "\n}",
        "more than 15 TOs configured: 16",
    ),
]
WRONG_LINES = [
    (
        "dnssec",
        "plugin/dnssec: Corefile:2 - Error during parsing: netsim does not build the plugin 'dnssec' yet",
    ),
    ("errors /var/log", "plugin/errors: Corefile:2 - Error during parsing: invalid log file: /var/log"),
    ("health [::1", "plugin/health: address [::1: missing ']' in address"),
    ('health ""', "plugin/health: missing port in address"),
    ("header a", "Wrong argument count or unexpected line ending after 'a'"),
    ('forward "" 192.0.2.1', "plugin/forward: unable to normalize ''"),
    ("health nowhere", "plugin/health: address nowhere: missing port in address"),
    ("prometheus a:1 b:2", "Wrong argument count or unexpected line ending after 'b:2'"),
    ("reload 1s", "plugin/reload: interval value must be greater or equal to 2s"),
    ("reload 10s 500ms", "jitter value must be 0 or greater or equal to 1s"),
    ("loop x", "Wrong argument count or unexpected line ending after 'x'"),
    ("loadbalance random", "unknown policy: random"),
    ("loadbalance weighted", "missing weight file argument"),
    ("loadbalance weighted a b", "unexpected argument(s)"),
    ("bind x", 'plugin/bind: not a valid IP address or interface name: "x"'),
    ("bind", "plugin/bind: at least one address or interface name is expected"),
    ("cancel x", 'plugin/cancel: invalid duration: "x"'),
    ("cancel 0s", 'plugin/cancel: invalid negative duration: "0s"'),
    ("debug x", "plugin/debug: Corefile:2 - Error during parsing: Wrong argument count"),
    ("multisocket 0", "plugin/multisocket: num sockets can not be zero or negative: 0"),
    ("multisocket 1025", "plugin/multisocket: num sockets exceeds maximum (1024): 1025"),
    ("header", "plugin/header: Corefile:2 - Error during parsing: Wrong argument count"),
    ("local x", "plugin/local: Corefile:2 - Error during parsing: Wrong argument count"),
    ("any x", "plugin/any: Corefile:2 - Error during parsing: Wrong argument count"),
    ("minimal x", "plugin/minimal: Corefile:2 - Error during parsing: Wrong argument count"),
    ("whoami x", "plugin/whoami: Corefile:2 - Error during parsing: Wrong argument count"),
    ("bufsize 511", "plugin/bufsize: Corefile:2 - Error during parsing: Wrong argument count"),
    ("bufsize big", "plugin/bufsize: Corefile:2 - Error during parsing: Wrong argument count"),
    ("autopath", "plugin/autopath: no resolv-conf specified"),
    ("autopath /etc/none", 'failed to parse "/etc/none": open /etc/none: no such file or directory'),
    ("k8s_external a", "plugin/k8s_external: kubernetes plugin not loaded"),
    ("transfer a", "plugin/transfer: Corefile:2 - Error during parsing: 'to' is required"),
    ("template X A", "plugin/template: Corefile:2 - Error during parsing: invalid query class X"),
    ("template IN X", "plugin/template: Corefile:2 - Error during parsing: invalid RR class X"),
    ("rewrite", "plugin/rewrite: no rule type specified for rewrite"),
    ("rewrite names a b", 'plugin/rewrite: invalid rule type "names"'),
    ("rewrite continue", "continue rule must begin with a rule type"),
    ("rewrite answer name a b", "response rewrites must begin with a name rule"),
    ("rewrite name a", "too few arguments for a name rule"),
    ("rewrite name regex ( b", "invalid regex matching pattern: ("),
    (
        "rewrite name regex a {1}",
        "uses more subexpressions than its corresponding matching regex pattern (a)",
    ),
    ("rewrite name fuzzy a b", "received: fuzzy"),
    ("rewrite name suffix a b c d", "exceeded the number of arguments for a non-answer rule argument"),
    ("rewrite name suffix a b answer", "invalid arguments for suffix rule"),
    ("rewrite name suffix a b answer auto answer name c d", "auto name answer rule cannot be combined"),
    ("rewrite name suffix a b answer name c", "name answer rule for suffix rule: 2 arguments required"),
    ("rewrite name suffix a b answer all c d", 'invalid type "all" for answer rule for suffix rule'),
    ("rewrite type A", "type rules must have exactly two arguments"),
    ("rewrite type A B", 'invalid type "B"'),
    ("rewrite class IN XX", 'invalid class "XX"'),
    ("rewrite ttl a", "too few (1) arguments for a ttl rule"),
    ("rewrite ttl a 20-10", "invalid TTL '20-10' for a ttl rule"),
    ("rewrite ttl fuzzy a 10", "ttl rule supports only exact, prefix, suffix, substring, and regex"),
    ("rewrite rcode a NXDOMAIN", "too few (2) arguments for a rcode rule"),
    ("rewrite rcode a NOPE NOERROR", "invalid matching RCODE 'NOPE' for a rcode rule"),
    ("rewrite rcode a NOERROR NOPE", "invalid replacement RCODE 'NOPE' for a rcode rule"),
    ("rewrite cname a", "too few (1) arguments for a cname rule"),
    ("rewrite cname fuzzy a b", "unknown cname rewrite type: fuzzy"),
    ("rewrite edns0 local", "too few arguments for an EDNS0 rule"),
    ("rewrite edns0 local put 1 a", 'invalid action: "put"'),
    ("rewrite edns0 local set 1", "EDNS0 local rules require three or four args"),
    ("rewrite edns0 local set x a", 'strconv.ParseUint: parsing "x": invalid syntax'),
    ("rewrite edns0 local set 1 {nope}", 'unsupported variable name "{nope}"'),
    ("rewrite edns0 nsid set 1", "EDNS0 NSID rules can accept no more than one arg"),
    ("rewrite edns0 subnet set 33 0", "invalid IPv4 bit mask length 33"),
    ("rewrite edns0 nsid unset 1", "nsid unset action requires exactly one argument"),
    ("file", "plugin/file: Corefile:2 - Error during parsing: Wrong argument count"),
    ("kubernetes 10.96.0.0/12", "plugin/kubernetes: non-reverse zone name must be used"),
    ("cache 0", "plugin/cache: cache TTL can not be zero or negative: 0"),
    (
        "forward .",
        "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after '.'",
    ),
    ("forward . tls://192.0.2.1", "netsim does not build tls upstreams of forward yet"),
    ("forward . grpc://192.0.2.1", "'grpc' is not supported as a destination protocol in forward"),
    ("forward . dns.google", "upstreams of forward that are named by hostname yet: dns.google"),
    ("forward . /etc/none", 'not an IP address, file, or valid domain: "/etc/none"'),
]
WRONG_OPTIONS = [
    ("any", "x", "plugin/any: Corefile:2 - Error during parsing: Unexpected token '{', expecting argument"),
    ("header", "reply set aa", "setting up rule: invalid selector=reply should be query or response"),
    ("header", "query flip aa", "setting up rule: unknown flag action=flip, should be set or clear"),
    ("header", "query set tc", "setting up rule: unknown/unsupported flag=tc"),
    ("local", "localhost_prefix x", "localhost_prefix expects 'on' or 'off', got \"x\""),
    ("acl", "permit", "unexpected token \"permit\"; expect 'allow', 'block', 'filter' or 'drop'"),
    ("acl", "block from 10.0.0.0/8", "unexpected token \"from\"; expect 'type | net'"),
    ("acl", "block net", 'no token specified in "net" section'),
    ("acl", "block type X", 'unexpected token "X"; expect legal QTYPE'),
    ("acl", "block net x", 'illegal CIDR notation "x/32"'),
    ("hosts", "ttl", "ttl needs a time in second"),
    ("hosts", "ttl x", "ttl needs a number of second"),
    ("hosts", "ttl 0", "ttl provided is invalid"),
    ("hosts", "reload", "reload needs a duration (zero seconds to disable)"),
    ("hosts", "reload x", "invalid duration for reload 'x'"),
    ("hosts", "reload -1s", "invalid negative duration for reload '-1s'"),
    ("hosts", "fallthrough; 192.0.2.1 a", "unknown property '192.0.2.1'"),
    ("hosts", "fallthrough_unsupported", "fallthrough_unsupported requires fallthrough"),
    ("template IN A", "x", "Wrong argument count or unexpected line ending after 'x'"),
    ("template IN A", "match (", "could not parse regex: (, error parsing regexp"),
    ("template IN A", "match (?=a)", "could not parse regex: (?=a), error parsing regexp"),
    (
        "template IN A",
        'answer "{{ .Name"',
        "could not compile template: {{ .Name, template: answer:1: unclosed action",
    ),
    ("template IN A", 'answer "{{ shout .Name }}"', 'function "shout" not defined'),
    ("template IN A", "rcode NOPE", "unknown rcode NOPE"),
    (
        "template IN A",
        "ederror x",
        'error parsing extended DNS error code x, strconv.ParseUint: parsing "x": invalid syntax',
    ),
    ("template IN A", "expr true", "netsim does not build the option 'expr' of template yet"),
    ("k8s_external a", "ttl -1", "ttl must be in range [0, 3600]: -1"),
    ("k8s_external a", "x", "unknown property 'x'"),
    ("transfer", "to x", "plugin/transfer: must specify an IP address: `x'"),
    ("transfer", "to localhost:53", "must specify an IP address: `localhost'"),
    (
        "transfer",
        "from x",
        'plugin/transfer: plugin/transfer: Corefile:3 - Error during parsing: unknown property "from"',
    ),
    ("transfer", "to *; source x", 'invalid source address "x"'),
    ("file db", "x", "unknown property 'x'"),
    ("file db", "reload", "reload duration value is expected"),
    ("errors", "consolidate 5m (", "error parsing regexp: missing closing ): `(`"),
    ("errors", "consolidate 5m a)", "error parsing regexp: unexpected ): `a)`"),
    ("errors", "consolidate 5m a[b", "error parsing regexp: missing closing ]: `[b`"),
    ("errors", "consolidate 5m *a", "error parsing regexp: missing argument to repetition operator: `*`"),
    ("errors", "consolidate 5m a**", "error parsing regexp: invalid nested repetition operator: `**`"),
    ("errors", "consolidate 5m [z-a]", "error parsing regexp: invalid character class range: `z-a`"),
    ("errors", "consolidate 5m \\y", "error parsing regexp: invalid escape sequence: `\\y`"),
    ("errors", "consolidate 5 a", 'Corefile:3 - Error during parsing: time: missing unit in duration "5"'),
    ("errors", "consolidate 5m a show_first error", "log level must come before show_first"),
    ("health", "lameduck x", "unable to parse lameduck duration value: 'x' : time: invalid duration"),
    ("ready", "monitor never", "monitor type 'never' not supported"),
    ("prometheus", "x", "unknown option: x"),
    ("log", "class x", "plugin/log: invalid Class: x"),
    ("loadbalance", "prefer x", 'invalid CIDR "x": invalid CIDR address: x'),
    ("kubernetes a", "ttl -1", "Corefile:3 - Error during parsing: ttl must be in range [0, 3600]: -1"),
    ("kubernetes a", "ttl x", 'strconv.Atoi: parsing "x": invalid syntax'),
    ("kubernetes a", "ttl", "Wrong argument count or unexpected line ending after 'ttl'"),
    ("kubernetes a", "resyncperiod 1m", "unknown property 'resyncperiod'"),
    ("kubernetes a", "pods all", "wrong value for pods: all,  must be one of: disabled, verified, insecure"),
    ("kubernetes a", "ignore all", "unable to parse ignore value: 'all'"),
    (
        "kubernetes a",
        "namespaces b; namespace_labels c=d",
        "namespaces and namespace_labels cannot both be set",
    ),
    (
        "kubernetes a",
        "labels b in (c",
        "unable to parse label selector value: 'b in (c': couldn't parse the selector string \"b in (c\": "
        "unable to parse requirement: found '', expected: ',' or ')'",
    ),
    ("kubernetes a", "apiserver_qps -1", "Corefile:3 - Error during parsing: apiserver_qps must be >= 0"),
    (
        "kubernetes a",
        "apiserver_burst x",
        'invalid apiserver_burst "x": strconv.Atoi: parsing "x": invalid syntax',
    ),
    ("kubernetes a", "zonal; noendpoints", "zonal requires the endpoint cache; remove noendpoints"),
    (
        "kubernetes a",
        "multicluster b",
        "Corefile:4 - Error during parsing: is not authoritative for the multicluster zone b. "
        "(authoritative zones: [a.])",
    ),
    ("kubernetes a", "startup_timeout x", "failed to parse startup_timeout: x, time: invalid duration"),
    ("cache", "disable all", 'cache type for disable must be "success" or "denial"'),
    ("cache", "servfail 6m", "caching SERVFAIL responses over 5 minutes is not permitted"),
    ("cache", "prefetch 1 1m 5%", "percentage should fall in range [10, 90]: 5"),
    ("cache", "prefetch 1 1m 50", "last character of percentage should be `%`, but is: '0'"),
    ("cache", "serve_stale 1h later", "invalid value for serve_stale refresh mode: later"),
    ("cache", "serve_stale 1h verify x", "invalid serve_stale verify timeout: time: invalid duration"),
    ("cache", "serve_stale 1h verify 1s 1500ms", "response TTL must be a whole number of seconds"),
    ("cache", "serve_stale 1h immediate 30s 6m", "serve_stale failure recheck cannot exceed 5 minutes"),
    ("cache", "serve_stale 1h immediate 30s 1m 1m", "Wrong argument count or unexpected line ending after"),
    ("cache", "serve_stale_policy prefer_positive", "serve_stale_policy requires serve_stale"),
    ("cache", "serve_stale; serve_stale_policy fresh", "invalid serve_stale_policy: fresh"),
    ("cache", "success", "Wrong argument count or unexpected line ending after 'success'"),
    ("cache", "success 10 5 -1", "cache min TTL can not be negative: -1"),
    ("cache", "x", "Wrong argument count or unexpected line ending after 'x'"),
    ("forward . 192.0.2.1", "max_fails -1", 'strconv.ParseUint: parsing "-1": invalid syntax'),
    ("forward . 192.0.2.1", "max_fails 4294967296", 'parsing "4294967296": value out of range'),
    ("forward . 192.0.2.1", "max_age 9s", "max_age (9s) must not be less than expire (10s)"),
    (
        "forward . 192.0.2.1",
        "expire 1h; max_age 90s",
        "max_age (1m30s) must not be less than expire (1h0m0s)",
    ),
    ("forward . 192.0.2.1", "health_check 1s domain a..b", "health_check: invalid domain name a..b"),
    ("forward . 192.0.2.1", "force_tcp x y", "Wrong argument count or unexpected line ending after 'x'"),
    ("forward . 192.0.2.1", "policy fastest", "unknown policy 'fastest'"),
    ("forward . 192.0.2.1", "x", "unknown property 'x'"),
    ("forward . 192.0.2.1", "max_concurrent -1", "max_concurrent can't be negative: -1"),
    ("forward . 192.0.2.1", "failover NOERROR", "NoError cannot be used in failover"),
    ("forward . 192.0.2.1", "next NOPE", "NOPE is not a valid rcode"),
    ("forward . 192.0.2.1", "read_timeout 0s", "read_timeout must be positive: 0s"),
    (
        "forward . 192.0.2.1",
        "tls_servername x",
        "netsim does not build the option 'tls_servername' of forward yet",
    ),
]


def refusal_of(text: str) -> str:
    with pytest.raises(CorefileError) as refusal:
        start(text)
    return str(refusal.value)


@pytest.mark.parametrize(("text", "message"), WRONG_TEXTS)
def test_a_wrong_corefile_is_refused_in_coredns_words(text: str, message: str) -> None:
    assert message in refusal_of(text)


@pytest.mark.parametrize(("line", "message"), WRONG_LINES)
def test_a_wrong_line_is_refused_in_coredns_words(line: str, message: str) -> None:
    assert message in refusal_of(f". {{\n {line}\n}}")


@pytest.mark.parametrize(("plugin", "options", "message"), WRONG_OPTIONS)
def test_a_wrong_option_is_refused_in_coredns_words(plugin: str, options: str, message: str) -> None:
    lines = options.replace("; ", "\n  ")
    refusal = refusal_of(f". {{\n {plugin} {{\n  {lines}\n }}\n}}")
    assert refusal.startswith(f"plugin/{plugin.split()[0]}: ")
    assert message in refusal


def test_an_error_names_file_and_line() -> None:
    with pytest.raises(CorefileError) as refusal:
        start(". {\n xyz\n}", name="/etc/coredns/Corefile")
    assert (refusal.value.file, refusal.value.line) == ("/etc/coredns/Corefile", 2)


RIGHT = [
    ("errors stdout", 'stacktrace; consolidate 5m ".* i/o timeout$" warning show_first'),
    ("log . {remote}", "class denial error"),
    ("health :8081", "lameduck 5s"),
    ("ready localhost:8181", "monitor continuously"),
    ("prometheus localhost:9253", "runtime_metrics"),
    ("kubernetes a", "endpoint https://a; tls a b c; kubeconfig a b; startup_timeout 5s"),
    ("kubernetes a", "apiserver_qps 5; apiserver_burst 10; apiserver_max_inflight 2; fallthrough"),
    ("kubernetes a", "pods verified; endpoint_pod_names; namespaces a b; labels app in (a, b); zonal"),
    ("cache 30 example.org", "success 100 20 1; denial 100 20; prefetch 2 1m 20%; serve_stale; keepttl"),
    ("cache", "servfail 1s; disable success; disable denial a b; serve_stale 1m verify"),
    ("forward . 192.0.2.1:54 [2001:db8::1]:54 2001:db8::2", "except a b; policy sequential; max_fails 3"),
    ("forward . /etc/resolv.conf", "max_connect_attempts 4; health_check 1s no_rec domain a; force_tcp"),
    ("forward . dns://192.0.2.1", "prefer_udp; expire 1s; max_age 1m; max_idle_conns 3; read_timeout 1s"),
    ("forward . 192.0.2.1", "max_concurrent 9; next NXDOMAIN; next_on_nodata; failover SERVFAIL REFUSED"),
    ("forward . 192.0.2.1", "failfast_all_unhealthy_upstreams; policy round_robin"),
    ("loadbalance round_robin", "prefer 10.0.0.0/8 fd00::/8"),
]


@pytest.mark.parametrize(("plugin", "options"), RIGHT)
def test_all_options_that_are_built_are_accepted(plugin: str, options: str) -> None:
    lines = options.replace("; ", "\n  ")
    assert start(f". {{\n {plugin} {{\n  {lines}\n }}\n}}").ports == (53,)


def test_one_plugin_may_stand_in_two_blocks() -> None:
    assert start("cluster.local:53 {\n kubernetes\n}\nother.local:53 {\n kubernetes\n}\n").ports == (53,)


def test_the_default_corefile_is_kubeadms() -> None:
    text = default_corefile("cluster.local")
    assert start(text).ports == (53,)
    (block,) = parse(text, DIRECTIVES)
    assert list(block.directives) == [
        "errors", "health", "ready", "kubernetes", "prometheus", "forward", "cache", "loop", "reload",
        "loadbalance",
    ]  # fmt: skip
    words = " ".join(token.text for token in block.directives["kubernetes"])
    assert words == (
        "kubernetes cluster.local in-addr.arpa ip6.arpa "
        "{ pods insecure fallthrough in-addr.arpa ip6.arpa ttl 30 }"
    )


def test_every_port_of_the_corefile_is_served() -> None:
    assert start("a:5353 {\n errors\n}\nb {\n errors\n}\nc:5353 {\n errors\n}").ports == (53, 5353)
