"""Constants of a script as its command line, and what may stand in them."""

import enum
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from builders import one_line, write
from hypothesis import given, settings
from hypothesis import strategies as st

import lcre_classifier
from core import InputError
from core.cli import Rule, flag_of, parse_settings, read_constants
from lcre.settings import RULES, resolve_settings

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
TOY_RULES = {
    "FASTA": Rule(Path, optional=True),
    "PAIR_OF": Rule(str),
    "SHARE": Rule(float),
    "EPOCHS": Rule(int, optional=True),
    "RATE": Rule(float),
    "WINDOW": Rule(int),
    "LIMIT": Rule(float),
}
ACTIONS = {"--check": "look and stop", "--export": "write the windows FILE"}


@pytest.fixture
def script(tmp_path):
    text = SCRIPT.split('"""', 2)[2]  # what stands in the docstring of a real script is prose
    return write(tmp_path / "toy.py", '"""Toy script."""\n' + text)


@pytest.fixture
def parse(script):
    return lambda *argv: parse_settings(script, VALUES, TOY_RULES, "9.8", ACTIONS, list(argv))


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
        "SILENT": ("", ""),
        "FASTA": ("inputs", "genome, plain or gzip"),
        "PAIR_OF": ("inputs", "first of two lines,"),
        "SHARE": ("inputs", "100 % of what there is"),
        "EPOCHS": ("training", "None: of the model"),
        "RATE": ("training", "try 3e-4"),
        "WINDOW": ("training", "bp"),
        "LIMIT": ("training", "share"),
        "DATA": ("training", ""),
        "LATER": ("training", "behind other code: no flag"),
    }


def test_help_is_found_however_the_constant_is_written(tmp_path):
    text = """
# ---------------------------------------------- windows
# bp before the TSS
UPSTREAM = 2 * 500
DOWNSTREAM = (
    250  # bp after the TSS,
    + 250  # twice
)
A, B = 1, 2  # a pair
"""
    assert read_constants(write(tmp_path / "toy.py", text)) == {
        "UPSTREAM": ("windows", "bp before the TSS"),
        "DOWNSTREAM": ("windows", "bp after the TSS, twice"),
        "A": ("windows", "a pair"),
        "B": ("windows", "a pair"),
    }


def test_a_constant_that_was_deleted(script):
    values = {name: value for name, value in VALUES.items() if name != "RATE"}
    with pytest.raises(InputError) as error:
        parse_settings(script, values, TOY_RULES, "9.8", ACTIONS, [])
    assert one_line(error) == "RATE: toy.py has no such constant any more; write RATE = ... into it"
    found, _ = parse_settings(script, values, TOY_RULES, "9.8", ACTIONS, ["--rate", "1"])
    assert found["RATE"] == 1


def test_without_flags_the_constants_hold(parse):
    found, arguments = parse()
    assert found == {name: value for name, value in VALUES.items() if name != "__doc__"}
    assert arguments.check is False
    assert arguments.export is None


def test_flags_have_the_types_of_the_constants(parse):
    found, arguments = parse(
        *("--fasta", "g.fa", "--pair-of", "7", "--share=1", "--epochs", "5", "--rate", "3e-4"),
        *("--window", "-20", "--limit", "-.5", "--check", "--export", "a b.npz"),
    )
    assert found == {
        "FASTA": "g.fa",
        "PAIR_OF": "7",
        "SHARE": 1.0,
        "EPOCHS": 5,
        "RATE": 3e-4,
        "WINDOW": -20,
        "LIMIT": -0.5,
    }
    assert type(found["SHARE"]) is float
    assert arguments.check is True
    assert arguments.export == Path("a b.npz")


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
        (["stray"], "stray is one argument too many; see --help"),
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
def test_numbers_come_back_as_they_were_written(tmp_path_factory, whole, real):
    path = write(tmp_path_factory.getbasetemp() / "numbers.py", "COUNT = 1  # n\nRATE = 1.0  # x\n")
    argv, rules = [f"--count={whole}", f"--rate={real!r}"], {"COUNT": Rule(int), "RATE": Rule(float)}
    assert parse_settings(path, {"COUNT": 1, "RATE": 1.0}, rules, "1", {}, argv)[0] == {"COUNT": whole, "RATE": real}


def test_a_value_of_thousands_of_digits_is_shown_cut(parse, capsys):
    assert len(refusal(capsys, lambda: parse("--epochs", "9" * 5000))) < 200


# ------------------------------------------------------------------------------------------ the real script
TEXT = CLASSIFIER.read_text()
BLOCK = TEXT[TEXT.index("# -----") : TEXT.index("# What each data set puts in place of None")]


