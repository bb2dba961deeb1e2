"""Constants of a script as its command line, and what may stand in them."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import one_line, write
from hypothesis import given, settings
from hypothesis import strategies as st

import lcre_classifier
from lcre import InputError
from lcre.settings import flag_of, parse_settings, read_constants, resolve_settings

CLASSIFIER = Path(lcre_classifier.__file__)

SCRIPT = '''"""Toy script.

NOT_THIS = 1  # a line of the docstring, after which the block begins
"""

import sys

__version__ = "9.8"
SILENT = 3

# ---------------------------------------------- inputs
FASTA: str | None = None  # genome, plain or gzip
PAIR_OF = "a"  # first of two lines,
#              not a continuation: it starts the line
#
SHARE: float = 5  # 100 % of
                  # what there is
# ---------------------------------------------- training
EPOCHS: int | None = None  # None: of the model
RATE = 1e-4  # try 3e-4
WINDOW = -1_000  # bp
LIMIT = 0.5  # share

DATA = Path("x")
LATER = 1  # behind other code: no flag
'''
VALUES = {
    "__doc__": "Toy script.",
    "FASTA": None,
    "PAIR_OF": "a",
    "SHARE": 5,
    "EPOCHS": None,
    "RATE": 1e-4,
    "WINDOW": -1000,
    "LIMIT": 0.5,
}
ACTIONS = {"--check": "look and stop", "--export": "write the windows FILE"}


@pytest.fixture
def script(tmp_path):
    text = SCRIPT.split('"""', 2)[2]  # what stands in the docstring of a real script is prose
    return write(tmp_path / "toy.py", '"""Toy script."""\n' + text)


@pytest.fixture
def parse(script):
    return lambda *argv: parse_settings(script, VALUES, "9.8", ACTIONS, list(argv))


def refusal(capsys, call) -> str:
    """Return the one line on stderr of a command line that is refused with status 2."""
    with pytest.raises(SystemExit) as stop:
        call()
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


# ------------------------------------------------------------------------------------- constants and flags
def test_constants_of_a_script(script):
    assert read_constants(script) == {
        "FASTA": ("inputs", "str", "genome, plain or gzip"),
        "PAIR_OF": ("inputs", "str", "first of two lines,"),
        "SHARE": ("inputs", "float", "100 % of what there is"),
        "EPOCHS": ("training", "int", "None: of the model"),
        "RATE": ("training", "float", "try 3e-4"),
        "WINDOW": ("training", "int", "bp"),
        "LIMIT": ("training", "float", "share"),
    }


def test_without_flags_the_constants_hold(parse):
    given, asked = parse()
    assert given == {name: value for name, value in VALUES.items() if name != "__doc__"}
    assert asked.check is False
    assert asked.export is None


def test_flags_have_the_types_of_the_constants(parse):
    given, asked = parse(
        *("--fasta", "g.fa", "--pair-of", "7", "--share=1", "--epochs", "5", "--rate", "3e-4"),
        *("--window", "-20", "--limit", "-.5", "--check", "--export", "a b.npz"),
    )
    assert given == {
        "FASTA": "g.fa",
        "PAIR_OF": "7",
        "SHARE": 1.0,
        "EPOCHS": 5,
        "RATE": 3e-4,
        "WINDOW": -20,
        "LIMIT": -0.5,
    }
    assert type(given["SHARE"]) is float
    assert asked.check is True
    assert asked.export == Path("a b.npz")


def test_help_tells_each_constant_and_its_value(parse, capsys):
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    for text in (
        "Toy script.",
        "inputs: --fasta TEXT genome, plain or gzip --pair-of",
        "--share X 100 % of what there is [5]",
        "--epochs N None: of the model --rate",
        "--rate X try 3e-4 [0.0001]",
        "--window N bp [-1000]",
        "--check look and stop",
        "--export FILE write the windows --version",
        "2 the input is wrong",
    ):
        assert text in shown
    assert "later" not in shown.lower()
    assert "silent" not in shown.lower()


def test_version(parse, capsys):
    with pytest.raises(SystemExit) as stop:
        parse("--version")
    assert stop.value.code == 0
    assert capsys.readouterr().out == "toy 9.8\n"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--epoch", "5"], "no flag --epoch; did you mean --epochs?"),
        (["--epoch=5"], "no flag --epoch; did you mean --epochs?"),
        (["--FASTA", "x"], "no flag --FASTA; did you mean --fasta?"),
        (["--qqqq", "x"], "no flag --qqqq; --help lists the flags"),
        (["--pair_of", "x"], "no flag --pair_of; did you mean --pair-of?"),
        (["stray"], "no flag stray; --help lists the flags"),
        (["--epochs", "five"], "argument --epochs: invalid int value: 'five'"),
        (["--epochs", "2.5"], "argument --epochs: invalid int value: '2.5'"),
        (["--rate", "fast"], "argument --rate: invalid float value: 'fast'"),
        (["--epochs"], "argument --epochs: expected one argument"),
        (["--later", "1"], "no flag --later"),
    ],
)
def test_wrong_flags(parse, capsys, argv, says):
    assert f"toy.py: {says}" in refusal(capsys, lambda: parse(*argv))


