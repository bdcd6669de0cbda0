"""Servers over the wire: agnhost, static files, and how they end."""

from __future__ import annotations

import pytest

from netsim.programs.agnhost import agnhost
from netsim.programs.host import Invocation
from netsim.programs.servers import pages, web_server

from .playground import Playground


@pytest.mark.parametrize(
    ("args", "question", "reply"),
    [
        (("serve-hostname",), "curl -s 10.244.2.9:9376", "server"),
        (("serve-hostname", "--port=80"), "curl -s 10.244.2.9", "server"),
        (("serve-hostname", "--tcp", "--port", "80"), "nc -w 1 10.244.2.9 80", "server"),
        (("serve-hostname", "--udp", "--port=80"), "echo | nc -u -w 1 10.244.2.9 80", "server"),
        (
            ("netexec", "--udp-port=-1"),
            "curl -s 10.244.2.9:8080/healthz -o /dev/null -w '%{http_code}'",
            "200",
        ),
        (("netexec",), "printf clientip | nc -u -w 1 10.244.2.9 8081 | cut -d: -f1", "10.244.1.5\n"),
        (("netexec",), "curl -s 10.244.2.9:8080/ | cut -c1-15", "NOW: 2026-01-01\n"),
        (("liveness",), "curl -s 10.244.2.9:8080/healthz", "ok"),
        (("liveness",), "sleep 11; curl -s -o /dev/null -w '%{http_code}' 10.244.2.9:8080/healthz", "500"),
        (("test-webserver",), "curl -s 10.244.2.9/srv/a.txt", "a file\n"),
    ],
)
def test_agnhost_serves_as_its_subcommands_say(args: tuple[str, ...], question: str, reply: str) -> None:
    site = Playground()
    site.server.files["/srv/a.txt"] = "a file\n"
    site.serve(agnhost, Invocation("agnhost", args=args))
    assert site.shell(question).stdout == reply


def test_agnhost_porter_serves_what_its_environment_says() -> None:
    site = Playground()
    env = {"SERVE_PORT_80": "foo", "SERVE_PORT_81": "bar", "OTHER": "x"}
    site.serve(agnhost, Invocation("agnhost", args=("porter",), env=env))
    assert site.shell("curl -s 10.244.2.9:80 10.244.2.9:81").stdout == "foobar"


def test_agnhost_pauses_by_default_and_refuses_what_it_does_not_know() -> None:
    site = Playground()
    task = site.serve(agnhost, Invocation("agnhost"))
    site.wait(1000)
    assert not task.done  # type: ignore[attr-defined]  # a SimTask
    assert site.run(agnhost(site.server, Invocation("agnhost", args=("fly",)))) == 1


def test_a_web_server_serves_files_folders_and_errors() -> None:
    site = Playground()
    site.server.files |= {"/www/a.json": "{}", "/www/sub/index.html": "<p>sub</p>"}
    site.serve(web_server("test", "/www", "welcome\n"))
    assert site.shell("curl -s 10.244.2.9/").stdout == "welcome\n"
    assert "Content-Type: application/json" in site.shell("curl -sI 10.244.2.9/a.json").stdout
    assert site.shell("curl -s 10.244.2.9/sub/").stdout == "<p>sub</p>"
    assert "404 Not Found" in site.shell("curl -s 10.244.2.9/nope").stdout
    assert site.shell("curl -s -X DELETE -o /dev/null -w '%{http_code}' 10.244.2.9/").stdout == "405"
    site.server.files["/www/index.html"] = "mine\n"
    assert site.shell("curl -s 10.244.2.9/").stdout == "mine\n"


def test_pages_are_served_on_every_path_of_their_ports() -> None:
    site = Playground()
    site.serve(pages({80: "a\n", 81: "<html>b</html>"}))
    assert site.shell("curl -s 10.244.2.9/any/path 10.244.2.9:81").stdout == "a\n<html>b</html>"


def test_the_packets_of_a_server_say_why_they_are_sent() -> None:
    from netsim.base.cause import Stage
    from netsim.capture.record import Recorder

    site = Playground()
    site.serve(pages({80: "a\n"}, "shop"))
    recorder = Recorder()
    with site.plane.recording(recorder):
        site.shell("curl -s ent/x")
    said = {
        str(note.cause)
        for record in recorder.records
        for note in record.notes
        if note.cause.stage is Stage.PROGRAM
    }
    assert {"program: curl -s ent/x", "program: shop answers 200 to GET /x"} <= said
