"""What a container finds in a running cluster: resolv.conf, hosts, its hostname and its environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from netsim.cluster import Cluster, run
from netsim.objects.core import Pod

CONTAINER = "containers: [{name: main, image: debian, command: [sleep, infinity]}]"
CLUSTER = (
    "search dev.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
)
NODE = "nameserver 192.168.10.1\n"
STANDING = (
    "# Kubernetes-managed hosts file.\n"
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)
HOST_NETWORK = (
    "# Kubernetes-managed hosts file (host network).\n"
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
)
ALIASES = "\n# Entries added by HostAliases.\n10.1.2.3\tfoo.local\tbar.local\n10.1.2.4\tbaz.local\n"


class Row(NamedTuple):
    """A Pod's spec, and what it finds. ``hosts`` is the end of /etc/hosts behind the Pod's address; ``names``
    what hostname, hostname -f and hostname -d print."""

    spec: str
    conf: str
    hosts: str
    names: tuple[str, str, str]


PODS = {
    "plain": Row("", CLUSTER, "plain\n", ("plain", "plain", "")),
    "host-network": Row("hostNetwork: true, nodeName: node1", NODE, "", ("node1", "node1", "")),
    "host-network-first": Row(
        "hostNetwork: true, nodeName: node1, dnsPolicy: ClusterFirstWithHostNet",
        CLUSTER,
        "",
        ("node1", "node1", ""),
    ),
    "with-host-net": Row(
        "dnsPolicy: ClusterFirstWithHostNet",
        CLUSTER,
        "with-host-net\n",
        ("with-host-net", "with-host-net", ""),
    ),
    "default": Row("dnsPolicy: Default", NODE, "default\n", ("default", "default", "")),
    "none": Row(
        "dnsPolicy: None, dnsConfig: {nameservers: [9.9.9.9], searches: [x.y], "
        'options: [{name: ndots, value: "2"}, {name: edns0}]}',
        "search x.y\nnameserver 9.9.9.9\noptions ndots:2 edns0\n",
        "none\n",
        ("none", "none", ""),
    ),
    "merged": Row(
        "dnsConfig: {nameservers: [9.9.9.9, 10.96.0.10], searches: [x.y, cluster.local], "
        'options: [{name: ndots, value: "2"}, {name: timeout, value: "1"}]}',
        "search dev.svc.cluster.local svc.cluster.local cluster.local x.y\n"
        "nameserver 10.96.0.10\nnameserver 9.9.9.9\noptions ndots:2 timeout:1\n",
        "merged\n",
        ("merged", "merged", ""),
    ),
    "four-servers": Row(
        "dnsConfig: {nameservers: [9.9.9.9, 8.8.8.8, 7.7.7.7]}",
        "search dev.svc.cluster.local svc.cluster.local cluster.local\n"
        "nameserver 10.96.0.10\nnameserver 9.9.9.9\nnameserver 8.8.8.8\noptions ndots:5\n",
        "four-servers\n",
        ("four-servers", "four-servers", ""),
    ),
    "subdomain": Row(
        "hostname: h, subdomain: s",
        CLUSTER,
        "h.s.dev.svc.cluster.local\th\n",
        ("h", "h.s.dev.svc.cluster.local", "s.dev.svc.cluster.local"),
    ),
    "as-fqdn": Row(
        "hostname: h, subdomain: s, setHostnameAsFQDN: true",
        CLUSTER,
        "h.s.dev.svc.cluster.local\th\n",
        ("h.s.dev.svc.cluster.local", "h.s.dev.svc.cluster.local", "s.dev.svc.cluster.local"),
    ),
    "as-fqdn-without-subdomain": Row(
        "hostname: h, setHostnameAsFQDN: true", CLUSTER, "h\n", ("h", "h", "")
    ),
    "overridden": Row(
        "hostnameOverride: my.host, subdomain: s", CLUSTER, "my.host\n", ("my.host", "my.host", "host")
    ),
    "aliases": Row(
        "hostAliases: [{ip: 10.1.2.3, hostnames: [foo.local, bar.local]}, "
        "{ip: 10.1.2.4, hostnames: [baz.local]}]",
        CLUSTER,
        f"aliases\n{ALIASES}",
        ("aliases", "aliases", ""),
    ),
}  # fmt: skip


def manifest(name: str, spec: str) -> str:
    inner = ", ".join(filter(None, (spec, CONTAINER)))
    return f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: dev}}\nspec: {{{inner}}}\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    pods = "".join(manifest(name, row.spec) for name, row in PODS.items())
    with run(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: dev}}\n{pods}") as running:
        yield running


def printed(cluster: Cluster, pod: str, *argv: str) -> str:
    return cluster.pump(cluster.pod(pod, "dev").exec(argv)).stdout


@pytest.mark.parametrize("name", PODS)
def test_a_pod_finds_the_files_and_names_that_its_spec_asks_for(cluster: Cluster, name: str) -> None:
    row, address = PODS[name], cluster.store.get(Pod, name, "dev").status.pod_ip
    host_network = "hostNetwork" in row.spec
    hosts = HOST_NETWORK if host_network else f"{STANDING}{address}\t{row.hosts}"
    assert printed(cluster, name, "cat", "/etc/resolv.conf") == row.conf
    assert printed(cluster, name, "cat", "/etc/hosts") == hosts
    found = tuple(printed(cluster, name, "hostname", *option).strip() for option in ([], ["-f"], ["-d"]))
    assert found == row.names
    assert printed(cluster, name, "printenv", "HOSTNAME").strip() == row.names[0]


def test_an_alias_answers_without_a_query(cluster: Cluster) -> None:
    lookup = cluster.pump(cluster.pod("aliases", "dev").resolve("foo.local"))
    assert ([str(address) for address in lookup.addresses], lookup.queries) == (["10.1.2.3"], ())


def test_a_pod_whose_hostname_has_dots_and_that_has_no_search_list_searches_its_domain() -> None:
    spec = "hostnameOverride: my.host, dnsPolicy: Default"
    with run(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: dev}}\n{manifest('p', spec)}") as cluster:
        lookup = cluster.pump(cluster.pod("p", "dev").resolve("x"))
    assert list(dict.fromkeys(query.name for query in lookup.queries)) == ["x.host.", "x."]


SERVICES = """\
---
apiVersion: v1
kind: Service
metadata: {name: my-db, namespace: dev}
spec: {ports: [{port: 5432, name: main}, {port: 53, name: dns, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: dev}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: default}
spec: {ports: [{port: 80}]}
"""
WITHOUT_LINKS = "enableServiceLinks: false"
OWN = (
    "env: [{name: MY_DB_SERVICE_HOST, value: mine}, "
    '{name: URL, value: "$(MY_DB_SERVICE_HOST):$(MY_DB_SERVICE_PORT)/$(NOPE)/$$(A)"}]'
)


def variables(cluster: Cluster, pod: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in printed(cluster, pod, "env").splitlines())


def test_services_are_in_the_environment_of_the_pods_that_start_after_them() -> None:
    own = manifest("own", "").replace("image: debian,", f"image: debian, {OWN},")
    pods = manifest("linked", "") + manifest("unlinked", WITHOUT_LINKS) + own
    with run(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: dev}}\n{SERVICES}{pods}") as cluster:
        linked = variables(cluster, "linked")
        address = linked["MY_DB_SERVICE_HOST"]
        assert {name: value for name, value in linked.items() if name.startswith("MY_DB")} == {
            "MY_DB_SERVICE_HOST": address,
            "MY_DB_SERVICE_PORT": "5432",
            "MY_DB_SERVICE_PORT_MAIN": "5432",
            "MY_DB_SERVICE_PORT_DNS": "53",
            "MY_DB_PORT": f"tcp://{address}:5432",
            "MY_DB_PORT_5432_TCP": f"tcp://{address}:5432",
            "MY_DB_PORT_5432_TCP_PROTO": "tcp",
            "MY_DB_PORT_5432_TCP_PORT": "5432",
            "MY_DB_PORT_5432_TCP_ADDR": address,
            "MY_DB_PORT_53_UDP": f"udp://{address}:53",
            "MY_DB_PORT_53_UDP_PROTO": "udp",
            "MY_DB_PORT_53_UDP_PORT": "53",
            "MY_DB_PORT_53_UDP_ADDR": address,
        }
        services = {name.partition("_SERVICE_HOST")[0] for name in linked if name.endswith("_SERVICE_HOST")}
        assert services == {"KUBERNETES", "MY_DB"}
        unlinked = variables(cluster, "unlinked")
        assert unlinked["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
        assert not [name for name in unlinked if name.startswith("MY_DB")]
        assert variables(cluster, "own")["URL"] == "mine:5432/$(NOPE)/$(A)"


LATE = "apiVersion: v1\nkind: Service\nmetadata: {name: late, namespace: dev}\nspec: {ports: [{port: 80}]}\n"


async def test_a_late_service_is_in_the_environment_of_a_container_once_that_is_started_again() -> None:
    spec = manifest("p", "").replace("command: [sleep, infinity]", 'command: [sh, -c, "sleep 30"]')
    with run(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: dev}}\n{spec}") as cluster:
        await cluster.apply(LATE)
        assert "LATE_SERVICE_HOST" not in variables(cluster, "p")
        cluster.advance(40.0)
        assert "LATE_SERVICE_HOST" in variables(cluster, "p")


def test_command_and_args_refer_to_the_environment() -> None:
    words = 'command: [sh, -c, "wget -q -O- $(TARGET); sleep 100"], env: [{name: TARGET, value: "$(A)"}]'
    spec = manifest("p", "").replace("command: [sleep, infinity]", words)
    with run(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: dev}}\n{spec}") as cluster:
        assert "wget -q -O- $(A); sleep 100" in printed(cluster, "p", "ps", "aux")
