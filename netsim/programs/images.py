"""Which program an image runs: one table from image patterns to behaviours, and how a command overrides it.

The kubelet asks ``program_for``; ``exec`` asks ``flavour_of``. A pattern is compared, as ``fnmatch`` does,
with ``name:tag`` without a registry and without Docker Hub's ``library/``; the first line that fits counts.
An image that no line fits serves whoami on its declared container ports and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from fnmatch import fnmatchcase
from functools import partial
from importlib import import_module
from typing import NamedTuple

from netsim.objects.topology import ImageSpec
from netsim.programs import book_pages, servers
from netsim.programs.agnhost import agnhost, serve_hostname
from netsim.programs.host import Host, Invocation, Program
from netsim.programs.redis import bitnami_redis, guestbook_follower, redis
from netsim.programs.terminal import Discard
from netsim.programs.tools import find_tool
from netsim.programs.tools.call import Call, Context, Flavour, Tool
from netsim.programs.waiting import forever
from netsim.resolver.commands import Libc

SHELLS = frozenset({"sh", "bash", "ash", "dash"})
OBEDIENT = frozenset({"agnhost", "nginx", "redis-server"})
"""Tools that are servers, with a handler for SIGTERM."""


class ImageName(NamedTuple):
    """An image reference in its parts (distribution/reference): ``registry/repository:tag@digest``."""

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def short(self) -> str:
        """``name:tag`` as the table writes it: no registry, no ``library/``."""
        return f"{self.repository.removeprefix('library/')}:{self.tag}"


def parse_image(text: str) -> ImageName:
    """Docker's rules: the first part is a registry if it has a dot or a colon, or is ``localhost``."""
    rest, _, digest = text.partition("@")
    registry, slash, repository = rest.partition("/")
    if not slash or not ("." in registry or ":" in registry or registry == "localhost"):
        registry, repository = "docker.io", rest
    repository, _, tag = repository.partition(":")
    return ImageName(registry, repository, tag or "latest", digest)


class Entrypoint(Enum):
    """What a container's ``args`` are to the image when it has no ``command``."""

    COMMAND = "command"  # there is no entrypoint, or one that runs its arguments: args are a command
    OPTIONS = "options"  # the entrypoint is the program itself: args are its options
    SHELL = "shell"  # a system without a program of its own: args are a command; without args, a shell


class Behaviour(NamedTuple):
    """One line of the table. ``flavour`` and ``libc`` None: as the image's name says (``alpine``)."""

    pattern: str
    what: str
    program: Program
    entrypoint: Entrypoint = Entrypoint.COMMAND
    flavour: Flavour | None = None
    libc: Libc | None = None


def _module(module: str, function: str) -> Program:
    """A program whose module is imported when it first runs."""

    async def run(host: Host, start: Invocation) -> int:
        program: Program = getattr(import_module(f"netsim.programs.{module}"), function)
        return await program(host, start)

    return run


async def _serve_hostname(host: Host, start: Invocation) -> int:
    return await serve_hostname(host, start.args)


async def _curl(host: Host, start: Invocation) -> int:
    """curlimages/curl's entrypoint.sh: a command is run as it is, other arguments are curl's."""
    line = start.args if start.args and find_tool(start.args[0]) else ("curl", *start.args)
    return await _run_line(line, Context(host, start.identity, Flavour.BUSYBOX), start)


async def _shell(host: Host, start: Invocation) -> int:
    """A system image's own command is a shell: it waits for whoever is attached, and else reads its end."""
    if start.tty or start.stdin:
        host.trap()  # an interactive shell ignores SIGTERM
        await forever(host)
    return 0


_nginx = partial(servers.web_server, "nginx", "/usr/share/nginx/html", servers.WELCOME_TO_NGINX)
_hello_app = "Hello, world!\nVersion: {version}\nHostname: {{hostname}}\n"
_system = ("runs its command, or a shell when attached to, or ends", _shell, Entrypoint.SHELL)

