"""CREaTor: from the cCREs within reach of a gene, their sequence and chromatin, to its expression.

    python CREaTor.py -i INPUT                          one number: log1p of the expression; --pkl is -i
    python CREaTor.py -i INPUT -c model.keras           with a model of yours
    python CREaTor.py convert chk.pth model.keras       the published checkpoint as a Keras model
    python CREaTor.py prepare --fasta ... --out STORE   from genome, cCREs and samples to a store
    python CREaTor.py train STORE --out DIR             from a store to a model
    python CREaTor.py predict STORE -c MODEL --out DIR  from store and model to expression and links
    python CREaTor.py evaluate DIR                      these beside simpler predictions and scores

Source: Li et al. 2023, Genome Biology 24:266.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from core import PATH_LENGTH, InputError, show_value
from core.cli import OneLineParser, run_script
from core.device import import_tensorflow
from creator import CHANNELS
from creator.checkpoint import describe_model, load_model, load_published, read_input, require_memory, save_model
from creator.settings import SETTINGS
from creator.store import OPTIONS

CHECKPOINT = Path("checkpoints/chk.pth")  # the authors' weights, as the published commands name them
Content = TypeVar("Content")  # of a file
SCRIPT_FOLDER = Path(__file__).resolve().parent
LEFT = {  # by an interrupt, by command
    "prepare": "what is whole of the store is kept: the same command goes on",
    "train": "finished epochs are kept: the same command goes on",
    "predict": "nothing was written",
    "evaluate": "what is written is whole",
}


class Parser(OneLineParser):
    """A parser whose complaint is one line, whatever control characters the arguments hold."""

    def error(self, message: str):
        """Print one line on stderr and leave with status 2."""
        if wrong := re.search(r"invalid choice: (.*) \(choose from", message, re.DOTALL):
            message = (
                f"no command {wrong[1]}; give an input with -i INPUT, or: convert chk.pth model.keras, or one of"
                f" {', '.join(LEFT)} with --help"
            )
        super().error(show_value(message, 500))

    def refuse_unknown_flags(self, argv: list[str]) -> None:
        """Leave with status 2 if a flag is unknown: argparse would take what follows it for a command."""
        for word in argv:
            if word in ("--", *LEFT):  # what follows are no flags, or those of a command with flags of its own
                return
            flag = word.split("=")[0]
            with_value = flag[:2] in ("-i", "-c")  # as in -iINPUT
            if flag.startswith("-") and flag != "-" and not with_value and flag not in self._option_string_actions:
                self.error(f"unrecognized arguments: {flag}")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status: 0 done, 2 the input or the checkpoint is wrong."""
    command = next(iter(sys.argv[1:] if argv is None else argv), "")
    return run_script("CREaTor.py", run, argv, LEFT.get(command, "nothing was written"))


def run(argv: list[str]) -> None:
    """Do what the command line asks for."""
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
    if arguments.command == "prepare":
        prepare(arguments)
        return
    if arguments.command == "evaluate":
        evaluate(arguments)
        return
    if arguments.command == "train":
        train(arguments)
        return
    if arguments.command == "predict":
        predict_store(arguments)
        return
    if arguments.input is None:
        parser.error("give an input: -i INPUT")
    for number in predict(arguments.input, arguments.checkpoint):
        print(number)


