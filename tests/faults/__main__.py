"""`python tests/faults runs` disturbs runs of the trainer, `python tests/faults fuzz` damages files for readers."""

import argparse
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(TESTS.parent), str(TESTS)]


def main() -> int:
    """Run what the command line asks for and print its table; exit status 1 where anything is found."""
    parser = argparse.ArgumentParser(prog="python tests/faults", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    runs = parts.add_parser("runs", help="kills, full disks and more while a tiny run trains")
    runs.add_argument("--kills", type=int, default=20, help="runs that are killed, of four kinds")
    runs.add_argument("--disks", type=int, default=4, help="runs whose disk is full")
    runs.add_argument("--others", type=int, default=2, help="runs for each other fault")
    runs.add_argument("--only", default="", help="of the faults whose name has this in it")
    fuzzing = parts.add_parser("fuzz", help="damaged files to every reader")
    fuzzing.add_argument("--minutes", type=float, default=1)
    fuzzing.add_argument("--readers", default="", metavar="NAMES", help="names of readers, separated by ;")
    fuzzing.add_argument("--kept", type=Path, help="folder for one input of each finding")
    for part in (runs, fuzzing):
        part.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    return disturb_runs(arguments) if arguments.part == "runs" else fuzz_readers(arguments)


def disturb_runs(arguments: argparse.Namespace) -> int:
    """Disturb runs; a tenth of the kills are of parents of two jobs, a tenth of workers."""
    from faults import disturb

    tenth = arguments.kills // 10
    kills = {"two jobs, their parent killed": tenth, "two jobs, a worker killed": tenth}
    kills["killed at a change of a file"] = (arguments.kills - 2 * tenth) // 2
    kills["killed at random moments, up to 3 times"] = arguments.kills - sum(kills.values())
    counts = {name: kills.get(name, arguments.others) for name in disturb.KINDS} | {"disk full": arguments.disks}
    counts = {name: count for name, count in counts.items() if arguments.only in name and count}
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bench = disturb.Bench(Path(folder) / "bench")
        print(f"a run takes {bench.seconds:.0f} s and changes its folder {bench.changes} times", flush=True)
        found = disturb.run_trials(bench, counts, arguments.seed, lambda line: print(line, flush=True))
    print(disturb.show_table(found))
    return int(any(trial.remarks or trial.ended != "equal" for trials in found.values() for trial in trials))


def fuzz_readers(arguments: argparse.Namespace) -> int:
    """Fuzz readers."""
    from faults import fuzz

    names = [name for name in arguments.readers.split(";") if name]
    tallies = fuzz.fuzz_for(arguments.minutes, arguments.seed, names, arguments.kept)
    print(fuzz.show_table(tallies))
    return int(any(tally.findings for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
