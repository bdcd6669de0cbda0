"""One seed gives one run, byte for byte, whatever PYTHONHASHSEED is; another seed gives another."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import Combination

SCRIPT = """
import asyncio, hashlib, io, sys
from netsim.capture.pcapng import write_pcapng
from netsim.cluster import run
from tests.cluster.conftest import TWO_NAMESPACES

with run(TWO_NAMESPACES, seed=int(sys.argv[1]), network=sys.argv[2], proxy_mode=sys.argv[3]) as cluster:
    with cluster.capture() as packets:
        jump = cluster.pod("dev/jump")
        for name in ("ent", "ent.prod", "www.example.com"):
            asyncio.run(jump.connect(f"{name}:{80 if 'example' in name else 8080}"))
        cluster.scale("deploy/prod/enterprise", 4)
        print(asyncio.run(jump.trace("ent.prod:8080")))
        cluster.advance(60.0)
    data = io.BytesIO()
    write_pcapng(data, packets.records, cluster.names())
    print(len(packets.records), hashlib.sha256(data.getvalue()).hexdigest())
"""


USUAL = Combination("overlay", "iptables")


def output(seed: int, hash_seed: str, combination: Combination = USUAL) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(seed), *combination],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_two_runs_with_one_seed_are_identical_whatever_the_hash_seed(combination: Combination) -> None:
    first, second = output(7, "1", combination), output(7, "4242", combination)
    assert first == second
    assert len(first) > 1000


def test_another_seed_gives_another_run() -> None:
    assert output(7, "1").splitlines()[-1] != output(8, "1").splitlines()[-1]