_DATABASES = (
    ("MongoDB on 27017: hello and ping, no data", "mongo", "mongo", ("mongo", "bitnami/mongodb", "*/mongo")),
    ("PostgreSQL on 5432: refuses every session", "databases", "postgres",
     ("postgres", "postgis/postgis", "bitnami/postgresql")),
    ("MySQL on 3306: refuses every login", "databases", "mysql",
     ("mysql", "mysql/mysql-server", "mariadb", "percona", "bitnami/mysql", "bitnami/mariadb")),
    ("memcached on 11211", "databases", "memcached", ("memcached", "bitnami/memcached")),
    ("listens on 5672 and says nothing", "databases", "rabbitmq", ("rabbitmq", "bitnami/rabbitmq")),
    ("listens on 9092 and says nothing", "databases", "kafka", ("*/kafka", "*/cp-kafka")),
    ("listens on 9042 and says nothing", "databases", "cassandra", ("cassandra", "*/cassandra")),
    ("listens on 2181 and says nothing", "databases", "zookeeper", ("zookeeper", "*zookeeper")),
)  # fmt: skip

TABLE: tuple[Behaviour, ...] = (
    Behaviour("nginx:*", "HTTP on 80, nginx's page or /usr/share/nginx/html", _nginx()),
    Behaviour("nginxinc/nginx-unprivileged:*", "nginx on 8080", _nginx(port=8080)),
    Behaviour("bitnami/nginx:*", "nginx on 8080", _nginx(port=8080)),
    Behaviour("httpd:*", "HTTP on 80, httpd's page or /usr/local/apache2/htdocs",
              servers.web_server("Apache", "/usr/local/apache2/htdocs", servers.IT_WORKS)),
    Behaviour("bitnami/redis:*", "Redis on 6379, a replica if its environment says so", bitnami_redis),
    *(
        Behaviour(f"{name}:*", "Redis on 6379", redis)
        for name in ("redis", "*/redis", "*redis-master", "*redis-leader")
    ),
    *(
        Behaviour(f"*{name}:*", f"Redis on 6379 that follows {leader}", guestbook_follower(leader))
        for name, leader in (
            ("redis-slave", "redis-master"), ("redisslave", "redis-master"),
            ("redis-replica", "redis-master"), ("redis-follower", "redis-leader"),
        )
    ),
    *(
        Behaviour(pattern, "the guestbook on 80: redis-master, redis-slave",
                  _module("guestbook", "php_with_master_and_slave"))
        for pattern in ("*gb-frontend:v[1-4]", "*hjl-frontend:*", "*guestbook-php-frontend:*")
    ),
    Behaviour("*gb-frontend:*", "the guestbook on 80: redis-leader, redis-follower",
              _module("guestbook", "php_with_leader_and_follower")),
    *(
        Behaviour(f"{name}:*", "the guestbook in Go on 3000: redis-master, redis-slave",
                  _module("guestbook", "go_front_end"))
        for name in ("guestbook", "*/guestbook")
    ),
    Behaviour("nigelpoulton/k8sbook:text-dev", "HTTP on 8080: hello from DEV, and the hostname",
              servers.pages({book_pages.PORT: book_pages.TEXT_DEV})),
    Behaviour("nigelpoulton/k8sbook:text-prod", "HTTP on 8080: hello from PROD, and the hostname",
              servers.pages({book_pages.PORT: book_pages.TEXT_PROD})),
    *(
        Behaviour(f"nigelpoulton/k8sbook:{tag}", f"HTTP on 8080: {line}", book_pages.book_page(title, line))
        for tag, (title, line) in book_pages.LINES.items()
    ),
    *(
        Behaviour(f"nigelpoulton/{name}:*", "HTTP on 8080: the image's name and tag, and the hostname",
                  book_pages.tagged_page)
        for name in ("k8sbook", "getting-started-k8s", "qsk-book", "web-app")
    ),
    Behaviour("dftd/telnet-server:*", "telnet on 2323, metrics on 9000",
              _module("telnet_server", "telnet_server")),
    *(
        Behaviour(f"{name}:*", "Elasticsearch: REST on 9200, discovery on 9300",
                  _module("elasticsearch", "elasticsearch"))
        for name in ("elasticsearch", "elasticsearch/elasticsearch", "elasticsearch/elasticsearch-oss",
                     "elasticsearch-oss")
    ),
    *(
        Behaviour(f"{name}:*", what, _module(module, function))
        for what, module, function, names in _DATABASES
        for name in names
    ),
    Behaviour("traefik/whoami:*", "whoami on 80", servers.whoami_on(80), Entrypoint.OPTIONS),
    Behaviour("containous/whoami:*", "whoami on 80", servers.whoami_on(80), Entrypoint.OPTIONS),
    Behaviour("jwilder/whoami:*", "HTTP on 8000: the hostname", servers.pages({8000: "I'm {hostname}\n"})),
    Behaviour("hashicorp/http-echo:*", "HTTP on 5678: -text", servers.http_echo, Entrypoint.OPTIONS),
    Behaviour("*agnhost:*", "agnhost: netexec 8080, serve-hostname 9376, …", agnhost, Entrypoint.OPTIONS),
    Behaviour("*serve_hostname:*", "HTTP on 9376: the hostname", _serve_hostname, Entrypoint.OPTIONS),
    Behaviour("*echoserver:*", "whoami on 8080", servers.whoami_on(8080)),
    Behaviour("kicbase/echo-server:*", "whoami on 8080", servers.whoami_on(8080)),
    Behaviour("*google-samples/hello-app:1.0", "HTTP on 8080: hello, version, hostname",
              servers.pages({8080: _hello_app.format(version="1.0.0")})),
    Behaviour("*google-samples/hello-app:2.0", "HTTP on 8080: hello, version, hostname",
              servers.pages({8080: _hello_app.format(version="2.0.0")})),
    Behaviour("nginxdemos/hello:*", "HTTP on 80: address and hostname",
              servers.pages({80: "Server address: {ip}:80\nServer name: {hostname}\n"}, "nginx")),
    Behaviour("*network-multitool:*", "nginx on 80, and the tools", _nginx(), flavour=Flavour.GNU),
    Behaviour("coredns:*", "CoreDNS on 53", _module("coredns", "coredns"), Entrypoint.OPTIONS),
    Behaviour("coredns/coredns:*", "CoreDNS on 53", _module("coredns", "coredns"), Entrypoint.OPTIONS),
    Behaviour("pause:*", "sleeps", servers.idle, Entrypoint.OPTIONS),
    Behaviour("*/pause:*", "sleeps", servers.idle, Entrypoint.OPTIONS),
    Behaviour("*dnsutils:*", "sleeps", servers.idle, flavour=Flavour.GNU),
    Behaviour("*/dnstools:*", *_system),
    Behaviour("curlimages/curl:*", "curl with its args", _curl,
              Entrypoint.OPTIONS, Flavour.BUSYBOX, Libc.MUSL),
    Behaviour("nicolaka/netshoot:*", *_system, Flavour.GNU, Libc.MUSL),
    Behaviour("radial/busyboxplus:*", *_system, Flavour.BUSYBOX),
    *(
        Behaviour(f"{name}:*", *_system)
        for name in (
            "alpine", "almalinux", "amazonlinux", "archlinux", "bash", "busybox", "centos", "debian",
            "fedora", "oraclelinux", "python", "rockylinux", "ubuntu",
        )
    ),
)  # fmt: skip


