"""Turns the UPPER_CASE constants at the top of a script into its command line, and checks what they hold.

The script is the single source: what Python makes of a constant is the flag's default, its comment the help text. What
a constant may be stands in a table of `Rule`s, so that every edit which Python accepts is either accepted here or
refused in one line that names the constant.
"""

import argparse
import ast
import difflib
import io
import numbers
import operator
import os
import re
import sys
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from lcre import InputError, one_line

HEADING = re.compile(r"^# -{10,} (.+?)$")


# --------------------------------------------------------------------------------------- what a setting may be
@dataclass(frozen=True)
class Rule:
    """What a setting may be.

    Attributes:
        kind: int, float, str, or Path for the name of a file or folder.
        optional: it may be None, which is replaced by a default of the data set or of the model.
        least, most: bounds of a number, both allowed.
    """

    kind: type
    optional: bool = False
    least: float | None = None
    most: float | None = None

    def describe(self) -> str:
        """Return what to give, in words."""
        words = {int: "a whole number", float: "a number", str: "text in quotes", Path: "a file name in quotes"}
        return words[self.kind] + (" or None" if self.optional else "")

    def check(self, name: str, value):
        """Return a constant's value as `kind`; raise InputError that names the constant where it cannot be that."""
        if value is None and self.optional:
            return None
        try:
            found = self.convert(value)
        except (TypeError, ValueError, OverflowError):
            shown = "None" if value is None else f"{show_setting(value)} ({type(value).__name__})"
            raise InputError(f"{name}: {shown} is not allowed; give {self.describe()}") from None
        if self.least is not None and found < self.least:
            raise InputError(f"{name}: {show_setting(found)} is too small; give {self.least:,} or more")
        if self.most is not None and found > self.most:
            raise InputError(f"{name}: {show_setting(found)} is too large; give at most {self.most:,}")
        return found

    def convert(self, value):
        """Return `value` as `kind`; raise TypeError, ValueError or OverflowError where it is of another type."""
        if self.kind is Path:
            return os.path.expanduser(require(str, os.fspath(value)))
        if self.kind is str:
            return str(require(str, value))
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value) if self.kind is int else float(require(numbers.Real, value))


def require(kind: type, value):
    """Return `value`; raise TypeError where it is not of this type."""
    if not isinstance(value, kind):
        raise TypeError
    return value


def show_setting(value) -> str:
    """Return a value as messages show it, cut to 60 characters."""
    try:
        shown = one_line(repr(value))
    except ValueError:  # an integer of more digits than Python prints
        shown = "a number of thousands of digits"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


FILE = Rule(Path, optional=True)
RULES = {  # of the constants of lcre_classifier.py
    "DATASET": Rule(str),
    "ORGANISM": Rule(str, optional=True),
    "FASTA": FILE,
    "GTF": FILE,
    "TPM": FILE,
    "TARGET_COLUMN": Rule(str),
    "VALIDATION_GENES": FILE,
    "PICKLE_KEY": Rule(str, optional=True),
    "UPSTREAM": Rule(int, optional=True, least=0, most=100_000),
    "DOWNSTREAM": Rule(int, optional=True, least=0, most=100_000),
    "PADDING": Rule(int, least=0, most=10_000),
    "LOW_PERCENTILE": Rule(float),
    "HIGH_PERCENTILE": Rule(float),
    "CHROMOSOMES": Rule(str),
    "SELECT_ON": Rule(str),
    "MODEL": Rule(str),
    "EPOCHS": Rule(int, optional=True, least=1, most=1_000_000),
    "BATCH_SIZE": Rule(int, optional=True, least=1, most=1_000_000),
    "LEARNING_RATE": Rule(float, optional=True),
    "SEED": Rule(int, least=0, most=2**63 - 1),
    "SAVED_MODELS": Rule(Path),
}


# -------------------------------------------------------------------------------------------- a script's text
def read_constants(script: Path) -> dict[str, tuple[str, str]]:
    """Return name -> (group, help) of the UPPER_CASE names that a script assigns at its top level, in order.

    The help is the comment behind the assignment, with the indented comment lines that follow it; where there is none,
    the comment lines right above it. The group is the title of the last line such as `# ---------- title`.
    """
    with tokenize.open(script) as file:
        source = file.read()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token for token in tokens if token.type == tokenize.COMMENT}
    titles = {line: found[1] for line, token in comments.items() if (found := HEADING.match(token.line.rstrip()))}
    constants = {}
    for node in ast.parse(source).body:
        for name in assigned_names(node):
            group = next((titles[line] for line in reversed(titles) if line < node.lineno), "")
            constants[name] = (group, find_comment(node, comments, titles))
    return constants


