"""Images: references, the table, and what a container's command and args make of it."""

from __future__ import annotations

import pytest

from netsim.objects.topology import ImageSpec
from netsim.programs.host import Host, Identity, Invocation, PortSpec
from netsim.programs.images import TABLE, ImageName, behaviour_of, flavour_of, parse_image, program_for
from netsim.programs.tools.call import Flavour
from tests.tools import generate_image_reference

from .playground import Playground

IDENTITY = Identity(pod="web-0", namespace="prod", node="node2", pod_ip="10.244.2.9")


@pytest.mark.parametrize(
    ("text", "parts", "short"),
    [
        ("nginx", ImageName("docker.io", "nginx", "latest", ""), "nginx:latest"),
        ("nginx:1.27", ImageName("docker.io", "nginx", "1.27", ""), "nginx:1.27"),
        ("docker.io/library/nginx:1.27", ImageName("docker.io", "library/nginx", "1.27", ""), "nginx:1.27"),
        ("localhost/app", ImageName("localhost", "app", "latest", ""), "app:latest"),
        ("registry:5000/a/b:v1", ImageName("registry:5000", "a/b", "v1", ""), "a/b:v1"),
        (
            "acme/shop@sha256:00",
            ImageName("docker.io", "acme/shop", "latest", "sha256:00"),
            "acme/shop:latest",
        ),
        (
            "registry.k8s.io/e2e-test-images/agnhost:2.53",
            ImageName("registry.k8s.io", "e2e-test-images/agnhost", "2.53", ""),
            "e2e-test-images/agnhost:2.53",
        ),
    ],
)
def test_a_reference_has_registry_repository_tag_and_digest(text: str, parts: ImageName, short: str) -> None:
    assert parse_image(text) == parts
    assert parse_image(text).short == short


@pytest.mark.parametrize(
    ("image", "pattern"),
    [
        ("nginx", "nginx:*"),
        ("public.ecr.aws/nginx:alpine", "nginx:*"),
        ("someone/nginx", "*"),
        ("nigelpoulton/k8sbook:text-dev", "nigelpoulton/k8sbook:text-dev"),
        ("nigelpoulton/k8sbook", "nigelpoulton/k8sbook:latest"),
        ("nigelpoulton/k8sbook:other", "nigelpoulton/k8sbook:*"),
        ("nigelpoulton/other", "*"),
        ("registry.k8s.io/pause:3.10", "pause:*"),
        ("registry.k8s.io/e2e-test-images/jessie-dnsutils:1.3", "*dnsutils:*"),
        ("registry.k8s.io/coredns/coredns:v1.14.7", "coredns/coredns:*"),
        ("gcr.io/google-samples/hello-app:2.0", "*google-samples/hello-app:2.0"),
        ("ubuntu:24.04", "ubuntu:*"),
        ("acme/shop:v2", "*"),
    ],
)
def test_the_first_line_of_the_table_that_fits_counts(image: str, pattern: str) -> None:
    assert behaviour_of(image).pattern == pattern


def test_the_image_reference_is_up_to_date() -> None:
    page = generate_image_reference.PAGE.read_text(encoding="utf-8")
    assert page == generate_image_reference.page(), "run python -m tests.tools.generate_image_reference"


def test_no_pattern_stands_twice_in_the_table() -> None:
    patterns = [line.pattern for line in TABLE]
    assert len(patterns) == len(set(patterns))


@pytest.mark.parametrize(
    ("image", "flavour"),
    [
        ("busybox", Flavour.BUSYBOX),
        ("nginx:1.27-alpine", Flavour.BUSYBOX),
        ("python:3.12-alpine", Flavour.BUSYBOX),
        ("curlimages/curl", Flavour.BUSYBOX),
        ("nicolaka/netshoot", Flavour.GNU),
        ("ubuntu", Flavour.GNU),
        ("acme/shop", Flavour.GNU),
    ],
)
def test_the_image_decides_whose_tools_there_are(image: str, flavour: Flavour) -> None:
    assert flavour_of(image) is flavour