async def _unknown(host: Host, start: Invocation) -> int:
    """What nobody described serves its declared ports; without any, what is expected to end has succeeded."""
    if start.to_completion and not start.ports:
        return 0
    return await servers.whoami(host, start)


UNKNOWN = Behaviour("*", "whoami on the declared container ports, nowhere else", _unknown)


def program_for(
    image: str, custom: Mapping[str, Program] | None = None, topology_images: Iterable[ImageSpec] = ()
) -> Program:
    """What a container of this image runs.

    ``custom`` (Python programs by image pattern) comes first and sees the Invocation as it is; then the
    Topology's ``images``, then the table. The last two honour a container's ``command`` and ``args``.
    """
    for pattern, program in (custom or {}).items():
        if _fits(image, pattern):
            return program
    for spec in topology_images:
        if _fits(image, spec.image):
            program = servers.pages(
                spec.http, starts_after=spec.starts_after, answers_after=spec.answers_after
            )
            return partial(_start, Behaviour(spec.image, "pages of the Topology", program))
    return partial(_start, behaviour_of(image))


def behaviour_of(image: str) -> Behaviour:
    """The table's line for an image, or ``UNKNOWN``."""
    return next((line for line in TABLE if _fits(image, line.pattern)), UNKNOWN)


def flavour_of(image: str) -> Flavour:
    """Whose tools a shell finds in a container of this image."""
    flavour = behaviour_of(image).flavour
    if flavour is not None:
        return flavour
    short = parse_image(image).short
    return Flavour.BUSYBOX if "alpine" in short or "busybox" in short else Flavour.GNU


