"""``netsim validate``: every mistake of the files at once, without running anything."""

from __future__ import annotations

from pathlib import Path

import click

from netsim.cli.options import file_arguments, output_option, strict_option


@click.command()
@file_arguments
@strict_option
@output_option
def validate(files: tuple[Path, ...], strict: bool, output: str) -> None:
    """Report every mistake of the files, with file, line and column; run nothing.

    \b
    Examples:
      netsim validate shop.yaml
      netsim validate --strict topology.yaml shop/
      helm template shop | netsim validate -
    """
    from netsim.cli.outcome import print_json, warn
    from netsim.cli.session import sources
    from netsim.objects.manifest import load

    loaded = load(sources(files, "validate"), strict=strict)
    if output == "json":
        warnings = [str(problem) for problem in loaded.warnings]
        print_json({"objects": len(loaded.objects), "foreign": len(loaded.foreign), "warnings": warnings})
        return
    for problem in loaded.warnings:
        warn(problem)
    count = len(loaded.objects) + len(loaded.foreign)
    print(f"{count} object{'' if count == 1 else 's'}: no mistakes")
