"""Run a study: ``python -m agents.study --config configs/studies/NAME.yaml``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.distributed import refuse_several
from agents.study.configuration import parse
from agents.study.page import PAGE, draw, publish, render_page
from agents.study.run import Study


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is left to train, then draw; a study that was cut off goes on with the same command."""
    words = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    words.add_argument("--only", nargs="+", default=[], metavar="VARIANT")
    words.add_argument("--render", action="store_true")
    words.add_argument("--publish", action="store_true")
    words.add_argument("--page", action="store_true")
    options, others = words.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(others):
        print(_WORDS)
    try:
        if options.page:
            render_page(PAGE)
            return 0
        refuse_several("a study")
        study = Study(*parse(others))
        if not options.render:
            study.run(options.only)
        draw(study)
        if options.publish:
            publish(study, Path())
    except (ValueError, OSError) as error:
        print(f"agents.study: {error}", file=sys.stderr)
        return 2
    print(f"figure and tables are in {study.folder}")
    return 0


_WORDS = """\
--only VARIANT ...  train these only (several processes may share a study), after the configuration's words
--render            train nothing, only draw what is there
--publish           and copy records and figure to results/studies and docs/images, and render docs/policy.md
--page              only render docs/policy.md from the published records
"""

if __name__ == "__main__":
    sys.exit(main())
