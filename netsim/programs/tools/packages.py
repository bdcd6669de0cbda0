"""apt-get, apk, yum and dnf: course texts install curl or dnsutils first, and here every tool is there.

They say so and succeed, for any package: what a package would bring that netsim does not have is not there
afterwards either.
"""

from __future__ import annotations

from netsim.programs.tools.call import Call

NOTE = "(netsim: every tool it has is already on every host; nothing is downloaded)\n"


def _operands(call: Call) -> list[str]:
    return [arg for arg in call.args if not arg.startswith("-")]


async def apt_get(call: Call) -> int:
    """``update`` and ``install``, in apt's words; anything else succeeds in silence."""
    words = _operands(call)
    if not words:
        call.error(f"{call.name}: no command given\n")
        return 100
    if words[0] == "update":
        call.write(f"Reading package lists... Done\n{NOTE}")
    elif words[0] == "install":
        call.write("Reading package lists... Done\nBuilding dependency tree... Done\n")
        call.write("Reading state information... Done\n")
        for package in words[1:]:
            call.write(f"{package} is already the newest version.\n")
        call.write(f"0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n{NOTE}")
    return 0


async def apk(call: Call) -> int:
    words = _operands(call)
    if words[:1] in (["add"], ["update"]):
        call.write(f"OK: every package is installed\n{NOTE}")
    return 0


async def yum(call: Call) -> int:
    words = _operands(call)
    if words[:1] == ["install"]:
        for package in words[1:]:
            call.write(f"Package {package} is already installed.\n")
        call.write(f"Dependencies resolved.\nNothing to do.\nComplete!\n{NOTE}")
    return 0
