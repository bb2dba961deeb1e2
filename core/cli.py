"""The command line of a script: its UPPER_CASE constants as flags, and how it ends.

The script is the single source: what Python makes of a constant is the flag's default, its comment the help text. What
a constant may be stands in a table of `Rule`s, so that every edit which Python accepts is either accepted here or
refused in one line that names the constant. What the user can mend is one line on stderr and exit status 2, without a
traceback.
"""

import argparse
import ast
import difflib
import errno
import io
import linecache
import numbers
import operator
import os
import re
import sys
import tokenize
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core import InputError, one_line

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
        except Exception:  # whatever an object of the user's own does
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
            path = os.path.expanduser(require(str, os.fspath(value)))
            if not path or b"\0" in os.fsencode(path):
                raise ValueError
            return path
        if self.kind is str:
            return str.__str__(require(str, value))  # of a member of an Enum its value
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
    except Exception:  # an integer of more digits than Python prints, or an object whose __repr__ fails
        shown = f"a value of type {type(value).__name__}"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


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
            message = f"no flag {flag}{meant}" if flag[:1] == "-" else f"{flag} is one argument too many; see --help"
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
        extra: further flags -> help; those whose help ends in 'FILE' or 'NAMES' take a value, the rest are switches.
        argv: the arguments, None for those of the process.

    Returns:
        Constant -> value in force, not yet checked; and the namespace of the extra flags, whose `overrides`
        has the constants that are given as flags.

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
    actions = parser.add_argument_group("what to do")
    for flag, text in extra.items():
        value = text.rpartition(" ")[2]
        if value in ("FILE", "NAMES"):
            kind = Path if value == "FILE" else str
            actions.add_argument(flag, metavar=value, type=kind, help=text.removesuffix(f" {value}"))
        else:
            actions.add_argument(flag, action="store_true", help=text)
    actions.add_argument("--version", action="version", version=f"{Path(script).stem} {version}")
    space = parser.parse_args(sys.argv[1:] if argv is None else argv)
    space.overrides = {name: getattr(space, name) for name in rules if hasattr(space, name)}
    for name in rules:
        if name not in values and name not in space.overrides:
            raise InputError(f"{name}: {Path(script).name} has no such constant any more; write {name} = ... into it")
    return {name: space.overrides[name] if name in space.overrides else values[name] for name in rules}, space


# ---------------------------------------------------------------------------------------- how a script ends
def run_script(name: str, run: Callable[[list[str]], None], argv: Sequence[str] | None, left: str) -> int:
    """Run a script's command line and return its exit status.

    Args:
        name: of the script; its messages begin with it.
        run: does what the arguments ask for.
        argv: the arguments; None: those of the process.
        left: what an interrupt or a full disk leaves behind, in words.

    Returns:
        0 done, 2 the input is wrong or a package, memory or room on the disk is missing, 130 interrupted.
    """
    try:
        run(sys.argv[1:] if argv is None else list(argv))
    except InputError as error:
        status, message = 2, str(error)
    except KeyboardInterrupt:
        status, message = 130, f"interrupted; {left}"
    except ModuleNotFoundError as error:
        status, message = 2, f"{error}; pip install -r requirements.txt brings it"
    except MemoryError:
        status, message = 2, NO_MEMORY + left
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        advice = "give a shorter name" if error.errno == errno.ENAMETOOLONG else left
        status, message = 2, f"{error.strerror or error}{where}; {advice}"
    except Exception as error:
        is_memory = type(error).__name__ == "ResourceExhaustedError"  # TensorFlow's own MemoryError
        status, message = 2, NO_MEMORY + left if is_memory else describe_constant(error)
        if not message:
            raise
    else:
        return 0
    print(f"{name}: {one_line(message[:MOST_LETTERS])}", file=sys.stderr)
    return status


NO_MEMORY = "this machine does not have the memory for it; "
MOST_LETTERS = 4000  # of a message: a name from a file or a command line can have millions


def explain_constants(script: str) -> None:
    """Have an error in the constants of the running script end in one line that names the constant, exit status 2.

    Python evaluates them before any function of the script can run, so the line is printed by `sys.excepthook`.
    """

    def explain(kind, error, trace):
        message = describe_constant(error)
        if not message:
            sys.__excepthook__(kind, error, trace)
            return
        print(f"{Path(script).name}: {one_line(message[:MOST_LETTERS])}", file=sys.stderr)
        sys.exit(2)

    sys.excepthook = explain


def describe_constant(error: Exception) -> str:
    """Return one line on the constant of a script that Python could not evaluate, or "" for any other error."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} of {Path(error.filename or 'a script').name} is not Python: {error.msg}"
    for frame in traceback.extract_tb(error.__traceback__):
        names = constants_at(frame.filename, frame.lineno) if frame.name == "<module>" else None
        if names is not None:
            place = f"line {frame.lineno} of {Path(frame.filename).name}"
            reason = f"{type(error).__name__}: {show_error(error)}"
            return f"{': '.join([*names[:1], place])} cannot be evaluated ({reason}); mend it"
    return ""


def show_error(error: Exception) -> str:
    """Return the message of an error as one line."""
    try:
        return " ".join(str(error).split())
    except Exception:  # an error of the user's own
        return "without a message"


def constants_at(filename: str, line: int) -> list[str] | None:
    """Return the UPPER_CASE names that a line among a script's constants binds; None for any other line.

    The constants reach from the first to the last top-level statement that binds such a name.
    """
    try:
        body = ast.parse("".join(linecache.getlines(filename))).body
    except SyntaxError:
        return None
    lines = [number for node in body if bound_names(node) for number in (node.lineno, node.end_lineno)]
    here = next((node for node in body if node.lineno <= line <= node.end_lineno), None)
    if here is None or not lines or not min(lines) <= line <= max(lines):
        return None
    if isinstance(here, (ast.ClassDef, ast.FunctionDef)) or is_entry(here):
        return None
    inside = [part for part in ast.walk(here) if isinstance(part, ast.stmt) and part.lineno <= line <= part.end_lineno]
    return bound_names(inside[-1]) or bound_names(here)


def bound_names(node: ast.AST) -> list[str]:
    """Return the UPPER_CASE names that a statement assigns, deletes or loops over, at any depth but in functions."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return []
    parts = [part for part in ast.walk(node) if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load)]
    return [part.id for part in parts if part.id.isupper()]


def is_entry(node: ast.stmt) -> bool:
    """Tell whether a statement is the `if __name__ == "__main__":` of a script."""
    return isinstance(node, ast.If) and "__name__" in ast.dump(node.test)