def test_every_constant_of_the_trainer_is_a_documented_flag():
    constants = {name: found for name, found in read_constants(CLASSIFIER).items() if name in RULES}
    assert list(constants) == re.findall(r"^([A-Z][A-Z_]+)\b.*=", BLOCK, re.M)
    assert list(constants) == list(RULES)
    for name, (group, text) in constants.items():
        assert group
        assert len(text) > 3, name
        annotation = lcre_classifier.__annotations__.get(name, type(getattr(lcre_classifier, name)))
        assert (type(None) in getattr(annotation, "__args__", ())) == RULES[name].optional, name
        kind = getattr(annotation, "__args__", (annotation,))[0]
        assert kind is (str if RULES[name].kind is Path else RULES[name].kind), name


NEW_VALUES = {  # what users write in place of the values that the script has
    "DATASET": ["'demo'", '"arabidopsis"', "('tomato')"],
    "ORGANISM": ["'mine'", "'so' + 'lanum'", "None", "f'run{1 + 1}'"],
    "FASTA": ["Path('genomes') / 'a.fa'", "'genome.fa.gz'", "str(Path('x.fa'))", "None"],
    "GTF": ["'genes.gtf'", "Path(__file__).parent / 'genes.gff3'"],
    "TPM": ["'table=1.csv'", "'a#b.csv'", "None"],
    "TARGET_COLUMN": ["'leaf'", "'le' 'af'", "'# no comment'"],
    "VALIDATION_GENES": ["'genes.txt'", "None"],
    "PICKLE_KEY": ["'sol'", "None"],
    "UPSTREAM": ["2000", "2 * 500", "1_500", "int(1.5e3)", "None", "True and 700"],
    "DOWNSTREAM": ["500", "0x1f4", "500 if True else 5", "max(10, 20)"],
    "PADDING": ["0", "20", "-(-20)"],
    "LOW_PERCENTILE": ["25", "20.5", "100 / 4"],
    "HIGH_PERCENTILE": ["75", "8e1", "100 - 25"],
    "HOLD_OUT": ["'family'", "'spec' 'ies'"],
    "FAMILIES": ["'families.csv'", "Path('a') / 'families.csv.gz'", "None"],
    "FOLDS": ["10", "2 + 3"],
    "SPECIES": ["'species.csv'", "None"],
    "CHROMOSOMES": ["'1,2'", "','.join(str(n) for n in range(1, 4))", "'IV+VII'"],
    "SELECT_ON": ["'test'", "'validation'"],
    "CONTROL": ["'outside'", "None", "'in' + 'side'"],
    "SHIFT": ["2000", "2 * 10**3"],
    "MODEL": ["'published'", "list(['published'])[0]"],
    "EPOCHS": ["50", "5 * 10", "None"],
    "BATCH_SIZE": ["128", "2**6", "None"],
    "LEARNING_RATE": ["1e-3", "10**-3", "1", "None"],
    "SEED": ["7", "sum([1, 2])"],
    "SAVED_MODELS": ["'out'", "Path('a') / 'b'", "'~/models'"],
    "JOBS": ["4", "2 * 2", "None"],
    "SCHEDULER": ["'tcp://host:8786'", "None"],
}
STYLES = (
    "{name} = {value}",
    "{name} = {value} # one blank",
    "{name}={value}# none",
    "{name}  =  {value}  # two   ",
    "{name}: object = {value}",
    "{name}: 'int | str | Path | None' = {value}  # annotated",
    "# a comment above\n{name} = {value}",
    "{name} = (\n    {value}\n)  # three lines",
    "{name} = (  # of the bracket\n    # a line of its own\n    {value}\n)",
    "{name} = \\\n    {value}",
    "{name} = {value}; SOMETHING_ELSE = 1  # two statements",
    "{name} = OTHER_NAME = {value}",
    "{name}, UNUSED = {value}, None",
    "if True:\n    {name} = {value}",
    "MY_VALUE = {value}\n{name} = MY_VALUE",
)


