"""What kube-proxy itself serves on a node: the health checks of load balancers.

``cluster.health_checks`` starts one for each Service that has a healthCheckNodePort, on every node. Source:
Kubernetes pkg/proxy/healthcheck/service_health.go, hcHandler.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from netsim.base.address import IpAddress
from netsim.programs.host import Host
from netsim.programs.http_server import Request, Response, serve_http

SERVER = "kube-proxy"
WEIGHT = "X-Load-Balancing-Endpoint-Weight"


async def serve_health(
    host: Host,
    *,
    port: int,
    service: tuple[str, str],
    local_endpoints: Callable[[], int],
    address: IpAddress | None = None,
) -> None:
    """Say to whoever asks how many ready endpoints of a Service are on this node: 503 if there is none.

    ``service`` is its namespace and name; ``address`` None: at every address of the node.
    """
    namespace, name = service

    def answer(request: Request) -> Response:
        count = local_endpoints()
        said = {
            "service": {"namespace": namespace, "name": name},
            "localEndpoints": count,
            "serviceProxyHealthy": True,
        }
        headers = (("X-Content-Type-Options", "nosniff"), (WEIGHT, str(count)))
        return Response(json.dumps(said, indent="\t"), 200 if count else 503, "application/json", headers)

    await serve_http(host, await host.listen(port, address=address), answer, server=SERVER)