def start(image: str, **fields: object) -> tuple[Playground, Invocation]:
    """A site whose server runs a container of the image."""
    site = Playground()
    invocation = Invocation(image, identity=IDENTITY, **fields)  # type: ignore[arg-type]  # fields by name
    site.serve(program_for(image), invocation, title=image)
    return site, invocation


@pytest.mark.parametrize(
    ("image", "question", "answer"),
    [
        ("nginx", "curl -s 10.244.2.9 | grep h1", "<h1>Welcome to nginx!</h1>\n"),
        ("httpd:2.4", "curl -s 10.244.2.9", "<html><body><h1>It works!</h1></body></html>\n"),
        ("bitnami/nginx", "curl -s -o /dev/null -w '%{http_code}' 10.244.2.9:8080", "200"),
        (
            "nigelpoulton/k8sbook:text-dev",
            "curl -s 10.244.2.9:8080",
            "Hello from the DEV Namespace!\nHostname: server\n",
        ),
        (
            "nigelpoulton/k8sbook:text-prod",
            "curl -s 10.244.2.9:8080",
            "Hello from the PROD Namespace!\nHostname: server\n",
        ),
        ("nigelpoulton/k8sbook", "curl -s 10.244.2.9:8080 | grep h1", "<h1>Kubernetes Rocks!</h1>\n"),
        (
            "nigelpoulton/k8sbook:edge",
            "curl -s 10.244.2.9:8080 | grep h1",
            "<h1>The Kubernetes Book!!!</h1>\n",
        ),
        ("nigelpoulton/k8sbook:1.0", "curl -s 10.244.2.9:8080 | grep h1", "<h1>Kubernetes Rocks!</h1>\n"),
        (
            "nigelpoulton/k8sbook:2.0",
            "curl -s 10.244.2.9:8080 | grep h1",
            "<h1>WebAssembly is coming!</h1>\n",
        ),
        (
            "nigelpoulton/k8sbook:hydra-ingress",
            "curl -s 10.244.2.9:8080 | grep '[hp][1>]'",
            "<h1>k8sbook:hydra-ingress</h1>\n<p>Pod/container/host that serviced this request: server</p>\n",
        ),
        ("traefik/whoami", "curl -s 10.244.2.9 | head -n 1", "Hostname: server\n"),
        ("jwilder/whoami", "curl -s 10.244.2.9:8000", "I'm server\n"),
        ("gcr.io/google-samples/hello-app:1.0", "curl -s 10.244.2.9:8080 | tail -n 1", "Hostname: server\n"),
        ("nginxdemos/hello:plain-text", "curl -s 10.244.2.9 | head -n 1", "Server address: 10.244.2.9:80\n"),
        ("registry.k8s.io/serve_hostname", "curl -s 10.244.2.9:9376", "server"),
        ("redis:7", "printf 'PING\\r\\n' | nc -w 1 10.244.2.9 6379", "+PONG\r\n"),
    ],
)
def test_an_image_serves_what_the_real_one_serves(image: str, question: str, answer: str) -> None:
    site, _ = start(image)
    assert site.shell(question).stdout == answer


def test_an_unknown_image_is_whoami_on_its_ports_and_nowhere_else() -> None:
    site, _ = start("acme/shop", ports=(PortSpec(3000), PortSpec(3001), PortSpec(5353, protocol="UDP")))
    said = site.shell("curl -s 10.244.2.9:3000/cart?x=1 -H 'X-A: b'").stdout.splitlines()
    assert said[:7] == [
        "Hostname: server", "Pod: web-0", "Namespace: prod", "Node: node2",
        "IP: 127.0.0.1", "IP: ::1", "IP: 10.244.2.9",
    ]  # fmt: skip
    assert said[8].startswith("RemoteAddr: 10.244.1.5:")
    assert {"GET /cart?x=1 HTTP/1.1", "Host: 10.244.2.9:3000", "X-A: b"} < set(said)
    assert site.shell("curl -s -o /dev/null 10.244.2.9:3001").exit == 0
    assert site.shell("curl -s 10.244.2.9:80").exit == 7
    echoed = site.shell("printf hello | nc -u -w 1 10.244.2.9 5353").stdout
    assert echoed.startswith("Hostname: server\n")
    assert echoed.endswith("\n\nhello")
    opened = {f"{protocol} {local}" for protocol, local in site.server.listening() if local.port != 53}
    assert opened == {"tcp [::]:3000", "tcp [::]:3001", "udp [::]:5353"}


