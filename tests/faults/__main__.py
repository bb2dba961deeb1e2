"""`python tests/faults runs` disturbs runs of the trainer, `python tests/faults fuzz` damages files for readers."""

import argparse
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(TESTS.parent), str(TESTS)]


def main() -> int:
    """Run what the command line asks for and print its table; exit status 1 where anything is found."""
    parser = argparse.ArgumentParser(prog="python tests/faults", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    fuzzing = kinds.add_parser("fuzz", help="damaged files to every reader")
    fuzzing.add_argument("--minutes", type=float, default=1)
    fuzzing.add_argument("--readers", default="", metavar="NAMES", help="names of readers, separated by ;")
    fuzzing.add_argument("--kept", type=Path, help="folder for one input of each finding")
    fuzzing.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    from faults import fuzz

    names = [name for name in arguments.readers.split(";") if name]
    tallies = fuzz.fuzz_for(arguments.minutes, arguments.seed, names, arguments.kept)
    print(fuzz.show_table(tallies))
    return int(any(tally.findings for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
