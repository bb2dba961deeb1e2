"""CREaTor: from the cCREs within reach of a gene, their sequence and chromatin, to its expression.

    python CREaTor.py -i INPUT                          one number: log1p of the expression; --pkl is -i
    python CREaTor.py -i INPUT -c model.keras           with a model of yours
    python CREaTor.py convert chk.pth model.keras       the published checkpoint as a Keras model

Source: Li et al. 2023, Genome Biology 24:266.
"""

import os
import re
import sys
from pathlib import Path

import numpy as np

from core.cli import OneLineParser, run_script
from core.device import import_tensorflow
from creator import InputError, limits, shown, shown_path
from creator.checkpoint import load_model, load_published, read_input, save_model

CHECKPOINT = Path("checkpoints/chk.pth")  # the authors' weights, as the published commands name them
SCRIPT_FOLDER = Path(__file__).resolve().parent


class Parser(OneLineParser):
    """A parser whose complaint is one line, whatever control characters the arguments hold."""

    def error(self, message: str):
        """Print one line on stderr and leave with status 2."""
        if wrong := re.search(r"invalid choice: (.*) \(choose from", message, re.DOTALL):
            message = f"no command {wrong[1]}; give an input with -i INPUT, or: convert chk.pth model.keras"
        super().error(shown(message, 500))

    def refuse_unknown_flags(self, argv: list[str]) -> None:
        """Leave with status 2 if a flag is unknown: argparse would take what follows it for a command."""
        for word in argv:
            if word in ("--", "evaluate"):  # what follows are no flags, or those of a command with flags of its own
                return
            flag = word.split("=")[0]
            with_value = flag[:2] in ("-i", "-c")  # as in -iINPUT
            if flag.startswith("-") and flag != "-" and not with_value and flag not in self._option_string_actions:
                self.error(f"unrecognized arguments: {flag}")


def main(argv=None):
    """Runs the command line; returns the exit status: 0 done, 2 the input or the checkpoint is wrong."""
    return run_script("CREaTor.py", run, argv, "nothing was written")


def run(argv):
    """Does what the command line asks for."""
    parser = _parser()
    parser.refuse_unknown_flags(argv)
    arguments, rest = parser.parse_known_args(argv)
    if arguments.command == "convert":
        if rest or arguments.input is not None or arguments.checkpoint is not None:
            parser.error("convert takes two files and nothing else: convert chk.pth model.keras")
        convert(arguments.published, arguments.model)
        return
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if arguments.command == "evaluate":
        evaluate(arguments)
        return
    if arguments.input is None:
        parser.error("give an input: -i INPUT")
    for number in predict(arguments.input, arguments.checkpoint):
        print(number)


def predict(input_path: str | Path, checkpoint_path: str | Path | None = None) -> np.ndarray:
    """Returns the expression of the genes in an input file, on the log1p scale, (G,) float32.

    Args:
        input_path: pickle with the arrays of `creator.checkpoint.CreatorInput`.
        checkpoint_path: published .pth or .keras model; None: the authors' checkpoint where it belongs.

    Raises:
        InputError: if a file is wrong or missing, or if the network has no finite number for it.
    """
    inputs = _named(input_path, read_input)
    checkpoint_path = find_checkpoint() if checkpoint_path is None else checkpoint_path
    if not os.path.exists(checkpoint_path):
        raise InputError(f"no checkpoint {shown_path(checkpoint_path)}; check the path given with -c")
    tf, _ = import_tensorflow()
    model = _named(checkpoint_path, load_model)

    from creator.network import predict_expression, prediction_memory

    name = shown_path(input_path)
    (count, length), genes = inputs.E_ge.shape, len(inputs.G_pos)
    what = f"{name}: {count:,} cCREs of {length:,} bases take"
    limits.require_memory(prediction_memory(model.sizes, count, length, genes), what)
    try:
        predicted = predict_expression(model, *inputs)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise InputError(f"{what} more memory than is free; give fewer or shorter cCREs") from None
    if not np.isfinite(predicted).all():
        first = int(np.argmin(np.isfinite(predicted)))
        raise InputError(
            f"{name}: the network's output for gene {first + 1} of {genes} is {predicted[first]}, no finite number; "
            f"weights in {shown_path(checkpoint_path)} are too large"
        )
    return predicted