def test_http_echo_takes_its_text_and_its_port_from_its_options() -> None:
    site, _ = start("hashicorp/http-echo", args=("-text=hello there", "-listen=:80"))
    assert site.shell("curl -s 10.244.2.9/any").stdout == "hello there\n"
    assert site.shell("curl -s 10.244.2.9/health").stdout == '{"status":"ok"}\n'


def test_http_echo_without_a_text_ends_with_127() -> None:
    site = Playground()
    assert site.run(program_for("hashicorp/http-echo")(site.server, Invocation("hashicorp/http-echo"))) == 127


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ((), ("netexec", "--http-port=80")),
        (("/agnhost", "netexec"), ("--http-port", "80")),
        (("sh", "-c", "exec /agnhost netexec --http-port=80"), ()),
    ],
)
def test_agnhost_runs_the_subcommand_however_it_is_given(
    command: tuple[str, ...], args: tuple[str, ...]
) -> None:
    site, _ = start("registry.k8s.io/e2e-test-images/agnhost:2.53", command=command, args=args)
    assert site.shell("curl -s 10.244.2.9/hostname").stdout == "server"
    assert site.shell("curl -s '10.244.2.9/echo?msg=hi%20you'").stdout == "hi you"
    assert site.shell("curl -s 10.244.2.9/clientip").stdout.startswith("10.244.1.5:")
    assert (
        site.shell("curl -s -o /dev/null -w '%{http_code}' '10.244.2.9/echo?msg=no&code=500'").stdout == "500"
    )
    assert site.shell("printf 'echo hi' | nc -u -w 1 10.244.2.9 8081").stdout == "hi"
    assert site.shell("echo clientip | nc -u -w 1 -p 40053 10.244.2.9 8081").stdout.endswith(":40053")
    assert site.shell("nc -u -p 70000 10.244.2.9 8081").stderr == "nc: port number invalid: 70000\n"


@pytest.mark.parametrize("image", ["ubuntu", "debian:12", "busybox", "alpine:3.20", "python:3.12"])
def test_a_system_image_without_a_command_ends_at_once(image: str) -> None:
    site = Playground()
    began = site.plane.now
    assert site.run(program_for(image)(site.server, Invocation(image))) == 0
    assert site.plane.now == began


@pytest.mark.parametrize("fields", [{"stdin": True, "tty": True}, {"tty": True, "command": ("/bin/bash",)}])
def test_a_shell_that_is_attached_to_waits(fields: dict[str, object]) -> None:
    site = Playground()
    task = site.serve(program_for("ubuntu"), Invocation("ubuntu", **fields))  # type: ignore[arg-type]  # as above
    site.wait(1000)
    assert not task.done  # type: ignore[attr-defined]  # a SimTask


@pytest.mark.parametrize(
    ("image", "command", "args", "seconds", "code"),
    [
        ("ubuntu", ("sleep", "30"), (), 30, 0),
        ("busybox", (), ("sleep", "30"), 30, 0),
        ("busybox", ("sh", "-c"), ("sleep 2; exit 3",), 2, 3),
        ("nginx", ("sleep", "30"), (), 30, 0),
        ("acme/shop", ("/bin/sh", "-c", "sleep 5"), (), 5, 0),
        ("ubuntu", ("./server",), (), 0, 127),
        ("ubuntu", ("bash", "-c", "no-such-thing"), (), 0, 127),
        ("busybox", ("sh",), (), 0, 0),
    ],
)
def test_a_command_is_run_instead_of_the_image(
    image: str, command: tuple[str, ...], args: tuple[str, ...], seconds: float, code: int
) -> None:
    site = Playground()
    began = site.plane.now
    program = program_for(image)
    assert site.run(program(site.server, Invocation(image, command=command, args=args))) == code
    assert site.plane.now - began == pytest.approx(seconds)


