"""CREaTor: from the cCREs within reach of a gene, their sequence and chromatin, to its expression.

    python CREaTor.py -i INPUT                          one number: log1p of the expression
    python CREaTor.py -i INPUT -c model.keras           with a model of yours
    python CREaTor.py convert chk.pth model.keras       the published checkpoint as a Keras model

Source: Li et al. 2023, Genome Biology 24:266.
"""

import argparse
import sys
from pathlib import Path

from creator import InputError
from creator.checkpoint import load_model, load_published, read_input, save_model
from lcre.command import run_script
from lcre.device import import_tensorflow

CHECKPOINT = "checkpoints/chk.pth"  # where the published commands look for the authors' weights


def main(argv=None):
    """Runs the command line; returns the exit status: 0 done, 2 the input or the checkpoint is wrong."""
    return run_script("CREaTor.py", run, argv, "nothing was written")


def run(argv):
    """Does what the command line asks for."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None and arguments.input is None:
        parser.error("give an input: -i INPUT")
    if arguments.command == "convert":
        convert(arguments.published, arguments.model)
    else:
        for number in predict(arguments.input, arguments.checkpoint):
            print(number)


def predict(input_path, checkpoint_path):
    """Expression of the genes in an input file, on the log1p scale -> (G,) float32."""
    inputs = _named(input_path, read_input)
    if not Path(checkpoint_path).exists():
        raise InputError(
            f"no checkpoint {checkpoint_path}; put the authors' file at {CHECKPOINT} (README, 'The authors' "
            "checkpoint'), or give another with -c"
        )
    import_tensorflow()
    model = _named(checkpoint_path, load_model)

    from creator.network import predict_expression

    return predict_expression(model, *inputs)


def convert(published_path, model_path):
    """Writes a published `.pth` as a `.keras` model."""
    if Path(model_path).suffix != ".keras":
        raise InputError(f"{model_path}: a converted model is a .keras file; give a name that ends in .keras")
    import_tensorflow()
    model = _named(published_path, load_published)
    save_model(model, model_path)
    print(f"{model_path}: {model.count_params():,} numbers from {published_path}")


def _named(path, read):
    """Reads one file; what is wrong with it is told with its path in front."""
    try:
        return read(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except MemoryError:
        raise InputError(f"{path}: describes more numbers than this machine has memory for") from None


def _parser():
    parser = argparse.ArgumentParser(
        prog="CREaTor.py",
        description="Predicts a gene's expression from the cCREs within its reach.",
        epilog="Input and checkpoint are described in README.md, section CREaTor.",
    )
    parser.add_argument("-i", "--input", metavar="INPUT", help="pickle with E_ge, E_chp, E_pos, G_pos, G_gpos")
    parser.add_argument(
        "-c", "--checkpoint", default=CHECKPOINT, help="the published .pth, or a .keras model (default: %(default)s)"
    )
    commands = parser.add_subparsers(dest="command", metavar="convert")
    command = commands.add_parser("convert", help="write a published .pth as a .keras model")
    command.add_argument("published", metavar="chk.pth")
    command.add_argument("model", metavar="model.keras")
    return parser


if __name__ == "__main__":
    sys.exit(main())