def evaluate(arguments):
    """Scores predicted expression, or links."""
    from creator.evaluation import evaluate_command

    evaluate_command(*(getattr(arguments, name) for name in ("folder", "links", "out", "to", "store", "cell")))


def find_checkpoint() -> Path:
    """Returns the path of the authors' checkpoint: beside this script, else in the working directory.

    Raises:
        InputError: if it is in neither place.
    """
    places = [SCRIPT_FOLDER / CHECKPOINT, Path.cwd() / CHECKPOINT]
    for place in places:
        if os.path.exists(place):
            return place
    raise InputError(
        f"no checkpoint {CHECKPOINT}: there is neither {shown_path(places[0])}, beside the script, nor "
        f"{shown_path(places[1])}, in the working directory; put the authors' file at one of them (README, 'Your own "
        "input, the authors' checkpoint'), or give another with -c"
    )


def convert(published_path, model_path):
    """Writes a published `.pth` as a `.keras` model."""
    name, folder = shown_path(model_path), Path(model_path).parent
    if Path(model_path).suffix != ".keras":
        raise InputError(f"{name}: a converted model is a .keras file; give a name that ends in .keras")
    if not os.path.isdir(folder):
        raise InputError(f"{name}: there is no folder {shown_path(folder)}; make it first")
    if os.path.isdir(model_path):
        raise InputError(f"{name}: is a folder; give the name of a file")
    if not os.path.exists(published_path):
        raise InputError(f"no checkpoint {shown_path(published_path)}; check the first of the two names")
    import_tensorflow()
    model = _named(published_path, load_published)
    try:
        save_model(model, model_path)
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or shown(error)}; nothing was written") from None
    print(f"{name}: {model.count_params():,} numbers from {shown_path(published_path)}")


def _named(path, read):
    """Reads one file; what is wrong with it is told with its path in front."""
    try:
        return read(path)
    except InputError as error:
        problem = str(error)
    except MemoryError:
        problem = "describes more numbers than this machine has memory for"
    except OSError as error:
        problem = f"{error.strerror or shown(error)}; check the path"
    raise InputError(f"{shown_path(path)}: {problem}")


def _parser() -> Parser:
    """Returns the parser of the command line; its subcommands have parsers of the same class."""
    parser = Parser(
        prog="CREaTor.py",
        description="Predicts a gene's expression from the cCREs within its reach.",
        epilog="Input and checkpoint are described in README.md, section CREaTor.",
        allow_abbrev=False,
    )
    parser.add_argument(
        *("-i", "--pkl", "--input"), dest="input", metavar="INPUT", help="pickle with E_ge, E_chp, E_pos, G_pos, G_gpos"
    )
    parser.add_argument(
        *("-c", "--checkpoint"),
        help=f"the published .pth, or a .keras model (default: {CHECKPOINT} beside this script, else in the working "
        "directory)",
    )
    commands = parser.add_subparsers(dest="command", metavar="convert")
    command = commands.add_parser("convert", help="write a published .pth as a .keras model", allow_abbrev=False)
    command.add_argument("published", metavar="chk.pth")
    command.add_argument("model", metavar="model.keras")
    _add_evaluate(commands)
    return parser


def _add_evaluate(commands) -> None:
    """Adds the command evaluate and its flags."""
    command = commands.add_parser(
        "evaluate",
        help="score predicted expression or links",
        description="Scores predicted expression beside simpler predictions of the same genes, or cCRE-gene links "
        "beside simpler scores of pairs tested by CRISPR.",
        allow_abbrev=False,
    )
    command.add_argument("folder", nargs="?", metavar="DIR", type=Path, help="a folder that predict wrote -> eval.csv")
    command.add_argument("--links", metavar="FILE", type=Path, help="tested pairs (TSV or CSV) -> links_eval.csv")
    command.add_argument("--out", metavar="DIR", type=Path, help="with --links: score the links of this folder, too")
    command.add_argument("--cell", help="with --out: whose links to take (default: of the cell a pair was tested in)")
    command.add_argument("--store", metavar="STORE", type=Path, help="with DIR: where its store is, if it was moved")
    command.add_argument("--to", metavar="FILE", type=Path, help="write the table to this file instead")


if __name__ == "__main__":
    sys.exit(main())