@settings(max_examples=50)
@given(st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back_as_they_were_given(tmp_path_factory, whole, real):
    path = write(tmp_path_factory.getbasetemp() / "numbers.py", "COUNT = 1  # n\nRATE = 1.0  # x\n")
    argv = [f"--count={whole}", f"--rate={real!r}"]
    assert parse_settings(path, {"COUNT": 1, "RATE": 1.0}, "1", {}, argv)[0] == {"COUNT": whole, "RATE": real}


# ------------------------------------------------------------------------------------------ the real script
def test_every_constant_of_the_trainer_is_a_documented_flag():
    constants = read_constants(CLASSIFIER)
    block = CLASSIFIER.read_text().split("# What each data set puts in place of None")[0]
    assert list(constants) == re.findall(r"^([A-Z][A-Z_]+)\b.*=", block, re.M)
    assert {"DATASET", "FASTA", "GTF", "TPM", "UPSTREAM", "EPOCHS", "SEED", "SAVED_MODELS"} <= set(constants)
    for name, (group, kind, text) in constants.items():
        value = getattr(lcre_classifier, name)
        assert group
        assert len(text) > 3, name
        assert value is None or type(value).__name__ == kind, name


def test_the_trainer_s_help_starts_nothing_heavy():
    code = "import sys, lcre_classifier as l\ntry: l.main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CLASSIFIER.parent)
    assert done.returncode == 0
    for name in read_constants(CLASSIFIER):
        assert flag_of(name) in done.stdout
    assert not {"tensorflow", "keras", "pyranges", "sklearn"} & set(done.stdout.splitlines()[-1].split())


def test_a_mistyped_flag_of_the_trainer(capsys):
    message = refusal(capsys, lambda: lcre_classifier.main(["--epoch", "5"]))
    assert message == "lcre_classifier.py: no flag --epoch; did you mean --epochs?\n"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--epochs", "0"], "EPOCHS: 0 is too small; give 1 or more"),
        (["--low-percentile", "80", "--high-percentile", "20"], "LOW_PERCENTILE 80, HIGH_PERCENTILE 20: need"),
        (["--upstream", "-5"], "UPSTREAM: -5 is too small"),
        (["--dataset", "tomatoe"], "DATASET: 'tomatoe' is none of demo, tomato"),
        (["--fasta", "x.fa", "--tpm", "t.csv"], "FASTA and TPM given without GTF"),
    ],
)
def test_wrong_values_end_with_status_2_and_one_line(tmp_path, monkeypatch, capsys, argv, says):
    """The demo's files need not be there: the values are looked at first."""
    monkeypatch.chdir(tmp_path)
    present = dict.fromkeys(("FASTA", "GTF", "TPM", "VALIDATION_GENES"), __file__)
    monkeypatch.setitem(lcre_classifier.DATASETS, "demo", lcre_classifier.DATASETS["demo"] | present)
    assert lcre_classifier.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"lcre_classifier.py: {says}")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------- what settings may be
GIVEN = {
    "DATASET": "toy",
    "ORGANISM": None,
    "FASTA": None,
    "GTF": None,
    "TPM": None,
    "VALIDATION_GENES": None,
    "PICKLE_KEY": None,
    "UPSTREAM": None,
    "DOWNSTREAM": None,
    "PADDING": 20,
    "LOW_PERCENTILE": 25.0,
    "HIGH_PERCENTILE": 75.0,
    "SELECT_ON": "validation",
    "MODEL": "small",
    "EPOCHS": None,
    "BATCH_SIZE": None,
    "LEARNING_RATE": None,
    "SEED": 1,
}
OWN = {"FASTA": "g.fa", "GTF": "Zea_mays.B73.gtf.gz", "TPM": "t.csv"}


@pytest.fixture
def resolve(tmp_path):
    """Give a function that resolves `GIVEN` with changes; the files of the data set `toy` are there."""
    files = {name: write(tmp_path / name.lower(), "x") for name in ("FASTA", "GTF", "TPM", "VALIDATION_GENES")}
    datasets = {
        "toy": {"ORGANISM": "toy", **files, "PICKLE_KEY": "k", "UPSTREAM": 40},
        "far": {"ORGANISM": "far", **files, "FASTA": tmp_path / "absent.fa"},
        "unlisted": {"ORGANISM": "unlisted", **files, "VALIDATION_GENES": tmp_path / "absent.pickle"},
    }

    def resolved(**changes) -> SimpleNamespace:
        return resolve_settings(
            GIVEN | changes, datasets, {"UPSTREAM": 1000, "DOWNSTREAM": 500}, ("small", "published")
        )

    resolved.files = files
    return resolved