def import_script(path: Path):
    """Return an edited copy of the trainer as Python imports it."""
    spec = importlib.util.spec_from_file_location("edited_classifier", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def edit_block(random: np.random.Generator) -> str:
    """Return the trainer with some constants written otherwise, and perhaps the block in another order."""
    statements = {name: f"{name} = {getattr(lcre_classifier, name)!r}" for name in RULES}
    for name in random.choice(list(RULES), random.integers(1, 8), replace=False):
        style, value = random.choice(STYLES), random.choice(NEW_VALUES[name])
        statements[name] = style.format(name=name, value=value)
    order = random.permutation(list(RULES)) if random.random() < 0.5 else list(RULES)
    return TEXT.replace(BLOCK, "\n".join(statements[name] for name in order) + "\n\n")


@pytest.mark.parametrize("seed", range(30))
def test_a_legal_edit_means_what_python_says(tmp_path, seed):
    path = write(tmp_path / "lcre_classifier.py", edit_block(np.random.default_rng(seed)))
    module = import_script(path)
    values, space = parse_settings(path, vars(module), RULES, "1", module.ACTIONS, [])
    assert space.overrides == {}
    assert list(values) == list(RULES)
    for name, value in values.items():
        assert value is getattr(module, name)
        checked = RULES[name].check(name, value)
        expected = os.path.expanduser(value) if RULES[name].kind is Path and value else value
        assert checked == expected
        assert checked is None or type(checked) is (str if RULES[name].kind is Path else RULES[name].kind)


def test_a_member_of_an_enum_is_its_value():
    member = enum.Enum("Network", {"A": "published"}, type=str).A
    assert RULES["MODEL"].check("MODEL", member) == "published"


def run_edited(tmp_path: Path, old: str, new: str, *argv: str) -> subprocess.CompletedProcess:
    """Run a copy of the trainer in which a line was edited, beside its own modules and data."""
    assert TEXT.count(old) == 1
    write(tmp_path / "lcre_classifier.py", TEXT.replace(old, new))
    for name in ("core", "lcre", "data"):
        (tmp_path / name).symlink_to(CLASSIFIER.parent / name)
    command = [sys.executable, tmp_path / "lcre_classifier.py", *argv]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100)


def line_of(name: str) -> str:
    """Return the line of the trainer that assigns a constant."""
    return next(line for line in BLOCK.split("\n") if re.match(rf"{name}\b", line))


def test_an_edited_script_runs(tmp_path):
    new = "UPSTREAM: int | None = 30 # bp\nPADDING = 4\nMY_OWN = 'x'"
    done = run_edited(tmp_path, line_of("UPSTREAM"), new, "--padding", "6", "--check")
    assert done.returncode == 0, done.stderr
    assert "PADDING = 6  (in the script: 20)" in done.stdout  # the last assignment counts
    assert "windows of 266 columns" in done.stdout  # twice 30 + 100 of the demo, and 6


WRONG = {
    "EPOCHS": ["[5]", "'50'", "5.5", "True", "0", "10**30", "10**5000", "{}"],
    "UPSTREAM": ["'many'", "1e3", "-1", "2**62", "[1000]"],
    "DOWNSTREAM": ["2**63 - 1"],
    "PADDING": ["None", "10**9", "10**30"],
    "LOW_PERCENTILE": ["None", "'25'", "float('nan')"],
    "SEED": ["None", "-1", "'1'"],
    "MODEL": ["None", "'big'", "1"],
    "CHROMOSOMES": ["4", "['1', '2']", "None"],
    "HOLD_OUT": ["None", "'chromosomes'", "'family'", "'species'", "1"],
    "FOLDS": ["None", "1", "101", "2.0", "'5'"],
    "FAMILIES": ["5", "''", "'families.csv'"],
    "SPECIES": ["5", "''", "'species.csv'"],
    "FASTA": ["5", "b'x.fa'", "''"],
    "ORGANISM": ["1", "'.'", "'..'", "'-x'", "'a' * 101", "'a\\nb'"],
    "SAVED_MODELS": ["None", "''", "'a\\0b'", "'a\\ud800b'"],
    "LEARNING_RATE": ["'fast'", "1j"],
    "DATASET": ["['tomato']", "'potato'"],
    "JOBS": ["0", "-1", "1001", "2.0", "'2'"],
    "SCHEDULER": ["1", "''", "'host:8786'", "'tcp://host'", "'tcp://a b:1'"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_one_line_that_names_the_constant(name, value):
    changed = vars(lcre_classifier) | {name: eval(value)}
    values, _ = parse_settings(CLASSIFIER, changed, RULES, "1", lcre_classifier.ACTIONS, [])
    with pytest.raises(InputError) as error:
        lcre_classifier.choose_settings(values)
    assert one_line(error).startswith(name)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("EPOCHS", "fifty", "(NameError: name 'fifty' is not defined)"),
        ("EPOCHS", "(\n    1 / 0\n)", "(ZeroDivisionError: division by zero)"),
        ("UPSTREAM", "'2000' + 1", "TypeError"),
        ("SEED", "1\nSEED += '4'", "TypeError"),
        ("SEED", "1\nif True:\n    SEED = int('four')", "ValueError"),
        ("SEED", "1\nfor SEED in 5:\n    pass", "TypeError"),
        ("SEED", "1\nprint(SEED := int('x'))", "ValueError"),
        ("SEED", "1\ndel SEED, SEED", "NameError"),
        ("line ", "1\nimport no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("line ", "1\nassert SEED == 2, 'two'", "AssertionError: two"),
        ("EPOCHS", "[5]", "[5] (list) is not allowed; give a whole number or None"),
    ],
)
def test_a_constant_that_python_cannot_evaluate(tmp_path, name, value, says):
    constant = "SEED" if name == "line " else name
    done = run_edited(tmp_path, line_of(constant), f"{constant} = {value}", "--check")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"lcre_classifier.py: {name}")
    assert says in done.stderr


