"""Network namespaces that have no name: they are gone with the last descriptor that refers to them, however
this process ends, and with them their devices, routes and rules. No packet leaves them.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000  # linux/sched.h
OWN = "/proc/thread-self/ns/net"
ADMIN_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A new network namespace, whose only device is a loopback that is down."""

    def __init__(self) -> None:
        with _home():
            _succeed(_libc.unshare(CLONE_NEWNET))
            self.descriptor = os.open(OWN, os.O_RDONLY)

    def close(self) -> None:
        """Let it go."""
        os.close(self.descriptor)

    @property
    def path(self) -> str:
        """What a process that ``run`` starts may call it, if it is among its ``others``."""
        return f"/proc/self/fd/{self.descriptor}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in it: sockets made there stay there."""
        with _home():
            _succeed(_libc.setns(self.descriptor, CLONE_NEWNET))
            yield

    def run(self, *argv: str, stdin: str = "", others: tuple[Namespace, ...] = ()) -> str:
        """Run a command in it; returns what it printed. AssertionError with its words if it fails."""
        descriptors = [self.descriptor, *(other.descriptor for other in others)]
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", *argv],
            input=stdin,
            env={**os.environ, "PATH": ADMIN_PATH},
            pass_fds=descriptors,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr.strip()}\n{stdin}"
        return done.stdout

    def set(self, **values: int) -> None:
        """Set kernel parameters under net; ``ipv4__ip_forward`` is ``ipv4/ip_forward``."""
        with self.entered():
            for name, value in values.items():
                Path("/proc/sys/net", *name.split("__")).write_text(f"{value}\n", encoding="ascii")


@contextmanager
def _home() -> Iterator[None]:
    """Come back to this thread's namespace afterwards."""
    home = os.open(OWN, os.O_RDONLY)
    try:
        yield
    finally:
        _succeed(_libc.setns(home, CLONE_NEWNET))
        os.close(home)


def _succeed(result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