def predict(input_path: str | Path, checkpoint_path: str | Path | None = None) -> np.ndarray:
    """Return the expression of the genes in an input file, on the log1p scale, (G,) float32.

    Args:
        input_path: pickle with the arrays of `creator.checkpoint.CreatorInput`.
        checkpoint_path: published .pth or .keras model; None: the authors' checkpoint where it belongs.

    Raises:
        InputError: a file is wrong or missing, or the network has no finite number for it.
    """
    inputs = _named(input_path, read_input)
    checkpoint_path = find_checkpoint() if checkpoint_path is None else checkpoint_path
    if not os.path.exists(checkpoint_path):
        raise InputError(f"no checkpoint {show_value(checkpoint_path, PATH_LENGTH)}; check the path given with -c")
    tf, _ = import_tensorflow()
    model = _named(checkpoint_path, load_model)
    if model.channels != len(CHANNELS):
        raise InputError(
            f"{show_value(checkpoint_path, PATH_LENGTH)}: has {model.channels} tracks of its own; -i takes models "
            f"of the {len(CHANNELS)} published tracks, use predict with a store"
        )
    if model.training and model.training.get("promoter"):
        raise InputError(
            f"{show_value(checkpoint_path, PATH_LENGTH)}: was trained with --promoter, and INPUT has no sequence of "
            "the gene's own window; use predict with a store"
        )

    from creator.network import predict_expression, prediction_memory

    name = show_value(input_path, PATH_LENGTH)
    (count, length), genes = inputs.E_ge.shape, len(inputs.G_pos)
    what = f"{name}: {count:,} cCREs of {length:,} bases take"
    require_memory(prediction_memory(model.sizes, count, length, genes), what)
    try:
        predicted = predict_expression(model, *inputs)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise InputError(f"{what} more memory than is free; give fewer or shorter cCREs") from None
    if not np.isfinite(predicted).all():
        first = int(np.argmin(np.isfinite(predicted)))
        raise InputError(
            f"{name}: the network's output for gene {first + 1} of {genes} is {predicted[first]}, no finite number; "
            f"weights in {show_value(checkpoint_path, PATH_LENGTH)} are too large"
        )
    return predicted


def evaluate(arguments: argparse.Namespace) -> None:
    """Score predicted expression, or links, and write the page of the folder."""
    from creator.evaluation import evaluate_command

    names = ("folder", "links", "out", "to", "store", "cell")
    folder = evaluate_command(*(getattr(arguments, name) for name in names))
    if folder is not None:
        from creator.report import write_report

        print(f"page: {write_report(folder, arguments.store)}")


def find_checkpoint() -> Path:
    """Return the path of the authors' checkpoint: beside this script, else in the working directory.

    Raises:
        InputError: it is in neither place.
    """
    places = [SCRIPT_FOLDER / CHECKPOINT, Path.cwd() / CHECKPOINT]
    for place in places:
        if os.path.exists(place):
            return place
    beside_script, working = (show_value(place, PATH_LENGTH) for place in places)
    raise InputError(
        f"no checkpoint {CHECKPOINT}: there is neither {beside_script}, beside the script, nor {working}, in the "
        "working directory; put the authors' file at one of them (README, CREaTor), or give another with -c"
    )


def convert(published_path: str | Path, model_path: str | Path) -> None:
    """Write a published `.pth` as a `.keras` model.

    Raises:
        InputError: one of the two paths is wrong, or the checkpoint is.
    """
    name, folder = show_value(model_path, PATH_LENGTH), Path(model_path).parent
    if Path(model_path).suffix != ".keras":
        raise InputError(f"{name}: a converted model is a .keras file; give a name that ends in .keras")
    if not os.path.isdir(folder):
        raise InputError(f"{name}: there is no folder {show_value(folder, PATH_LENGTH)}; make it first")
    if os.path.isdir(model_path):
        raise InputError(f"{name}: is a folder; give the name of a file")
    if not os.path.exists(published_path):
        raise InputError(f"no checkpoint {show_value(published_path, PATH_LENGTH)}; check the first of the two names")
    import_tensorflow()
    model = _named(published_path, load_published)
    try:
        save_model(model, model_path)
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or show_value(error, 120)}; nothing was written") from None
    print(f"{name}: {model.count_params():,} numbers from {show_value(published_path, PATH_LENGTH)}")


def prepare(arguments: argparse.Namespace) -> None:
    """Build the store that the command line describes."""
    from creator.prepare import prepare as build

    options = {option.name: getattr(arguments, option.name) for option in OPTIONS}
    files = (arguments.fasta, arguments.gtf, arguments.ccres, arguments.samples, arguments.out)
    build(*files, options, arguments.tracks, arguments.overwrite)


