"""The ConfigMap ``coredns`` is the live Corefile: edited, it takes effect after the kubelet's and CoreDNS's
delays; wrong, it changes nothing."""

from __future__ import annotations

import asyncio

import pytest

from netsim.cluster import Cluster, run
from netsim.clusterdns.corefile import default_corefile
from netsim.clusterdns.plugins.reload import INTERVAL, JITTER
from netsim.kubelet.volumes import SYNC_INTERVAL, SYNC_JITTER
from netsim.objects.core import Pod
from netsim.programs.coredns import LOG
from tests.cluster.conftest import TWO_NAMESPACES

OVERRIDE = "hosts {\n 192.0.2.7 ent.prod.svc.cluster.local\n fallthrough\n}\n"
LONGEST = SYNC_INTERVAL * (1 + SYNC_JITTER) + INTERVAL + JITTER / 2
KUBEADM = default_corefile("cluster.local")


def configure(cluster: Cluster, corefile: str) -> None:
    body = "\n".join(f"    {line}" for line in corefile.splitlines())
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: coredns, namespace: kube-system}\n"
    asyncio.run(cluster.apply(f"{text}data:\n  Corefile: |\n{body}\n"))


def addresses(cluster: Cluster) -> set[str]:
    """What each of the DNS servers says about ent.prod, asked often enough to meet both."""
    jump = cluster.pod("dev/jump")
    found: set[str] = set()
    for _ in range(12):
        found.update(map(str, asyncio.run(jump.resolve("ent.prod")).addresses))
    return found


def test_an_edited_corefile_takes_effect_after_both_delays() -> None:
    with run(TWO_NAMESPACES) as cluster:
        before = addresses(cluster)
        assert "192.0.2.7" not in before
        configure(cluster, KUBEADM.replace("    errors", OVERRIDE + "    errors"))
        assert addresses(cluster) == before
        cluster.advance(LONGEST)
        assert addresses(cluster) == {"192.0.2.7"}


def test_a_wrong_corefile_keeps_the_old_one_and_says_so_in_the_log() -> None:
    with run(TWO_NAMESPACES) as cluster:
        before = addresses(cluster)
        configure(cluster, KUBEADM.replace("ttl 30", "ttl -1"))
        cluster.advance(LONGEST)
        assert addresses(cluster) == before
        pods = cluster.store.list(Pod, "kube-system")
        assert pods
        for pod in pods:
            log = cluster.pod(f"kube-system/{pod.metadata.name}").host.files[LOG]
            assert "plugin/reload: Corefile changed but reload failed" in log
            assert "Error during parsing: ttl must be in range [0, 3600]: -1" in log


LOOP = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {{name: loop}}
spec:
  dns:
    corefile: |
      . {{
        health
        ready
        kubernetes cluster.local
        forward . {upstream}
        loop
      }}
"""


@pytest.mark.parametrize("upstream", ["127.0.0.1", "10.96.0.10"])
def test_a_forwarding_loop_ends_the_servers_again_and_again(upstream: str) -> None:
    with run(LOOP.format(upstream=upstream)) as cluster:
        cluster.advance(60)
        found = "\n".join(cluster.findings())
        assert "coredns" in found
        assert "CrashLoopBackOff: [FATAL] plugin/loop: Loop (" in found
