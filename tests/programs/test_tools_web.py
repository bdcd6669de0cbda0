"""curl and wget: transfers that succeed, and each way in which one fails, with its exit code."""

from __future__ import annotations

import pytest

from netsim.programs.host import Invocation
from netsim.programs.servers import pages
from netsim.programs.tools.curl_options import BadOption, read_settings
from tests.conftest import Golden

from .playground import Playground, banner_server, raw_web_server

TRANSCRIPTS: dict[str, tuple[str, ...]] = {
    "curl": (
        "curl ent:8080",
        "curl -i ent:8080",
        "curl -I ent:8080",
        "curl -s ent:8080 ent:8080/404",
        "curl ent:8080/chunk",
        "curl ent:8080/close",
        "curl ent:8080/redir",
        "curl -L ent:8080/redir",
        "curl head:8080",
        "curl -4 ent:8080",
        "curl -s -o /dev/null -w '%{http_code}\\n' ent:8080",
        "curl -s -o /dev/null -w '%{http_code} %{remote_ip}:%{remote_port} %{size_download} %{content_type} "
        "%{method} %{http_version} %{scheme} %{url_effective} %{exitcode} 100%%\\t%{nonsense}|\\n' ent:8080",
        "curl -L -s -o /dev/null -w '%{num_redirects} %{num_connects} %{url_effective}\\n' ent:8080/redir",
        "curl -s -w '%{redirect_url}\\n' ent:8080/redir",
        "curl -s -o /dev/null -w '%{http_code} %{errormsg}\\n' ent:81",
        "curl -o page ent:8080; cat page",
        "curl -O ent:8080/dir/file; cat file",
        "curl telnet://ent:2525",
        "curl --version",
    ),
    "curl-verbose": (
        "curl -v ent:8080",
        "curl -sv -L ent:8080/redir",
        "curl -v -d a=b -d c=d -H 'X-A: 1' -H 'Accept:' ent:8080",
        "curl -v -X PUT --json '{}' -A me ent:8080",
        "curl -v -G -d a=b -u me:secret ent:8080",
        "curl -v --resolve foo:8080:10.244.2.9 foo:8080",
        "curl -v 10.244.2.9:8080/close",
        "curl -v ent:81",
        "curl -v nosuch",
        "curl -v -m 1 ent:8080/slow",
        "curl -v --connect-timeout 1 hole:81",
        "curl -v head:81",
        "curl -v ent:8080 ent:8080/404",
    ),
    "curl-errors": (
        "curl nosuch",
        "curl -s nosuch",
        "curl -sS nosuch",
        "curl ent:81",
        "curl 10.244.2.200",
        "curl 10.99.0.1",
        "curl -m 1 10.97.0.1:81",
        "curl --connect-timeout 1 10.97.0.1:81",
        "curl 10.97.0.1:81",
        "curl -m 1 ent:8080/slow",
        "curl ent:8080/empty",
        "curl ent:8080/rst",
        "curl ent:8080/garbage",
        "curl ent:8080/short",
        "curl -L ent:8080/loop",
        "curl -L --max-redirs 2 ent:8080/loop",
        "curl -f ent:8080/404",
        "curl --fail-with-body ent:8080/404",
        "curl -O ent:8080/",
        "curl",
        "curl --bogus",
        "curl -m",
        "curl -m x ent",
        "curl foo://x/",
        "curl http://",
        "curl --retry 2 --retry-connrefused ent:81",
        "curl --resolve foo ent",
        "curl -sS --cacert /no/ca.crt https://ent:8080",
    ),
    "wget": (
        "wget -qO- ent:8080",
        "wget -O- ent:8080",
        "wget -O- head:8080",
        "wget -O- 10.244.2.9:8080",
        "wget -O- ent:81",
        "wget -O- -T 1 -t 1 10.97.0.1",
        "wget -O- -T 1 -t 2 ent:8080/slow",
        "wget -O- 10.99.0.1",
        "wget -O- nosuch",
        "wget -qO- nosuch",
        "wget --spider ent:8080",
        "wget --spider ent:8080/404",
        "wget -O- ent:8080/404",
        "wget -qO- ent:8080/404",
        "wget -O- -t 1 ent:8080/empty",
        "wget -O- -t 1 ent:8080/rst",
        "wget -O- -t 1 ent:8080/short",
        "wget -O- ent:8080/redir",
        "wget -O- --max-redirect=2 ent:8080/loop",
        "wget -S -O- ent:8080",
        "wget -nv -O- ent:8080",
        "wget -O page ent:8080/chunk; cat page",
        "wget -P /srv ent:8080/dir/file.html; cat /srv/file.html",
        "wget",
        "wget --bogus ent",
    ),
    "wget-busybox": (
        "wget -qO- ent:8080",
        "wget -O- ent:8080",
        "wget -O- ent:81",
        "wget -O- -T 1 10.97.0.1",
        "wget -O- -T 1 ent:8080/slow",
        "wget -O- 10.99.0.1",
        "wget -O- nosuch",
        "wget --spider ent:8080",
        "wget -q --spider ent:8080/404",
        "wget -O- ent:8080/404",
        "wget -O- ent:8080/empty",
        "wget -O- ent:8080/rst",
        "wget -O- ent:8080/garbage",
        "wget -O- ent:8080/redir",
        "wget -O- ent:8080/loop",
        "wget -S -O- ent:8080",
        "wget ent:8080; wget ent:8080",
        "wget",
    ),
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_tool_prints_what_the_real_one_prints(name: str, golden: Golden) -> None:
    site = Playground()
    site.serve(raw_web_server)
    site.serve(banner_server)
    golden(f"{name}.txt", site.transcript(TRANSCRIPTS[name], busybox=name.endswith("busybox")))


def test_curl_gives_up_after_its_time_whatever_it_waits_for() -> None:
    site = Playground()
    site.jump.files["/etc/resolv.conf"] = "nameserver 10.97.0.53\n"
    began = site.plane.now
    outcome = site.shell("curl -m 2 http://ent/")
    assert (outcome.exit, outcome.stderr) == (28, "curl: (28) Resolving timed out after 2000 milliseconds\n")
    assert site.plane.now - began == pytest.approx(2)


def test_curl_reaches_the_second_address_after_the_first_is_unreachable() -> None:
    site = Playground()
    site.serve(pages({80: "page\n"}), Invocation("test"))
    outcome = site.shell("curl -v head")
    assert outcome.stdout == "page\n"
    assert "* connect to 10.244.2.200 port 80 failed: No route to host\n" in outcome.stderr


def test_curl_retries_what_is_transient_and_waits_longer_each_time() -> None:
    site = Playground()
    began = site.plane.now
    assert site.shell("curl -s --retry 3 --retry-connrefused ent:81").exit == 7
    assert site.plane.now - began == pytest.approx(1 + 2 + 4, abs=0.1)
    assert site.shell("curl -s --retry 3 ent:81; date +%s").exit == 0


def test_curl_headers_replace_and_remove_its_own() -> None:
    settings = read_settings(("-H", "User-Agent: me", "-H", "Accept:", "-H", "X: y", "http://x"))
    assert settings.headers == (("User-Agent", "me"), ("X", "y"))


@pytest.mark.parametrize("args", [("--nope",), ("-o",), ("-m", "soon", "x"), ("--resolve", "a:b", "x")])
def test_curl_refuses_a_bad_option(args: tuple[str, ...]) -> None:
    with pytest.raises(BadOption):
        read_settings(args)