def test_a_data_set_fills_what_is_left_at_none(resolve):
    found = resolve()
    assert (found.ORGANISM, found.PICKLE_KEY) == ("toy", "k")
    assert {name: getattr(found, name) for name in resolve.files} == resolve.files
    assert (found.UPSTREAM, found.DOWNSTREAM) == (40, 500)
    assert found.EPOCHS is None


def test_what_is_given_wins(resolve):
    found = resolve(ORGANISM="mine", UPSTREAM=0, TPM="own.csv", PICKLE_KEY="z")
    assert (found.ORGANISM, found.UPSTREAM, found.TPM, found.PICKLE_KEY) == ("mine", 0, "own.csv", "z")
    assert {"GTF": found.GTF, "FASTA": found.FASTA}.items() <= resolve.files.items()


def test_own_validation_genes_have_no_key_of_the_data_set(resolve):
    found = resolve(VALIDATION_GENES="genes.csv")
    assert (found.VALIDATION_GENES, found.PICKLE_KEY) == ("genes.csv", None)


def test_a_species_of_one_s_own_takes_nothing_from_the_data_set(resolve):
    found = resolve(**OWN)
    assert (found.ORGANISM, found.UPSTREAM, found.DOWNSTREAM) == ("zea_mays", 1000, 500)
    assert found.VALIDATION_GENES is None
    assert found.PICKLE_KEY is None
    assert resolve(**OWN, ORGANISM="Zm").ORGANISM == "Zm"
    assert resolve(**OWN | {"GTF": "x/my genes (2).gtf"}).ORGANISM == "my_genes_2_"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"DATASET": "tomato"}, "DATASET: 'tomato' is none of toy, far, unlisted"),
        ({"DATASET": "far"}, "absent.fa is not there; 'python data/fetch.py far' gets it"),
        ({"DATASET": "unlisted"}, "absent.pickle is not there; 'python data/fetch.py unlisted'"),
        ({"FASTA": "g.fa"}, "FASTA given without GTF and TPM"),
        ({"GTF": "a.gtf", "TPM": "t.csv"}, "GTF and TPM given without FASTA"),
        ({"LOW_PERCENTILE": 80.0, "HIGH_PERCENTILE": 20.0}, "LOW_PERCENTILE 80, HIGH_PERCENTILE 20: need"),
        ({"LOW_PERCENTILE": 75.0}, "need 0 < low < high < 100"),
        ({"LOW_PERCENTILE": 0.0}, "need 0 < low < high < 100"),
        ({"HIGH_PERCENTILE": 100.0}, "need 0 < low < high < 100"),
        ({"LOW_PERCENTILE": float("nan")}, "need 0 < low < high < 100"),
        ({"EPOCHS": 0}, "EPOCHS: 0 is too small; give 1 or more"),
        ({"EPOCHS": -3}, "EPOCHS"),
        ({"BATCH_SIZE": 0}, "BATCH_SIZE"),
        ({"SEED": -1}, "SEED"),
        ({"PADDING": -1}, "PADDING"),
        ({"UPSTREAM": -1}, "UPSTREAM"),
        ({"UPSTREAM": 0, "DOWNSTREAM": 7}, "less than 8 bp"),
        ({"LEARNING_RATE": 0.0}, "LEARNING_RATE"),
        ({"LEARNING_RATE": -1e-3}, "LEARNING_RATE"),
        ({"LEARNING_RATE": float("nan")}, "LEARNING_RATE"),
        ({"SELECT_ON": "train"}, "SELECT_ON: 'train' is none of validation, test"),
        ({"MODEL": "big"}, "MODEL: 'big' is none of small, published"),
        ({"ORGANISM": "a/b"}, "ORGANISM: 'a/b'"),
        ({"ORGANISM": ""}, "ORGANISM: ''"),
        ({"ORGANISM": "a\nb"}, "ORGANISM"),
    ],
)
def test_settings_that_cannot_be(resolve, changes, says):
    with pytest.raises(InputError) as error:
        resolve(**changes)
    assert says in one_line(error)


@settings(max_examples=50)
@given(st.floats(), st.floats())
def test_percentiles_are_in_order_or_refused(low, high):
    changes = GIVEN | OWN | {"LOW_PERCENTILE": low, "HIGH_PERCENTILE": high}
    fallbacks = {"UPSTREAM": 9, "DOWNSTREAM": 9}
    if 0 < low < high < 100:
        resolve_settings(changes, {"toy": {}}, fallbacks, ("small",))
    else:
        with pytest.raises(InputError):
            resolve_settings(changes, {"toy": {}}, fallbacks, ("small",))
