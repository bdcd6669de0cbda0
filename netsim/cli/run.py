"""``netsim run``: load, settle, check, report."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from netsim.base.errors import UsageError
from netsim.cli.options import Overrides, cluster_options, file_arguments, output_option

if TYPE_CHECKING:
    from netsim.checks.report import Report
    from netsim.cluster import Cluster
    from netsim.objects.core import Pod, Service

STYLES = {"ok": "green", "FAIL": "red"}  # by the first word of a report's line


@click.command()
@file_arguments
@click.option(
    "--capture",
    "-w",
    "target",
    metavar="OUT.pcapng",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Keep every packet, from the start on (-: on stdout, and the report on stderr).",
)
@output_option
@cluster_options
def run(files: tuple[Path, ...], target: Path | None, output: str, overrides: Overrides) -> None:
    """Load the files, let the cluster settle, run the checks, and say what looks broken.

    The files are Kubernetes manifests, with or without a Topology, which holds the checks. When several have
    a Topology, each file is a run of its own. Exits 0 when all checks passed, 1 when one failed, 2 when the
    input is wrong. With --strict, what looks broken counts as a failed check, and what netsim does not model
    as wrong input. The same files and seed give the same report and the same packets, byte by byte.

    \b
    Examples:
      netsim run topologies/cross-namespace.yaml
      netsim run topologies/*.yaml
      netsim run topology.yaml shop/ --capture out.pcapng
      netsim run shop.yaml --seed 7 --output json
      helm template shop | netsim run -
    """
    from netsim.cli import STARTED
    from netsim.cli.capture import refuse_missing_directory
    from netsim.cli.session import runs

    if target is not None:
        refuse_missing_directory(target)
    groups = runs(files)
    if len(groups) == 1:
        code = _run(groups[0], overrides, output, target)
    else:
        code = _run_all(groups, overrides, output, target)
    if sys.stderr.isatty():
        print(f"{time.perf_counter() - STARTED:.2f} s", file=sys.stderr)
    sys.exit(code)


class Ran(NamedTuple):
    """One run: its report and findings; ``document`` is both as JSON."""

    report: Report
    findings: list[str]
    document: dict[str, Any]


def _run(files: Sequence[Path], overrides: Overrides, output: str, target: Path | None) -> int:
    """Run one cluster and report; the exit code."""
    from netsim.cli.capture import STDOUT, save
    from netsim.cli.outcome import complain, print_json
    from netsim.cli.session import opened

    with opened(files, overrides, "run", capture=target is not None) as cluster:
        packets = cluster.packets
        try:
            ran = _checked(cluster)
        except KeyboardInterrupt:
            if target is not None and packets is not None:
                save(packets, target)
            raise
        with redirect_stdout(sys.stderr) if target == STDOUT else nullcontext():
            if output == "json":
                print_json(ran.document)
            else:
                _print_run(cluster, ran)
                if not ran.report.checks and sys.stdout.isatty():
                    suggest(cluster, files)
            sys.stdout.flush()
        if target is not None and packets is not None:
            save(packets, target)
    if overrides.strict and ran.findings:
        count = len(ran.findings)
        complain(f"--strict: {count} thing{' looks' if count == 1 else 's look'} broken")
    return _exit_code(ran, overrides)


def _run_all(groups: Sequence[Sequence[Path]], overrides: Overrides, output: str, target: Path | None) -> int:
    """Run one cluster after the other, whatever becomes of each; the worst exit code."""
    from netsim.base.errors import NetsimError
    from netsim.cli.outcome import WRONG_INPUT, explain, mark, print_json
    from netsim.cli.session import opened

    if target is not None:
        hint = "run the file that you want to capture alone"
        raise UsageError(
            f"--capture keeps one run's packets, and these files are {len(groups)} runs", hint=hint
        )
    worst, documents, reports = 0, [], []
    for number, files in enumerate(groups):
        title = " ".join(map(str, files))
        if output == "text":
            print(("\n" if number else "") + mark(title, "bold", stream=sys.stdout), flush=True)
        try:
            with opened(files, overrides, "run") as cluster:
                ran = _checked(cluster)
                if output == "text":
                    _print_run(cluster, ran)
        except NetsimError as error:
            explain(error)
            worst = WRONG_INPUT
            continue
        documents.append({"file": title, **ran.document})
        reports.append(ran.report)
        worst = max(worst, _exit_code(ran, overrides))
    passed, failed = sum(r.passed for r in reports), sum(r.failed for r in reports)
    if output == "json":
        print_json({"passed": passed, "failed": failed, "runs": documents})
    else:
        wrong = len(groups) - len(reports)
        print(_total(len(groups), wrong, passed, failed))
    return worst


def _total(files: int, wrong: int, passed: int, failed: int) -> str:
    texts = [f"{passed} of {passed + failed} checks passed"]
    texts += [f"{failed} failed"] if failed else []
    texts += [f"{wrong} could not be run"] if wrong else []
    return f"\n{files} files: {', '.join(texts)}"


def _checked(cluster: Cluster) -> Ran:
    from netsim.checks.report import run_checks
    from netsim.cli.progress import working

    with working("running the checks"):
        report = run_checks(cluster)
    findings = cluster.findings()
    return Ran(report, findings, _document(cluster, report, findings))


def _print_run(cluster: Cluster, ran: Ran) -> None:
    report, findings, _ = ran
    _print_report(report, findings, [] if report.checks else _inventory(cluster, findings))


def _exit_code(ran: Ran, overrides: Overrides) -> int:
    from netsim.cli.outcome import CHECK_FAILED, PASSED

    broken = overrides.strict and ran.findings
    return CHECK_FAILED if ran.report.failed or broken else PASSED


def _document(cluster: Cluster, report: Report, findings: list[str]) -> dict[str, Any]:
    warnings = [str(problem) for problem in cluster.warnings]
    return {**report.to_json(), "findings": findings, "warnings": warnings}


def _inventory(cluster: Cluster, findings: list[str]) -> list[str]:
    """What there is, for a run that checks nothing."""
    pods, services = _declared(cluster)
    ready = sum(pod.condition("Ready") for pod in pods)
    counted = f"{len(services)} Service{'' if len(services) == 1 else 's'}"
    verdict = [] if findings else ["nothing looks broken"]
    return [f"{ready} of {len(pods)} Pods ready, {counted}", *verdict]


def suggest(cluster: Cluster, files: Sequence[Path]) -> None:
    """What could be asked next, of a Pod and a Service that are there."""
    pods, services = _declared(cluster)
    with_ports = [service for service in services if service.spec.ports]
    if not (pods and with_ports):
        return
    named = " ".join(f"-f {shlex.quote(str(path))}" for path in files)
    pod, service = pods[0].metadata, with_ports[0]
    target = f"{service.metadata.name}.{service.metadata.namespace}"
    print("next:")
    print(f"  netsim exec {named} {pod.namespace}/{pod.name} -- nslookup {target}")
    print(f"  netsim trace {named} {pod.namespace}/{pod.name} {target}:{service.spec.ports[0].port}")


def _declared(cluster: Cluster) -> tuple[list[Pod], list[Service]]:
    """The Pods and Services without those that every cluster has."""
    from netsim.objects.core import Pod, Service

    pods = [pod for pod in cluster.store.list(Pod) if pod.metadata.namespace != "kube-system"]
    services = [
        service
        for service in cluster.store.list(Service)
        if service.metadata.namespace != "kube-system"
        and (service.metadata.namespace, service.metadata.name) != ("default", "kubernetes")
    ]
    return pods, services


def _print_report(report: Report, findings: list[str], inventory: list[str]) -> None:
    from netsim.checks.report import render_report
    from netsim.cli.outcome import mark

    lines = render_report(report).splitlines()
    lines[-1:-1] = inventory
    if findings:
        broken = [
            mark("what looks broken:", "yellow", stream=sys.stdout),
            *(f"  {line}" for line in findings),
        ]
        lines[-1:-1] = broken
    for line in lines:
        word = line.split(" ", 1)[0]
        style = STYLES.get(word)
        print(mark(word, style, stream=sys.stdout) + line[len(word) :] if style else line)