def train(arguments: argparse.Namespace) -> None:
    """Train on a store as the command line says."""
    from creator.training import train as start

    values = {setting.name: getattr(arguments, setting.name) for setting in SETTINGS}
    held, validation = arguments.hold_out_chromosomes, arguments.validation_chromosomes
    start(arguments.store, arguments.out, arguments.hold_out_cells, held, validation, values)


def predict_store(arguments: argparse.Namespace) -> None:
    """Predict the genes of a store as the command line says."""
    from creator.prediction import check_fit, plan_prediction
    from creator.prediction import predict as start

    path = find_checkpoint() if arguments.checkpoint is None else arguments.checkpoint
    if not os.path.exists(path):
        raise InputError(f"no checkpoint {show_value(path, PATH_LENGTH)}; check the path given with -c")
    plan = plan_prediction(
        arguments.store,
        arguments.cells,
        arguments.contacts,
        arguments.arcs,
        links=not arguments.no_links,
        ablation=arguments.ablation,
        vectors=arguments.vectors,
    )
    check_fit(plan.store, _named(path, describe_model), show_value(path, PATH_LENGTH))
    import_tensorflow()
    start(plan, _named(path, load_model), Path(path), arguments.out)


def _named(path: str | Path, read: Callable[[str | Path], Content]) -> Content:
    """Return what `read` makes of a file; raise InputError with its path in front."""
    try:
        return read(path)
    except InputError as error:
        problem = str(error)
    except MemoryError:
        problem = "describes more numbers than this machine has memory for"
    except OSError as error:
        problem = f"{error.strerror or show_value(error, 120)}; check the path"
    raise InputError(f"{show_value(path, PATH_LENGTH)}: {problem}")


