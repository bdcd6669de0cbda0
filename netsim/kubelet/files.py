"""The files that a Pod finds: its hostname and /etc/hosts, as the kubelet makes them.

Pure functions for the kubelet agent; each follows pkg/kubelet/kubelet_pods.go by the function named in its
docstring. /etc/resolv.conf is in ``resolver.resolvconf``, the environment in ``environment.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from netsim.base.errors import PodStartError
from netsim.objects.core import HostAlias, Pod
from netsim.programs.certificates import AUTHORITY

HEADER = "# Kubernetes-managed hosts file.\n"
HEADER_HOST_NETWORK = "# Kubernetes-managed hosts file (host network).\n"
STANDING_ENTRIES = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)
NODE_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"  # a node's own file
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN = "netsim"
MAX_HOSTNAME = 63  # hostnameMaxLen
MAX_NODENAME = 64  # fqdnMaxLen: what struct utsname holds beside its NUL


class PodNames(NamedTuple):
    """A Pod's short name, and its domain, empty unless the Pod has a subdomain."""

    hostname: str
    domain: str

    @property
    def fqdn(self) -> str:
        """Both, as ``hostname -f`` finds them in /etc/hosts."""
        return f"{self.hostname}.{self.domain}" if self.domain else self.hostname


def pod_names(pod: Pod, cluster_domain: str) -> PodNames:
    """What a Pod is called (GeneratePodHostNameAndDomain): hostnameOverride, else hostname, else its own
    name, cut to 63 characters."""
    override = pod.spec.rest.get("hostnameOverride")
    if override is not None:
        return PodNames(_cut(str(override)), "")
    hostname = _cut(pod.spec.hostname or pod.metadata.name)
    if not pod.spec.subdomain:
        return PodNames(hostname, "")
    return PodNames(hostname, f"{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}")


def _cut(hostname: str) -> str:
    """truncatePodHostnameIfNeeded"""
    if len(hostname) <= MAX_HOSTNAME:
        return hostname
    return hostname[:MAX_HOSTNAME].rstrip("-.")


def pod_hostname(pod: Pod, cluster_domain: str) -> str:
    """What ``hostname`` prints in the Pod (GetNodenameForKernel); a hostNetwork Pod shares the node's.

    Raises PodStartError when setHostnameAsFQDN makes a name of more than 64 characters.
    """
    if pod.spec.host_network:
        return pod.spec.node_name
    names = pod_names(pod, cluster_domain)
    if not pod.spec.set_hostname_as_fqdn:
        return names.hostname
    if names.domain and len(names.fqdn) > MAX_NODENAME:
        raise PodStartError(
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: failed to construct FQDN from pod hostname and cluster domain, "
            f"FQDN {names.fqdn} is too long ({MAX_NODENAME} characters is the max, "
            f"{len(names.fqdn)} characters requested)",
        )
    return names.fqdn


def hosts_file(pod: Pod, cluster_domain: str, node_file: str = "") -> str:
    """/etc/hosts of a Pod that has its addresses (managedHostsFileContent). A hostNetwork Pod gets
    ``node_file``, the node's own, under another header (nodeHostsFileContent)."""
    aliases = _alias_lines(pod.spec.host_aliases)
    if pod.spec.host_network:
        return f"{HEADER_HOST_NETWORK}{node_file}{aliases}"
    names = pod_names(pod, cluster_domain)
    own = "\t".join(dict.fromkeys((names.fqdn, names.hostname)))
    addresses = [entry.ip for entry in pod.status.pod_ips] or [pod.status.pod_ip]
    return HEADER + STANDING_ENTRIES + "".join(f"{ip}\t{own}\n" for ip in addresses if ip) + aliases


def _alias_lines(aliases: Iterable[HostAlias]) -> str:
    """hostsEntriesFromHostAliases"""
    lines = [f"{alias.ip}\t" + "\t".join(alias.hostnames) + "\n" for alias in aliases]
    return "\n# Entries added by HostAliases.\n" + "".join(lines) if lines else ""


@cache
def authority() -> str:
    """The cluster's certificate authority, which comes with the package."""
    return AUTHORITY.read_text(encoding="ascii")


def service_account_files(pod: Pod) -> dict[str, str]:
    """What the projected volume ``kube-api-access`` holds (plugin/pkg/admission/serviceaccount); the token is
    good for nothing. A Pod with automountServiceAccountToken: false has none of it."""
    if pod.spec.rest.get("automountServiceAccountToken") is False:
        return {}
    return {
        f"{SERVICE_ACCOUNT}/ca.crt": authority(),
        f"{SERVICE_ACCOUNT}/namespace": pod.metadata.namespace,
        f"{SERVICE_ACCOUNT}/token": TOKEN,
    }
