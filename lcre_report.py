"""Writes the HTML page of a finished run again, python lcre_report.py saved_models/yeast, or compares two runs.

The page of a run is `lcre/report.py`; a training ends with it, too. Beside it, the result table is written for MultiQC
(`lcre/multiqc.py`). The comparison is `lcre/comparison.py`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from core import show_value
from core.cli import OneLineParser, run_script


def run(argv: Sequence[str]) -> None:
    """Do what the command line asks for."""
    from core.page import show_size

    parser = OneLineParser(
        prog="lcre_report.py",
        description="Write the page of a finished run and its table for MultiQC, or compare two runs on their genes.",
        epilog="Exit status: 0 done, 2 the input is wrong (one line says what), 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, help="prefix of the run's files, such as saved_models/demo")
    parser.add_argument("other", type=Path, nargs="?", help="prefix of a second run that the first is compared with")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="page of the comparison [RUN_vs_OTHER.html]; its table goes beside it"
    )
    arguments = parser.parse_args(argv)
    if arguments.other is None:
        if arguments.out is not None:
            parser.error("--out is for a comparison; give the prefixes of two runs")
        from lcre.multiqc import write_multiqc
        from lcre.report import write_report

        paths = [write_report(arguments.run), write_multiqc(arguments.run)]
    else:
        from lcre.comparison import show_comparison, write_comparison

        comparison, *paths = write_comparison(arguments.run, arguments.other, arguments.out)
        print(show_comparison(comparison))
    for path in paths:
        print(f"{show_value(path, 1000)} ({show_size(path.stat().st_size)})")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script("lcre_report.py", run, argv, "an earlier page is as it was")


if __name__ == "__main__":
    sys.exit(main())
