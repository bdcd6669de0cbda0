"""Pages of the sample applications that Kubernetes books and courses deploy, in our own short HTML.

Each has the line by which readers know its version, and the hostname, so that a rolling update or a
blue/green switch can be seen. The text-dev and text-prod images answer plain text.
"""

from __future__ import annotations

from collections.abc import Mapping

from netsim.programs.host import Host, Invocation, Program
from netsim.programs.servers import pages

PORT = 8080

TEXT_DEV = "Hello from the DEV Namespace!\nHostname: {hostname}\n"
TEXT_PROD = "Hello from the PROD Namespace!\nHostname: {hostname}\n"

PAGE = """<!DOCTYPE html>
<html>
<head><title>{title}</title></head>
<body>
<h1>{line}</h1>
<p>Pod/container/host that serviced this request: {hostname}</p>
</body>
</html>
"""

LINES: Mapping[str, tuple[str, str]] = {
    "latest": ("K8s rocks!", "Kubernetes Rocks!"),
    "1.0": ("K8s rocks!", "Kubernetes Rocks!"),
    "edge": ("The K8s book", "The Kubernetes Book!!!"),
    "2.0": ("K8s rocks!", "WebAssembly is coming!"),
}
"""Tag → the page's title and the line by which its readers know it."""


def book_page(title: str, line: str) -> Program:
    """A program that serves one of these pages on ``PORT``."""
    return pages({PORT: PAGE.replace("{title}", title).replace("{line}", line)}, "netsim")


async def tagged_page(host: Host, start: Invocation) -> int:
    """The page of an image of which netsim knows no line: it says the image's name and tag."""
    name = start.image.partition("@")[0].rpartition("/")[2]
    return await book_page(name, name)(host, start)
