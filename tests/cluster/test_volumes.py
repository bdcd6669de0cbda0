"""ConfigMaps, Secrets and the Pod's own fields as files: what a container finds, when it changes, and what
keeps it from starting."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from netsim.cluster import Cluster, run
from netsim.kubelet.volumes import SYNC_INTERVAL, SYNC_JITTER
from netsim.objects.core import Pod

LONGEST_SYNC = SYNC_INTERVAL * (1 + SYNC_JITTER)
PAGE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {index.html: first, about.html: about us}
binaryData: {logo: /w==}
"""
LOGIN = """
apiVersion: v1
kind: Secret
metadata: {name: login}
data: {user: YWxpY2U=, password: /w==}
"""
EVERYTHING = f"{PAGE}---{LOGIN}"


def pod(volume: str, mount: str = "", image: str = "debian, command: [sleep, infinity]") -> str:
    """The Pod ``web`` that mounts one volume in /data."""
    place = mount or "mountPath: /data"
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{tier: back, app: web}}, annotations: {{said: 'a "b"'}}}}
spec:
  volumes: [{{name: v, {volume}}}]
  containers: [{{name: web, image: {image}, volumeMounts: [{{name: v, {place}}}]}}]
---
"""


def files_of(cluster: Cluster, folder: str = "/data") -> dict[str, str]:
    files = cluster.pod("web").host.files
    return {path: text for path, text in files.items() if path.startswith(folder)}


class Row(NamedTuple):
    volume: str
    files: dict[str, str]
    mount: str = ""


HTML = {"/data/index.html": "first", "/data/about.html": "about us", "/data/logo": "\udcff"}
ROWS = {
    "each key of a ConfigMap is a file": Row("configMap: {name: page}", HTML),
    "a mount path may end in a slash": Row("configMap: {name: page}", HTML, "mountPath: /data/"),
    "each key of a Secret is a file": Row(
        "secret: {secretName: login}", {"/data/user": "alice", "/data/password": "\udcff"}
    ),
    "items choose keys and name the files": Row(
        "configMap: {name: page, items: [{key: index.html, path: en/home.html}]}",
        {"/data/en/home.html": "first"},
    ),
    "an optional item that is missing is left out": Row(
        "secret: {secretName: login, optional: true, items: [{key: user, path: u}, {key: x, path: x}]}",
        {"/data/u": "alice"},
    ),
    "an optional ConfigMap that is missing is an empty folder": Row(
        "configMap: {name: none, optional: true}", {}
    ),
    "an optional Secret that is missing is an empty folder": Row(
        "secret: {secretName: none, optional: true}", {}
    ),
    "subPath mounts one file": Row(
        "configMap: {name: page}", {"/data.html": "about us"}, "mountPath: /data.html, subPath: about.html"
    ),
    "subPath mounts a folder of the volume": Row(
        "configMap: {name: page, items: [{key: index.html, path: en/x/home}]}",
        {"/data/x/home": "first"},
        "mountPath: /data, subPath: en",
    ),
    "a subPath that is not there mounts nothing": Row(
        "configMap: {name: page}", {}, "mountPath: /data, subPath: none"
    ),
    "the downward API writes the Pod's own fields": Row(
        "downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}},"
        " {path: labels, fieldRef: {fieldPath: metadata.labels}},"
        " {path: notes, fieldRef: {fieldPath: metadata.annotations}}]}",
        {"/data/name": "web", "/data/labels": 'app="web"\ntier="back"', "/data/notes": 'said="a \\"b\\""'},
    ),
    "a projected volume has all of its sources": Row(
        "projected: {sources: [{configMap: {name: page, items: [{key: index.html, path: p}]}},"
        " {secret: {name: login, items: [{key: user, path: u}]}},"
        " {downwardAPI: {items: [{path: space, fieldRef: {fieldPath: metadata.namespace}}]}},"
        " {serviceAccountToken: {path: token}}]}",
        {"/data/p": "first", "/data/u": "alice", "/data/space": "default", "/data/token": "netsim"},
    ),
    "other kinds hold nothing": Row("emptyDir: {}", {}),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_a_container_finds(row: Row) -> None:
    with run(pod(row.volume, row.mount) + EVERYTHING) as cluster:
        assert files_of(cluster) == row.files


def test_every_namespace_has_the_clusters_authority() -> None:
    with run(pod("configMap: {name: kube-root-ca.crt}")) as cluster:
        assert files_of(cluster)["/data/ca.crt"].startswith("-----BEGIN CERTIFICATE-----")


REFUSED = {
    "configMap: {name: page}": 'configmap "page" not found',
    "secret: {secretName: login}": 'secret "login" not found',
    "projected: {sources: [{secret: {name: login}}]}": 'secret "login" not found',
}


@pytest.mark.parametrize(("volume", "why"), REFUSED.items(), ids=REFUSED)
async def test_a_container_waits_for_what_it_mounts(volume: str, why: str) -> None:
    with run(pod(volume)) as cluster:
        message = f'MountVolume.SetUp failed for volume "v" : {why}'
        found = cluster.store.get(Pod, "web", "default")
        (container,) = found.status.container_statuses
        assert found.status.phase == "Pending"
        assert container.rest["state"]["waiting"]["reason"] == "ContainerCreating"
        assert f"Pod default/web: cannot become ready: {message}" in cluster.findings()
        cluster.advance(10.0)
        (event,) = [told for told in cluster.events("pod/web") if told.reason == "FailedMount"]
        assert (event.message, event.type, event.count) == (message, "Warning", 5), "at 0, 0.5, 1.5, 3.5, 7.5"
        await cluster.apply(EVERYTHING)
        cluster.advance(8.0)
        assert cluster.findings() == []
        assert files_of(cluster)


MISSING_KEYS = {
    "configMap: {name: page, items: [{key: x, path: x}]}": "configmap references non-existent config key: x",
    "secret: {secretName: login, items: [{key: x, path: x}]}": "references non-existent secret key: x",
}


@pytest.mark.parametrize(("volume", "why"), MISSING_KEYS.items(), ids=MISSING_KEYS)
def test_a_container_waits_for_a_key(volume: str, why: str) -> None:
    with run(pod(volume) + EVERYTHING) as cluster:
        (finding,) = cluster.findings()
        assert finding.endswith(why)


def test_a_pod_that_waits_for_a_volume_can_be_deleted() -> None:
    with run(pod("configMap: {name: page}")) as cluster:
        cluster.pump(cluster.delete("pod", "default/web"))
        cluster.advance(300.0)
        assert cluster.store.find(Pod, "web", "default") is None


async def test_a_changed_configmap_is_in_the_files_after_the_next_sync() -> None:
    with run(pod("configMap: {name: page}") + PAGE) as cluster:
        await cluster.apply(PAGE.replace("index.html: first, about.html", "index.html: second, more.html"))
        assert files_of(cluster) == HTML
        cluster.advance(LONGEST_SYNC)
        assert files_of(cluster) == {
            "/data/index.html": "second", "/data/more.html": "about us", "/data/logo": "\udcff"
        }  # fmt: skip


async def test_a_deleted_configmap_leaves_its_files() -> None:
    with run(pod("configMap: {name: page}") + PAGE) as cluster:
        await cluster.delete("configmap", "page")
        cluster.advance(LONGEST_SYNC)
        assert files_of(cluster) == HTML
        assert [told.reason for told in cluster.events("pod/web")].count("FailedMount") == 1
        assert cluster.findings() == []


async def test_a_file_of_a_subpath_changes_only_when_its_container_starts_again() -> None:
    text = pod(
        "configMap: {name: page}", "mountPath: /data, subPath: index.html", "busybox, command: [sleep, '300']"
    )
    with run(text + PAGE) as cluster:
        await cluster.apply(PAGE.replace("first", "second"))
        cluster.advance(LONGEST_SYNC)
        assert files_of(cluster) == {"/data": "first"}
        cluster.advance(300.0)
        assert files_of(cluster) == {"/data": "second"}


async def test_a_node_that_is_cut_off_hears_of_a_change_when_it_is_back() -> None:
    with run(pod("configMap: {name: page}") + PAGE) as cluster:
        node = cluster.store.get(Pod, "web", "default").spec.node_name
        cluster.fail_node(node)
        await cluster.apply(PAGE.replace("first", "second"), settle=False)
        cluster.advance(LONGEST_SYNC)
        assert files_of(cluster) == HTML
        cluster.restore_node(node)
        cluster.advance(LONGEST_SYNC)
        assert files_of(cluster)["/data/index.html"] == "second"


SERVERS = {"nginx": "/usr/share/nginx/html", "httpd": "/usr/local/apache2/htdocs"}


@pytest.mark.parametrize(("image", "root"), SERVERS.items(), ids=SERVERS)
async def test_a_web_server_shows_the_page_of_a_configmap(image: str, root: str) -> None:
    with run(pod("configMap: {name: page}", f"mountPath: {root}", image) + PAGE) as cluster:
        address = cluster.store.get(Pod, "web", "default").status.pod_ip

        async def page() -> str:
            return (await cluster.node("node1").exec(["curl", "-s", f"http://{address}/"])).stdout

        assert await page() == "first"
        await cluster.apply(PAGE.replace("first", "second"))
        cluster.advance(LONGEST_SYNC)
        assert await page() == "second"
