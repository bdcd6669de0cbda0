"""The guestbook's front ends over a real Redis of ours, and what they say when there is none."""

from __future__ import annotations

import json

import pytest

from netsim.programs.guestbook import go_front_end, php_with_leader_and_follower, php_with_master_and_slave
from netsim.programs.host import Invocation, Program
from netsim.programs.images import behaviour_of
from netsim.programs.redis import redis

from .playground import Playground

FROM_ENV = {
    "GET_HOSTS_FROM": "env",
    **{f"REDIS_{role}_SERVICE_HOST": "10.244.2.9" for role in ("MASTER", "SLAVE", "LEADER", "FOLLOWER")},
}
PAGE = "10.244.2.9/guestbook.php"


def book(program: Program, **env: str) -> Playground:
    """A front end on the server, which has the Redis too."""
    site = Playground()
    site.serve(redis)
    site.serve(program, Invocation("frontend", env=FROM_ENV | env))
    return site


@pytest.mark.parametrize(
    ("program", "key"),
    [(php_with_master_and_slave, "messages"), (php_with_leader_and_follower, "guestbook")],
)
def test_what_is_set_can_be_got(program: Program, key: str) -> None:
    site = book(program)
    assert site.shell(f"curl -s '{PAGE}?cmd=get&key=messages'").stdout == '{"data": ""}'
    reply = site.shell(f"curl -si '{PAGE}?cmd=set&key=messages&value=,hi%20there'").stdout
    assert "Content-Type: application/json" in reply
    assert reply.endswith('{"message": "Updated"}')
    assert site.shell(f"curl -s '{PAGE}?cmd=get&key=messages'").stdout == '{"data": ",hi there"}'
    assert site.shell("redis-cli -h 10.244.2.9 KEYS '*'").stdout == f"{key}\n"


def test_there_is_a_page_and_a_php_without_a_command_shows_itself() -> None:
    site = book(php_with_master_and_slave)
    assert "<title>Guestbook</title>" in site.shell("curl -s 10.244.2.9").stdout
    assert "phpinfo()" in site.shell(f"curl -s {PAGE}").stdout
    assert site.shell("curl -s -o /dev/null -w '%{http_code}' 10.244.2.9/no.php").stdout == "404"


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({"REDIS_SLAVE_SERVICE_HOST": "10.244.1.5"}, "Connection refused [tcp://10.244.1.5:6379]"),
        ({"REDIS_SLAVE_SERVICE_HOST": "10.97.0.1"}, "Connection timed out [tcp://10.97.0.1:6379]"),
        (
            {"GET_HOSTS_FROM": "dns"},
            "php_network_getaddresses: getaddrinfo for redis-slave failed: "
            "Name or service not known [tcp://redis-slave:6379]",
        ),
    ],
)
def test_without_its_redis_it_fails_as_php_does(env: dict[str, str], complaint: str) -> None:
    site = book(php_with_master_and_slave, **env)
    site.server.files["/etc/resolv.conf"] = "nameserver 10.244.2.53\n"
    status = site.shell(f"curl -s -o /dev/null -w '%{{http_code}}' '{PAGE}?cmd=get&key=k'").stdout
    body = site.shell(f"curl -s '{PAGE}?cmd=get&key=k'").stdout
    assert status == "500"
    assert complaint in body


def test_an_error_of_redis_is_told() -> None:
    site = book(php_with_master_and_slave)
    site.shell("redis-cli -h 10.244.2.9 LPUSH messages x")
    assert "WRONGTYPE" in site.shell(f"curl -s '{PAGE}?cmd=get&key=messages'").stdout


def test_the_go_guestbook_keeps_a_list() -> None:
    site = Playground()
    site.serve(redis)
    site.server.files["/etc/hosts"] = "10.244.2.9 redis-master redis-slave\n"
    site.serve(go_front_end, Invocation("guestbook", env={"A": "b"}))
    at = "10.244.2.9:3000"
    assert site.shell(f"curl -s {at}/lrange/guestbook").stdout == "[]"
    site.shell(f"curl -s {at}/rpush/guestbook/one")
    assert json.loads(site.shell(f"curl -s {at}/rpush/guestbook/two%20three").stdout) == ["one", "two three"]
    assert site.shell(f"curl -s {at}/env").stdout == '{\n  "A": "b"\n}'
    assert "role:master" in site.shell(f"curl -s {at}/info").stdout
    assert "Guestbook" in site.shell(f"curl -s {at}").stdout
    assert site.shell(f"curl -s -o /dev/null -w '%{{http_code}}' {at}/x").stdout == "404"


def test_the_go_guestbook_without_redis_answers_500() -> None:
    site = Playground()
    site.serve(go_front_end, Invocation("guestbook"))
    reply = site.shell("curl -si 10.244.2.9:3000/lrange/guestbook").stdout
    assert reply.startswith("HTTP/1.1 500 ")
    assert "redis-slave" in reply


@pytest.mark.parametrize(
    ("image", "what"),
    [
        ("redis", "Redis on 6379"),
        ("registry.k8s.io/redis:e2e", "Redis on 6379"),
        ("docker.io/redis:6.0.5", "Redis on 6379"),
        ("kubeguide/redis-master", "Redis on 6379"),
        ("bitnami/redis:7.0", "Redis on 6379, a replica if its environment says so"),
        ("gcr.io/google_samples/gb-redisslave:v1", "Redis on 6379 that follows redis-master"),
        ("gcr.io/google-samples/gb-redisslave:v3", "Redis on 6379 that follows redis-master"),
        ("kubeguide/guestbook-redis-slave", "Redis on 6379 that follows redis-master"),
        ("registry.example.org:5000/course/hjl-redisslave:1.0", "Redis on 6379 that follows redis-master"),
        ("redis-slave", "Redis on 6379 that follows redis-master"),
        ("gcr.io/google_samples/gb-redis-follower:v2", "Redis on 6379 that follows redis-leader"),
        (
            "us-docker.pkg.dev/google-samples/containers/gke/gb-redis-follower:v2",
            "Redis on 6379 that follows redis-leader",
        ),
        ("gcr.io/google-samples/gb-frontend:v3", "the guestbook on 80: redis-master, redis-slave"),
        ("gcr.io/google_samples/gb-frontend:v4", "the guestbook on 80: redis-master, redis-slave"),
        ("gcr.io/google_samples/gb-frontend:v5", "the guestbook on 80: redis-leader, redis-follower"),
        ("docker.io/xyz/hjl-frontend:v1", "the guestbook on 80: redis-master, redis-slave"),
        ("hjl-frontend", "the guestbook on 80: redis-master, redis-slave"),
        ("kubeguide/guestbook-php-frontend", "the guestbook on 80: redis-master, redis-slave"),
        ("k8s.gcr.io/guestbook:v3", "the guestbook in Go on 3000: redis-master, redis-slave"),
    ],
)
def test_the_images_of_the_books_are_known_wherever_they_come_from(image: str, what: str) -> None:
    assert behaviour_of(image).what == what