@pytest.mark.parametrize(
    "command",
    [
        ("sleep", "infinity"), ("tail", "-f", "/dev/null"), ("sh", "-c", "while true; do sleep 30; done"),
        ("nc", "-lk", "-p", "9000"),
    ],
)  # fmt: skip
def test_commands_that_keep_a_pod_alive_never_end(command: tuple[str, ...]) -> None:
    site = Playground()
    task = site.serve(program_for("busybox"), Invocation("busybox", command=command))
    site.wait(3600)
    assert not task.done  # type: ignore[attr-defined]  # a SimTask


@pytest.mark.parametrize(
    "command",
    [
        ("./server", "--port", "3000"),
        ("java", "-jar", "app.jar"),
        ("sh", "-c", "echo starting; exec ./server"),
        ("sh", "-c", "sleep 0.0001 && node server.js"),
    ],
)
def test_a_command_that_nobody_knows_is_the_images_own_program(command: tuple[str, ...]) -> None:
    site, _ = start("acme/shop", command=command, ports=(PortSpec(3000),))
    assert site.shell("curl -s 10.244.2.9:3000 | head -n 1").stdout == "Hostname: server\n"


def test_a_page_written_before_nginx_starts_is_served() -> None:
    script = "echo mine > /usr/share/nginx/html/index.html && exec nginx -g 'daemon off;'"
    site, _ = start("nginx", command=("sh", "-c", script))
    assert site.shell("curl -s 10.244.2.9").stdout == "mine\n"


def test_options_alone_go_to_the_images_program() -> None:
    site, _ = start("redis", args=("--port", "7000"))
    assert site.shell("printf 'PING\\r\\n' | nc -w 1 10.244.2.9 7000").stdout == "+PONG\r\n"


def test_the_curl_image_runs_curl_with_its_args() -> None:
    site = Playground()
    program = program_for("curlimages/curl")
    assert site.run(program(site.jump, Invocation("curlimages/curl", args=("http://nosuch",)))) == 6
    assert site.run(program(site.jump, Invocation("curlimages/curl", args=("sleep", "1")))) == 0


def test_the_topologys_pages_know_where_they_are() -> None:
    page = "{hostname} {pod} {namespace} {node} {ip} {other}\n"
    spec = ImageSpec("acme/shop:v2", {8080: page, 8081: '{"ok": true}\n'})
    site = Playground()
    site.serve(program_for("acme/shop:v2", {}, [spec]), Invocation("acme/shop:v2", identity=IDENTITY))
    assert site.shell("curl -s 10.244.2.9:8080/x").stdout == "server web-0 prod node2 10.244.2.9 {other}\n"
    assert "application/json" in site.shell("curl -sI 10.244.2.9:8081").stdout
    assert behaviour_of("acme/shop:v2").pattern == "*"


def test_a_custom_program_comes_first_and_sees_the_invocation() -> None:
    seen: list[Invocation] = []

    async def mine(host: Host, start: Invocation) -> int:
        seen.append(start)
        return 7

    site = Playground()
    program = program_for("nginx:1.27", {"nginx:*": mine}, [ImageSpec("nginx:1.27", {80: "no"})])
    invocation = Invocation("nginx:1.27", command=("sleep", "9"))
    assert site.run(program(site.server, invocation)) == 7
    assert seen == [invocation]


def test_a_port_that_is_taken_ends_the_second_server() -> None:
    site, invocation = start("nginx")
    assert site.run(program_for("httpd")(site.server, invocation)) == 1


def test_a_cancelled_server_gives_its_port_back() -> None:
    site = Playground()
    task = site.serve(program_for("nginx"), Invocation("nginx"))
    assert site.shell("curl -s 10.244.2.9").exit == 0
    task.cancel()
    assert site.shell("curl -s 10.244.2.9").exit == 7


def test_an_unknown_image_that_is_expected_to_end_and_serves_nothing_succeeds() -> None:
    site, program = Playground(), program_for("acme/migrate:v1")
    assert site.run(program(site.server, Invocation("acme/migrate:v1", to_completion=True))) == 0


def test_an_unknown_image_that_is_expected_to_end_serves_the_ports_that_it_declares() -> None:
    site, _ = start("acme/worker:v1", to_completion=True, ports=(PortSpec(3000),))
    assert site.shell("curl -s 10.244.2.9:3000").stdout.startswith("Hostname: server\n")
