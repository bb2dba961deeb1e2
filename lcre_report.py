"""Writes the HTML page of a finished run again: python lcre_report.py saved_models/yeast.

The page is `lcre/report.py`; a training ends with it, too.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from core import show_value
from core.cli import OneLineParser, run_script


def run(argv: Sequence[str]) -> None:
    """Do what the command line asks for."""
    from core.page import show_size
    from lcre.report import write_report

    parser = OneLineParser(
        prog="lcre_report.py",
        description="Write the HTML page of a finished run.",
        epilog="Exit status: 0 done, 2 the input is wrong (one line says what), 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, help="prefix of the run's files, such as saved_models/demo")
    path = write_report(parser.parse_args(argv).run)
    print(f"{show_value(path, 1000)} ({show_size(path.stat().st_size)})")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script("lcre_report.py", run, argv, "an earlier page is as it was")


if __name__ == "__main__":
    sys.exit(main())
