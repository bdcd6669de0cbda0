"""A cluster has a picture: the same value in every format, with everything a reader looks for in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from html import unescape

import pytest

from netsim.cluster import Cluster, run
from netsim.cluster.graph import FORMATS, Drawing, View, drawing_of, renderer
from netsim.cluster.graph.mermaid import quoted
from netsim.cluster.graph.text import ascii_text, render
from tests.conftest import Golden

SITE = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {name: two-racks}
spec:
  fabric:
    subnets:
      - {name: rack-a, cidr: 192.168.10.0/24}
      - {name: rack-b, cidr: 192.168.20.0/24, mtu: 9000}
  nodes:
    - {name: control, subnet: rack-a, controlPlane: true}
    - {name: node1, subnet: rack-a, zone: a}
    - {name: node2, subnet: rack-b, zone: b}
  loadBalancer: {pool: 192.168.10.240/28}
  external:
    hosts:
      - {name: client, address: 203.0.113.7}
      - {name: shop.example.org, address: 203.0.113.8, http: {80: "open\\n", 8443: "open\\n"}}
      - {name: db, address: 192.168.20.50}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 12
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: peer, namespace: shop}
spec:
  serviceName: peers
  replicas: 2
  selector: {matchLabels: {app: peer}}
  template:
    metadata: {labels: {app: peer}}
    spec:
      containers: [{name: peer, image: nginx}]
---
apiVersion: v1
kind: Pod
metadata: {name: jump, namespace: shop}
spec:
  containers: [{name: shell, image: ubuntu, tty: true, stdin: true}]
---
apiVersion: v1
kind: Pod
metadata: {name: big, namespace: shop}
spec:
  nodeSelector: {disk: ssd}
  containers: [{name: shell, image: ubuntu, tty: true, stdin: true}]
---
apiVersion: v1
kind: Pod
metadata: {name: crashing, namespace: shop, labels: {app: crashing}}
spec:
  containers: [{name: shell, image: ubuntu}]
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec:
  clusterIP: 10.96.1.1
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80, nodePort: 30002}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.1.2
  type: NodePort
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, nodePort: 30001}]
---
apiVersion: v1
kind: Service
metadata: {name: peers, namespace: shop}
spec:
  clusterIP: None
  selector: {app: peer}
---
apiVersion: v1
kind: Service
metadata: {name: crashing, namespace: shop}
spec:
  clusterIP: 10.96.1.3
  selector: {app: crashing}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: shop}
spec:
  clusterIP: 10.96.1.4
  selector: {app: wbe}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: shop}
spec: {type: ExternalName, externalName: shop.example.org}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec:
  clusterIP: 10.96.1.5
  ports: [{port: 5432}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints:
  - {addresses: [192.168.20.50]}
  - {addresses: [198.51.100.9]}
ports: [{port: 5432, protocol: TCP}]
"""
"""Two racks, and a Service of each type: with and without endpoints, with a Pod that crashes, and by hand."""


@pytest.fixture(scope="module")
def site() -> Iterator[Cluster]:
    with run(SITE) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def drawing(site: Cluster) -> Drawing:
    return drawing_of(site)


@pytest.mark.parametrize("wanted", FORMATS)
def test_the_picture_of_a_site(drawing: Drawing, wanted: str, golden: Golden) -> None:
    golden(f"graph.{wanted}", renderer(wanted)(drawing))


@pytest.mark.parametrize("view", [View.NETWORK, View.SERVICES])
def test_the_views_of_a_site(site: Cluster, view: View, golden: Golden) -> None:
    golden(f"graph-{view.value}.text", renderer("text")(drawing_of(site, view=view)))


def test_a_workload_is_the_deployment_and_not_the_replica_set(drawing: Drawing) -> None:
    titles = [workload.title for workload in drawing.workloads]
    assert titles == [
        *("deploy/kube-system/coredns", "shop/big", "shop/crashing", "shop/jump"),
        *("deploy/shop/web", "sts/shop/peer"),
    ]
    (web,) = (workload for workload in drawing.workloads if workload.title == "deploy/shop/web")
    assert len(web.pods) == 12
    assert {pod.node for pod in web.pods} == {"node1", "node2"}


def test_a_load_balancer_address_is_at_the_node_that_answers_for_it(drawing: Drawing) -> None:
    (front,) = (service for service in drawing.services if service.title == "shop/front")
    (address,) = front.outside
    announcing = [node.name for rack in drawing.racks for node in rack.nodes if address in node.announces]
    assert list(front.answering) == announcing
    assert front.ways_in[0] == f"from outside: {address} at {announcing[0]}"


def test_an_endpoint_is_whoever_has_its_address(drawing: Drawing) -> None:
    targets = {service.title: [end.target for end in service.endpoints] for service in drawing.services}
    assert targets["default/kubernetes"] == ["node/control"]
    assert targets["shop/db"] == ["", "external/db"]
    assert targets["shop/peers"] == ["shop/peer-0", "shop/peer-1"]