def _parser() -> Parser:
    """Return the parser of the command line; its subcommands have parsers of the same class."""
    parser = Parser(
        prog="CREaTor.py",
        description="Predicts a gene's expression from the cCREs within its reach.",
        epilog="Input and checkpoint are described in docs/creator.md.",
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
    commands = parser.add_subparsers(dest="command", metavar=", ".join(["convert", *LEFT]))
    command = commands.add_parser("convert", help="write a published .pth as a .keras model", allow_abbrev=False)
    command.add_argument("published", metavar="chk.pth")
    command.add_argument("model", metavar="model.keras")
    _add_prepare(commands)
    _add_evaluate(commands)
    _add_train(commands)
    _add_predict(commands)
    return parser


def _add_prepare(commands) -> None:
    """Add the command prepare and its flags; those that shape the store are `creator.store.OPTIONS`."""
    command = commands.add_parser(
        "prepare",
        help="build a store from genome, annotation, cCREs and samples",
        description="Builds the store that CREaTor learns from and predicts from. Stopped, the same command goes on.",
        allow_abbrev=False,
    )
    for flag, text in {
        "--fasta": "genome; plain, gzip or bgzip",
        "--gtf": "annotation; GTF or GFF3, plain or gzip",
        "--ccres": "BED of the cCREs of all cells; names are its fourth column, where it has one",
        "--samples": "table with the columns cell, track, path (a bigWig, or peaks as BED or bedGraph; for the track "
        "TPM an expression table) and column (of that table; default: the cell's name), separated by tabs",
        "--out": "folder of the store, which is made",
    }.items():
        command.add_argument(flag, metavar="PATH", type=Path, required=True, help=text)
    command.add_argument(
        "--tracks", metavar="NAME,NAME", help="the store's own tracks, in this order (default: the 16 published ones)"
    )
    for option in OPTIONS:
        command.add_argument(
            option.flag,
            type=type(option.default),
            default=option.default,
            metavar="|".join(option.choices) or ("N" if isinstance(option.default, int) else "TEXT"),
            help=f"{option.help} [{option.default}]".replace("%", "%%"),
        )
    command.add_argument("--overwrite", action="store_true", help="replace a store of other options or inputs")


def _add_evaluate(commands) -> None:
    """Add the command evaluate and its flags."""
    command = commands.add_parser(
        "evaluate",
        help="score predicted expression or links",
        description="Scores predicted expression beside simpler predictions of the same genes, or cCRE-gene links "
        "beside simpler scores of pairs tested by CRISPR. Writes report.html into the folder.",
        allow_abbrev=False,
    )
    command.add_argument(
        "folder", nargs="?", metavar="DIR", type=Path, help="a folder that predict wrote -> eval.csv, report.html"
    )
    command.add_argument("--links", metavar="FILE", type=Path, help="tested pairs (TSV or CSV) -> links_eval.csv")
    command.add_argument("--out", metavar="DIR", type=Path, help="with --links: score the links of this folder, too")
    command.add_argument("--cell", help="with --out: whose links to take (default: of the cell a pair was tested in)")
    command.add_argument("--store", metavar="STORE", type=Path, help="with DIR: where its store is, if it was moved")
    command.add_argument("--to", metavar="FILE", type=Path, help="write the table to this file instead")


def _add_train(commands) -> None:
    """Add the command train and its flags; those of the recipe are `creator.settings.SETTINGS`."""
    command = commands.add_parser(
        "train",
        help="train a network on a store",
        description="Trains a network on a store. Stopped, the same command goes on.",
        allow_abbrev=False,
    )
    command.add_argument("store", metavar="STORE", type=Path, help="folder that prepare wrote")
    command.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the training, which is made")
    for flag, text in {
        "--hold-out-cells": "cells that are kept from training (default: none)",
        "--hold-out-chromosomes": "chromosomes that are kept from training (default: none)",
        "--validation-chromosomes": "chromosomes on which, in training cells, the epoch is chosen (default: the one "
        "that has about a tenth of the genes)",
    }.items():
        default = None if flag == "--validation-chromosomes" else []
        command.add_argument(flag, metavar="NAME,NAME", type=_split_names, default=default, help=text)
    for setting in SETTINGS:
        if isinstance(setting.default, bool):
            command.add_argument(setting.flag, action="store_true", help=setting.help)
            continue
        command.add_argument(
            setting.flag,
            type=type(setting.default),
            default=setting.default,
            metavar="N" if isinstance(setting.default, int) else "X",
            help=f"{setting.help} [{setting.default:g}]",
        )


def _add_predict(commands) -> None:
    """Add the command predict and its flags."""
    command = commands.add_parser(
        "predict",
        help="predict the genes of a store, and score links",
        description="Predicts every gene of a store in every cell, and scores its links to the cCREs in its reach.",
        allow_abbrev=False,
    )
    command.add_argument("store", metavar="STORE", type=Path, help="folder that prepare wrote")
    command.add_argument(
        *("-c", "--checkpoint"), metavar="MODEL", help="best_model.keras of train, or the published .pth (default)"
    )
    command.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder that is written, and made")
    command.add_argument("--cells", metavar="NAME,NAME", type=_split_names, default=[], help="cells (default: all)")
    command.add_argument("--no-links", action="store_true", help="write no links.tsv and links.bedpe")
    command.add_argument(
        "--ablation", action="store_true", help="score links by the drop without the cCRE, too; it takes longer"
    )
    command.add_argument(
        "--arcs", metavar="N", type=int, default=5, help="links of a gene and cell in links.bedpe; 0: all [5]"
    )
    command.add_argument(
        "--contacts", metavar="CHR:START-END", help="attention between the cCREs of this region, in bp -> contacts_CELL"
    )
    command.add_argument("--vectors", action="store_true", help="vector of each cCRE -> vectors_CELL.npz")


def _split_names(text: str) -> list[str]:
    """Return the names in a list that is joined by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    sys.exit(main())
