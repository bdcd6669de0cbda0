"""The API server's certificate and key, and the authority that signed it, in PEM.

They protect nothing: the same ones stand in every copy of netsim. ``tls`` serves with them, the kubelet
mounts the authority into Pods. They are valid from 2020 to 2120, for the names of the ``kubernetes`` Service
and the addresses of the default Topology.
"""

from pathlib import Path

AUTHORITY = Path(__file__).parent / "ca.crt"
SERVER = Path(__file__).parent / "apiserver.pem"