def assigned_names(node: ast.stmt) -> list[str]:
    """Return the UPPER_CASE names that a statement assigns, `A, B = 1, 2` included."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    return [name for name in names if name.isupper()]


def find_comment(node: ast.stmt, comments: dict[int, tokenize.TokenInfo], titles: dict[int, str]) -> str:
    """Return the comment that belongs to a statement; comments and titles of groups are given by line."""
    alone = {line for line, token in comments.items() if token.line.lstrip().startswith("#")} - set(titles)
    lines = [line for line in range(node.lineno, node.end_lineno + 1) if line in comments]
    if lines:
        line = node.end_lineno + 1
        while line in alone and comments[line].start[1]:  # indented: it goes on from the line before
            lines.append(line)
            line += 1
    else:
        line = node.lineno - 1
        while line in alone:
            lines.insert(0, line)
            line -= 1
    return " ".join(comments[line].string.lstrip("# ").rstrip() for line in lines)


# ------------------------------------------------------------------------------------------- the command line
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
        message = re.sub(r"'([^']{60})[^']+'", r"'\1...'", message)  # a value of thousands of letters
        self.exit(2, f"{self.prog}: {one_line(' '.join(message.split()))}\n")


def flag_of(name: str) -> str:
    """Return the flag of a constant: UPSTREAM -> --upstream, SELECT_ON -> --select-on."""
    return "--" + name.lower().replace("_", "-")


def parse_settings(
    script: Path,
    values: Mapping,
    rules: Mapping[str, Rule],
    version: str,
    extra: dict[str, str],
    argv: Sequence[str] | None,
) -> tuple[dict, argparse.Namespace]:
    """Parse the command line made from a script's constants.

    Args:
        script: the script's file.
        values: its globals, where the constants' present values are.
        rules: of each constant.
        version: what --version prints.
        extra: further flags -> help; those whose help ends in 'FILE' take a value, the rest are switches.
        argv: the arguments, None for those of the process.

    Returns:
        Constant -> value in force, not yet checked; and the namespace of the extra flags, whose `given` has the
        constants that are given as flags.

    Raises:
        InputError: the script no longer has a constant.
    """
    comments = read_constants(script)
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
    in_order = [name for name in comments if name in rules]
    for name in [*in_order, *(name for name in rules if name not in comments)]:
        group, text = comments.get(name, ("", ""))
        if group not in groups:
            groups[group] = parser.add_argument_group(group or None)
        value = values.get(name)
        default = "" if value is None else f" [{one_line(value) if isinstance(value, str) else show_setting(value)}]"
        groups[group].add_argument(
            flag_of(name),
            dest=name,
            default=argparse.SUPPRESS,
            type={int: int, float: float}.get(rules[name].kind, str),
            metavar={int: "N", float: "X"}.get(rules[name].kind, "TEXT"),
            help=(text + default).strip().replace("%", "%%"),
        )
    actions = parser.add_argument_group("instead of training")
    for flag, text in extra.items():
        if text.endswith("FILE"):
            actions.add_argument(flag, metavar="FILE", type=Path, help=text.removesuffix(" FILE"))
        else:
            actions.add_argument(flag, action="store_true", help=text)
    actions.add_argument("--version", action="version", version=f"{Path(script).stem} {version}")
    space = parser.parse_args(sys.argv[1:] if argv is None else argv)
    space.given = {name: getattr(space, name) for name in rules if hasattr(space, name)}
    for name in rules:
        if name not in values and name not in space.given:
            raise InputError(f"{name}: {Path(script).name} has no such constant any more; write {name} = ... into it")
    return {name: space.given[name] if name in space.given else values[name] for name in rules}, space


# -------------------------------------------------------------------------------------------------- data sets
FILES = ("FASTA", "GTF", "TPM")  # a data set needs these; its validation genes are optional


def locate(name: str | Path, roots: Sequence[Path]) -> Path | None:
    """Return where a file of a data set is, plain or gzip: in the first of the folders `roots` that has it, or None."""
    paths = [Path(f"{root / name}{suffix}") for root in roots for suffix in ("", ".gz")]
    return next((path for path in paths if os.path.exists(path)), None)


def missing_files(values: Mapping, dataset: Mapping, roots: Sequence[Path]) -> list[Path]:
    """Return the needed files of a data set that are not there, as they would be named in the first of `roots`.

    Args:
        values: constant -> value; what is given there is not looked for.
        dataset: constant -> what the data set puts in place of None.
        roots: folders.
    """
    if values["FASTA"] or values["GTF"]:  # a species of the user's own
        return []
    needed = [dataset[name] for name in FILES if values[name] is None and name in dataset]
    return [roots[0] / name for name in needed if locate(name, roots) is None]


def choose_files(values: Mapping, dataset: Mapping, roots: Sequence[Path]) -> dict:
    """Return what takes the place of None: of the data set, its files located, or of a species of the user's own.

    Raises:
        InputError: files of an own species given in part, files of the data set that are not there.
    """
    own = [name for name in FILES if values[name] is not None]
    if values["FASTA"] or values["GTF"]:
        if len(own) < len(FILES):
            missing = " and ".join(name for name in FILES if name not in own)
            raise InputError(f"{' and '.join(own)} given without {missing}: a species of your own needs all three")
        stem = Path(values["GTF"]).name.split(".")[0].lower()
        return {"ORGANISM": re.sub(r"[^\w+-]+", "_", stem)[:60]}
    if missing := missing_files(values, dataset, roots):
        name = values["DATASET"]
        raise InputError(
            f"DATASET {name}: {missing[0]} is not there; 'python data/fetch.py {name}' gets it, or says where it comes "
            "from"
        )
    chosen = dict(dataset)
    if values["VALIDATION_GENES"]:
        chosen.pop("PICKLE_KEY", None)  # it is the key of the data set's own list
    for name in (*FILES, "VALIDATION_GENES"):
        if name in chosen:
            chosen[name] = locate(chosen[name], roots)
    return chosen


# --------------------------------------------------------------------------------------------------- all of them
def resolve_settings(
    values: Mapping, datasets: Mapping, fallbacks: Mapping, models: Sequence[str], roots: Sequence[Path] = (Path(),)
) -> SimpleNamespace:
    """Check the settings and fill those left at None from the data set.

    Args:
        values: constant -> value from the command line or the script.
        datasets: name -> what the data set puts in place of None.
        fallbacks: what takes the place of None where the data set has nothing.
        models: the names MODEL may have.
        roots: folders in which the files of data sets are looked for.

    Raises:
        InputError: a value of another type or out of range, an unknown data set or model, files of an own species given
            in part, files of the data set that are not there.
    """
    values = {name: RULES[name].check(name, value) for name, value in values.items()}
    for name, choices in (("DATASET", datasets), ("SELECT_ON", ("validation", "test")), ("MODEL", models)):
        if values[name] not in choices:
            raise InputError(f"{name}: {show_setting(values[name])} is none of {', '.join(choices)}")
    chosen = choose_files(values, datasets[values["DATASET"]], roots)
    if values["FASTA"] or values["GTF"]:
        values["DATASET"] = None  # nothing is taken from it
    for name, value in (fallbacks | chosen).items():
        if values[name] is None:
            values[name] = value
    if values["UPSTREAM"] + values["DOWNSTREAM"] < 8:
        raise InputError("UPSTREAM + DOWNSTREAM: a window of less than 8 bp holds nothing to learn from")
    rate = values["LEARNING_RATE"]
    if rate is not None and not 0 < rate < 10:
        raise InputError(f"LEARNING_RATE: {rate} is not a learning rate; try 1e-3")
    low, high = values["LOW_PERCENTILE"], values["HIGH_PERCENTILE"]
    if not 0 < low < high < 100:
        raise InputError(
            f"LOW_PERCENTILE {low:g}, HIGH_PERCENTILE {high:g}: need 0 < low < high < 100, as in 25 and 75"
        )
    organism = values["ORGANISM"]
    if not re.fullmatch(r"[\w+][\w.+-]*", organism) or len(os.fsencode(organism)) > 100:
        raise InputError(
            f"ORGANISM: {show_setting(organism)} becomes part of file names; use at most 100 letters and digits, none "
            "of . and - in front"
        )
    return SimpleNamespace(**values)
