"""``netsim validate``: every mistake of the files at once, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netsim.cli.options import file_arguments, output_option, strict_option

if TYPE_CHECKING:
    from netsim.base.errors import Problem


@click.command()
@file_arguments
@strict_option
@output_option
def validate(files: tuple[Path, ...], strict: bool, output: str) -> None:
    """Report every mistake of the files, with file, line and column; run nothing.

    \b
    Examples:
      netsim validate shop.yaml
      netsim validate topologies/*.yaml
      netsim validate --strict topology.yaml shop/
      helm template shop | netsim validate -
    """
    from netsim.base.errors import ManifestError
    from netsim.cli.outcome import print_json, warn
    from netsim.cli.session import runs, sources
    from netsim.objects.manifest import Loaded, load

    found: list[Loaded] = []
    problems: list[Problem] = []
    for group in runs(files):
        try:
            found.append(load(sources(group, "validate"), strict=strict))
        except ManifestError as error:
            problems += error.problems
    if problems:
        raise ManifestError(problems)
    objects = sum(len(loaded.objects) for loaded in found)
    foreign = sum(len(loaded.foreign) for loaded in found)
    warnings = [problem for loaded in found for problem in loaded.warnings]
    if output == "json":
        print_json({"objects": objects, "foreign": foreign, "warnings": list(map(str, warnings))})
        return
    for problem in warnings:
        warn(problem)
    count = objects + foreign
    print(f"{count} object{'' if count == 1 else 's'}: no mistakes")