def test_the_trainer_s_help_starts_nothing_heavy():
    code = "import sys, lcre_classifier as l\ntry: l.main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CLASSIFIER.parent)
    assert done.returncode == 0
    for name in RULES:
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
SETTINGS = {
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
    "HOLD_OUT": "chromosome",
    "FAMILIES": None,
    "FOLDS": 5,
    "SPECIES": None,
    "SELECT_ON": "validation",
    "CONTROL": None,
    "SHIFT": 5000,
    "MODEL": "small",
    "EPOCHS": None,
    "BATCH_SIZE": None,
    "LEARNING_RATE": None,
    "SEED": 1,
    "JOBS": None,
    "SCHEDULER": None,
}
OWN = {"FASTA": "g.fa", "GTF": "Zea_mays.B73.gtf.gz", "TPM": "t.csv"}


@pytest.fixture
def resolve(tmp_path):
    """Give a function that resolves `SETTINGS` with changes; the files of the data set `toy` are there."""
    files = {name: write(tmp_path / name.lower(), "x") for name in ("FASTA", "GTF", "TPM", "VALIDATION_GENES")}
    datasets = {
        "toy": {"ORGANISM": "toy", **files, "PICKLE_KEY": "k", "UPSTREAM": 40},
        "far": {"ORGANISM": "far", **files, "FASTA": tmp_path / "absent.fa"},
        "unlisted": {"ORGANISM": "unlisted", **files, "VALIDATION_GENES": tmp_path / "absent.pickle"},
    }

    def resolved(**changes) -> SimpleNamespace:
        return resolve_settings(
            SETTINGS | changes, datasets, {"UPSTREAM": 1000, "DOWNSTREAM": 500}, ("small", "published")
        )

    resolved.files = files
    return resolved


def test_a_data_set_fills_what_is_left_at_none(resolve):
    found = resolve()
    assert (found.ORGANISM, found.PICKLE_KEY) == ("toy", "k")
    assert {name: getattr(found, name) for name in resolve.files} == resolve.files
    assert (found.UPSTREAM, found.DOWNSTREAM) == (40, 500)
    assert found.EPOCHS is None


def test_a_model_is_known_by_its_former_name():
    models = ("published", "cnn_lstm_kmer")
    files = {"FASTA": "g.fa", "GTF": "g.gtf", "TPM": "t.csv"}
    for name, meant in (("motifs_and_words", "cnn_lstm_kmer"), ("cnn_lstm_kmer", "cnn_lstm_kmer")):
        found = resolve_settings(
            SETTINGS | files | {"MODEL": name}, {"toy": {}}, {"UPSTREAM": 9, "DOWNSTREAM": 9}, models
        )
        assert meant == found.MODEL


def test_the_list_of_genes_is_optional(resolve):
    found = resolve(DATASET="unlisted")
    assert found.VALIDATION_GENES is None
    assert resolve.files["FASTA"] == found.FASTA


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
        (
            {"CONTROL": "in"},
            "CONTROL: 'in' is none of shuffled, dinucleotides, permuted, promoter, terminator, outside",
        ),
        ({"SHIFT": 0}, "SHIFT: 0 is too small"),
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
    changes = SETTINGS | OWN | {"LOW_PERCENTILE": low, "HIGH_PERCENTILE": high}
    fallbacks = {"UPSTREAM": 9, "DOWNSTREAM": 9}
    if 0 < low < high < 100:
        resolve_settings(changes, {"toy": {}}, fallbacks, ("small",))
    else:
        with pytest.raises(InputError):
            resolve_settings(changes, {"toy": {}}, fallbacks, ("small",))
