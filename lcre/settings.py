"""Turns the UPPER_CASE constants at the top of a script into its command line.

The script's own text is the single source: a constant's value is the flag's default, its trailing comment the
help text, its annotation (or its value) the type. So nothing is typed twice and `--help` cannot fall behind.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from lcre import InputError

CONSTANT = re.compile(r"^([A-Z][A-Z0-9_]+)(?:\s*:\s*([^=]+?))?\s*=\s*(.*?)\s{2,}#\s*(.*)$")
GROUP = re.compile(r"^# -{10,} (.+?)$")
MORE = re.compile(r"^\s+#\s*(.*)$")


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line that suggests the flag that was meant."""

    def error(self, message: str):
        """Print one line on stderr and leave with status 2."""
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        if unknown:
            flag = unknown[1].split("=")[0]
            close = difflib.get_close_matches(flag.lower(), self._option_string_actions, 1)
            meant = f"; did you mean {close[0]}?" if close else "; --help lists the flags"
            message = f"no flag {flag}{meant}"
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def flag_of(name: str) -> str:
    """Return the flag of a constant: UPSTREAM -> --upstream, SELECT_ON -> --select-on."""
    return "--" + name.lower().replace("_", "-")


def read_constants(script: Path) -> dict[str, tuple[str, str, str]]:
    """Return name -> (group, type, help) of the documented constants of a script, in order.

    The block of constants ends at the first line of other code. A constant has a trailing comment behind two
    spaces; the type is 'int', 'float' or 'str'.
    """
    constants: dict[str, tuple[str, str, str]] = {}
    group, last = "", ""
    for line in Path(script).read_text(encoding="utf-8").splitlines():
        if heading := GROUP.match(line):
            group = heading[1]
        elif found := CONSTANT.match(line):
            last, annotation, value, text = found.groups()
            kind = annotation.split("|")[0].strip() if annotation else kind_of(value)
            constants[last] = (group, kind, text)
        elif last and (more := MORE.match(line)):
            constants[last] = (*constants[last][:2], f"{constants[last][2]} {more[1]}")
        elif constants and line and not line.startswith("#"):
            break
    return constants


def kind_of(value: str) -> str:
    """Return the type of a literal as it stands in the script."""
    if re.fullmatch(r"-?\d[\d_]*", value):
        return "int"
    return "float" if re.fullmatch(r"-?[\d.]+(e-?\d+)?", value) else "str"


def parse_settings(
    script: Path, values: dict, version: str, extra: dict[str, str], argv: Sequence[str] | None
) -> tuple[dict, argparse.Namespace]:
    """Parse the command line made from a script's constants.

    Args:
        script: the script's file.
        values: its globals, where the constants' present values are.
        version: what --version prints.
        extra: further flags -> help; those whose help ends in 'FILE' take a value, the rest are switches.
        argv: the arguments, None for those of the process.

    Returns:
        Constant -> value in force, and the namespace of the extra flags.
    """
    constants = read_constants(script)
    parser = OneLineParser(
        prog=Path(script).name,
        usage="%(prog)s [--flag value ...]",
        description=(values.get("__doc__") or "").strip(),
        epilog="Every flag is also a constant at the top of the script. Exit status: 0 done, 2 the input is wrong "
        "(one line says what), 130 interrupted (the same command goes on).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, (group, kind, text) in constants.items():
        groups.setdefault(group, parser.add_argument_group(group))
        default = "" if values[name] is None else f" [{values[name]}]"
        groups[group].add_argument(
            flag_of(name),
            dest=name,
            default=values[name],
            type={"int": int, "float": float}.get(kind, str),
            metavar={"int": "N", "float": "X"}.get(kind, "TEXT"),
            help=(text + default).replace("%", "%%"),
        )
    actions = parser.add_argument_group("instead of training")
    for flag, text in extra.items():
        if text.endswith("FILE"):
            actions.add_argument(flag, metavar="FILE", type=Path, help=text.removesuffix(" FILE"))
        else:
            actions.add_argument(flag, action="store_true", help=text)
    actions.add_argument("--version", action="version", version=f"{Path(script).stem} {version}")
    space = parser.parse_args(sys.argv[1:] if argv is None else argv)
    return {name: getattr(space, name) for name in constants}, space


def resolve_settings(given: dict, datasets: dict, fallbacks: dict, models: Sequence[str]) -> SimpleNamespace:
    """Fill the settings left at None from the data set and check the ranges.

    Args:
        given: constant -> value from the command line or the script.
        datasets: name -> what the data set puts in place of None.
        fallbacks: what takes the place of None where the data set has nothing.
        models: the names MODEL may have.

    Raises:
        InputError: unknown data set or model, files of an own species given in part, a number out of range.
    """
    settings = SimpleNamespace(**given)
    if settings.DATASET not in datasets:
        raise InputError(f"DATASET: {settings.DATASET!r} is none of {', '.join(datasets)}")
    files = ("FASTA", "GTF", "TPM")
    own = [name for name in files if given[name] is not None]
    if settings.GTF or settings.FASTA:
        if len(own) < 3:
            missing = " and ".join(name for name in files if name not in own)
            raise InputError(f"{' and '.join(own)} given without {missing}: a species of your own needs all three")
        defaults = {"ORGANISM": re.sub(r"[^\w+-]+", "_", Path(settings.GTF).name.split(".")[0].lower())}
    else:
        defaults = dict(datasets[settings.DATASET])
        if settings.VALIDATION_GENES:
            defaults.pop("PICKLE_KEY", None)
        for name in (*files, "VALIDATION_GENES"):
            if given[name] is None and name in defaults and not Path(defaults[name]).exists():
                raise InputError(
                    f"DATASET {settings.DATASET}: {defaults[name]} is not there; "
                    f"'python data/fetch.py {settings.DATASET}' gets it, or says where it comes from"
                )
    for name, value in (fallbacks | defaults).items():
        if given[name] is None:
            setattr(settings, name, value)

    least = {"UPSTREAM": 0, "DOWNSTREAM": 0, "PADDING": 0, "EPOCHS": 1, "BATCH_SIZE": 1, "SEED": 0}
    for name, bound in least.items():
        value = getattr(settings, name)
        if value is not None and value < bound:
            raise InputError(f"{name}: {value} is too small; give {bound} or more")
    if settings.UPSTREAM + settings.DOWNSTREAM < 8:
        raise InputError("UPSTREAM + DOWNSTREAM: a window of less than 8 bp holds nothing to learn from")
    if settings.LEARNING_RATE is not None and not 0 < settings.LEARNING_RATE < 10:
        raise InputError(f"LEARNING_RATE: {settings.LEARNING_RATE} is not a learning rate; try 1e-3")
    low, high = settings.LOW_PERCENTILE, settings.HIGH_PERCENTILE
    if not 0 < low < high < 100:
        raise InputError(
            f"LOW_PERCENTILE {low:g}, HIGH_PERCENTILE {high:g}: need 0 < low < high < 100, as in 25 and 75"
        )
    for name, choices in (("SELECT_ON", ("validation", "test")), ("MODEL", tuple(models))):
        if getattr(settings, name) not in choices:
            raise InputError(f"{name}: {getattr(settings, name)!r} is none of {', '.join(choices)}")
    if not re.fullmatch(r"[\w.+-]+", settings.ORGANISM):
        raise InputError(f"ORGANISM: {settings.ORGANISM!r} becomes part of file names; use letters and digits")
    return settings