def test_what_does_not_work_is_said(drawing: Drawing) -> None:
    troubles = {pod.title: pod.trouble for pod in drawing.pods.values() if pod.trouble}
    assert troubles == {"shop/big": "Pending", "shop/crashing": "CrashLoopBackOff"}
    services = {service.title: service for service in drawing.services}
    assert services["shop/nobody"].ways_in == ("no endpoints",)
    crashing = services["shop/crashing"]
    assert [crashing.trouble(end) for end in crashing.endpoints] == ["not ready"]


def test_a_port_that_no_container_has_is_named() -> None:
    named = "{selector: {app: web}, ports: [{port: 80, targetPort: https}]}"
    service = f"{{apiVersion: v1, kind: Service, metadata: {{name: named, namespace: shop}}, spec: {named}}}"
    with run(f"{SITE}---\n{service}\n") as cluster:
        (found,) = (s for s in drawing_of(cluster).services if s.title == "shop/named")
    assert {found.trouble(end) for end in found.endpoints} == {"no such port"}


def test_namespaces_leave_out_what_is_not_in_them(site: Cluster) -> None:
    drawing = drawing_of(site, namespaces=["kube-system"])
    assert [service.title for service in drawing.services] == ["kube-system/kube-dns"]
    assert {pod.namespace for pod in drawing.pods.values()} == {"kube-system"}
    assert [node.name for rack in drawing.racks for node in rack.nodes] == ["control", "node1", "node2"]


def test_a_lost_node_is_not_ready() -> None:
    with run(SITE) as cluster:
        cluster.fail_node("node2")
        cluster.advance(60.0)
        drawing = drawing_of(cluster)
    (lost,) = (node for rack in drawing.racks for node in rack.nodes if not node.ready)
    assert (lost.name, lost.facts) == ("node2", ("zone b", "NotReady"))
    assert 'class="node lost"' in renderer("svg")(drawing)


def test_every_format_draws_the_same_picture_twice(site: Cluster) -> None:
    for wanted in FORMATS:
        assert renderer(wanted)(drawing_of(site)) == renderer(wanted)(drawing_of(site))


def test_headings_and_troubles_are_set_apart(drawing: Drawing) -> None:
    def marked(text: str, style: str) -> str:
        return f"<{style}>{text}</{style}>"

    text = render(drawing, marked)
    plain = renderer("text")(drawing)
    assert (
        text.replace("<bold>", "").replace("</bold>", "").replace("<red>", "").replace("</red>", "") == plain
    )
    assert "└─ shop/big  no address  <red>Pending</red>\n" in text
    assert "<bold>services</bold>\n" in text
    assert "│  └─ <red>no endpoints</red>\n" in text
    assert text.count("<red>CrashLoopBackOff</red>\n") == 2  # the Pod, and the Service in front of it


def test_plain_text_is_ascii(drawing: Drawing) -> None:
    text = renderer("text")(drawing)
    assert not text.isascii()
    assert ascii_text(text).isascii()


def test_json_holds_what_the_others_draw(drawing: Drawing) -> None:
    document = json.loads(renderer("json")(drawing))
    assert [rack["name"] for rack in document["racks"]] == ["rack-a", "rack-b"]
    assert len(document["services"]) == len(drawing.services) > 5


@pytest.mark.needs("dot")
@pytest.mark.parametrize("view", View)
def test_graphviz_draws_the_dot_file_without_a_word(site: Cluster, view: View) -> None:
    source = renderer("dot")(drawing_of(site, view=view))
    done = subprocess.run(["dot", "-Tsvg"], input=source, text=True, capture_output=True, check=True)
    assert done.stderr == ""
    shown = unescape(done.stdout)
    assert [pod for pod in drawing_of(site, view=view).pods if pod.rpartition("/")[2] not in shown] == []


@pytest.mark.parametrize("view", View)
def test_mermaid_arrows_lead_from_and_to_declared_ids(site: Cluster, view: View) -> None:
    lines = renderer("mermaid")(drawing_of(site, view=view)).splitlines()
    assert lines[3] == "flowchart LR"
    declared, used = set(), set()
    for line in lines[4:]:
        words = line.split()
        if words[0] == "subgraph":
            declared.add(words[1].partition("[")[0])
        elif words[1:2] and words[1].startswith(("---", "-->", "-.->")):
            used |= {words[0], words[-1]}
        elif words[0] not in ("end", "classDef"):
            declared.add(words[0].partition("[")[0].partition("(")[0].partition("{")[0])
    assert used <= declared
    assert len(used) > 5


def test_mermaid_texts_mean_nothing_to_mermaid() -> None:
    assert quoted(['a "b" <c> #d', "end"]) == '"a #quot;b#quot; #lt;c#gt; #35;d<br/>end"'