STATIC_GO = (
    "golang:*", "*distroless/static*", "coredns:*", "coredns/coredns:*", "*agnhost:*", "*serve_hostname:*",
    "traefik/whoami:*", "containous/whoami:*", "jwilder/whoami:*", "hashicorp/http-echo:*",
    "*google-samples/hello-app:*", "dftd/telnet-server:*", "guestbook:*", "*/guestbook:*",
)  # fmt: skip
"""Images whose program is linked without a C library."""
LAST_OLD_ALPINE = (3, 17)  # with musl 1.2.3


def libc_of(image: str, topology_images: Iterable[ImageSpec] = ()) -> Libc:
    """Whose resolver an image's programs use: as the Topology says, else by what the image is built on."""
    for spec in topology_images:
        if spec.libc and _fits(image, spec.image):
            return Libc(spec.libc)
    if any(_fits(image, pattern) for pattern in STATIC_GO):
        return Libc.GO
    short = parse_image(image).short
    if "alpine" in short:
        version = re.search(r"alpine:?v?(\d+)\.(\d+)", short)
        old = version is not None and (int(version[1]), int(version[2])) <= LAST_OLD_ALPINE
        return Libc.OLD_MUSL if old else Libc.MUSL
    return behaviour_of(image).libc or (Libc.MUSL if short.endswith("musl") else Libc.GLIBC)


def _fits(image: str, pattern: str) -> bool:
    if image == pattern:
        return True
    wanted = pattern if "*" in pattern else parse_image(pattern).short
    return fnmatchcase(parse_image(image).short, wanted)


async def _start(behaviour: Behaviour, host: Host, start: Invocation) -> int:
    """Run a container: its command, if it has one, in the mini-shell; else the image's program."""
    line = start.command + start.args
    options = behaviour.entrypoint is Entrypoint.OPTIONS or "".join(line[:1]).startswith("-")
    if options and not start.command:
        line = ()
    if not line:
        return await behaviour.program(host, start)
    if line[-1].rpartition("/")[2] in SHELLS and len(line) == 1:
        return await _shell(host, start)
    own = None if behaviour.entrypoint is Entrypoint.SHELL else _as_tool(behaviour.program, start)
    return await _run_line(line, Context(host, start.identity, flavour_of(start.image), own), start)


def _as_tool(program: Program, start: Invocation) -> Tool:
    async def run(call: Call) -> int:
        return await program(call.host, start._replace(command=(), args=call.args, env=call.env))

    return run


async def _run_line(line: tuple[str, ...], context: Context, start: Invocation) -> int:
    """Run a container's command. A tool or shell that is PID 1 ignores SIGTERM; servers have a handler."""
    from netsim.programs.shell import run_in

    name = _first_process(line)
    if name not in OBEDIENT and find_tool(name) is not None:
        context.host.trap()
    return await run_in(context, line, env=start.env, stdin="", terminal=Discard())


def _first_process(line: tuple[str, ...]) -> str:
    """The program that is PID 1 in the end: ``sh -c`` gives its place to the last command of its script."""
    if line[0].rpartition("/")[2] in SHELLS and line[1:2] == ("-c",) and len(line) > 2:
        words = re.split(r"[;&|\n]+", line[2].strip(";& \n"))[-1].split()
        line = tuple(words[1:] if words[:1] == ["exec"] else words) or line
    return line[0].rpartition("/")[2]
