"""Folds of gene families and of species: what is held out never trains or chooses, and everything behind the folds."""

import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from builders import LONG, one_line, pack, read_numbers, write
from genomes import Gene, load, random_sequence, read_window, show_codes, write_files
from hypothesis import given
from hypothesis import strategies as st
from test_folds import HIGH, LOW, MIDDLE, NONE, make_data
from test_resume import small_model

import lcre_classifier as lcre
import lcre_explain
import lcre_predict
from core import InputError
from lcre import records
from lcre.families import count_sharing, group_by_families, read_families, spread_families
from lcre.report import build_page, read_run
from lcre.settings import read_species

SIZES = ["--upstream", "20", "--downstream", "10", "--padding", "0"]
LAYOUT = lcre.WindowLayout(20, 10, 0)


# ------------------------------------------------------------------------------------------ spreading families
@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from([LOW, HIGH, MIDDLE, NONE])), min_size=1, max_size=60),
    st.integers(2, 6),
)
def test_no_family_is_split(genes, folds):
    family, target = (np.array(column) for column in zip(*genes, strict=True))
    fold = spread_families(family, target, folds)
    assert all(len(set(fold[family == one])) == 1 for one in set(family))
    assert set(fold) <= set(range(folds))
    assert np.array_equal(fold, spread_families(family, target, folds))


def test_large_families_come_first_and_single_genes_make_folds_even():
    """Families of 6 and 4 high genes in two folds; 2 of the 8 single high genes level them, the others alternate."""
    family = np.array([0] * 6 + [1] * 4 + list(range(2, 20)))
    target = np.array([HIGH] * 18 + [LOW] * 6 + [MIDDLE] * 4)
    fold = spread_families(family, target, 2)
    assert len(set(fold[:6])) == len(set(fold[6:10])) == 1
    assert fold[0] != fold[6]
    for kind, each in ((HIGH, 9), (LOW, 3), (MIDDLE, 2)):
        assert np.bincount(fold[target == kind]).tolist() == [each, each]


def families_of(data: lcre.Dataset, names: list[str], folds: int = 3) -> lcre.Dataset:
    """Make folds of families of a data set of `test_folds`; `names` are the families of its genes, "" for no row."""
    table = pd.Series(names, index=data.genes["gene_id"])
    data.groups = group_by_families(data.genes, table[table != ""], folds, data.layout, data.notes, data.warnings)
    return data


def choose(**more) -> SimpleNamespace:
    names = {"HOLD_OUT": "family", "CHROMOSOMES": "all", "SELECT_ON": "validation", "SEED": 1, "MODEL": "cnn_lstm_kmer"}
    return SimpleNamespace(**names | more)


def test_validation_takes_whole_families_of_the_next_fold_and_the_rest_of_it_trains(monkeypatch):
    """Three folds of 20 families of a low, a high and a middle gene; 6 scored genes, 3 families, choose the epoch."""
    monkeypatch.setattr(lcre, "CHOOSE_ON", 6)
    rows = [("I", target, True) for _ in range(60) for target in (LOW, HIGH)] + [("I", MIDDLE, True)] * 60
    data = families_of(
        make_data(rows, ["I"]), [*(f"f{gene // 2}" for gene in range(120)), *(f"f{n}" for n in range(60))]
    )
    family, group = data.genes["family"].to_numpy(), data.genes["group"].to_numpy(str)
    folds = lcre.make_folds(data, choose())
    assert [fold.name for fold in folds] == ["family1", "family2", "family3"]
    assert [fold.chosen_on for fold in folds] == ["family2", "family3", "family1"]
    for fold in folds:
        assert fold.held_out.tolist() == np.flatnonzero(group == fold.name).tolist()
        assert len(fold.held_out) == 60
        assert len(fold.test) == 40
        chosen = set(family[fold.validation])
        assert len(fold.validation) == 6
        assert len(chosen) == 3
        assert set(group[fold.validation]) == {fold.chosen_on}
        rest = set(range(180)) - set(fold.held_out.tolist()) - set(np.flatnonzero(np.isin(family, list(chosen))))
        assert set(fold.training.tolist()) == rest  # low, high and middle: 60 families less the chosen and held out
        assert len(rest) == 180 - 60 - 9
    other = lcre.make_folds(data, choose(SEED=2))[0]
    assert not np.array_equal(other.validation, folds[0].validation)
    assert np.array_equal(other.test, folds[0].test)


def test_a_fold_of_families_is_named_by_chromosomes():
    rows = [("I", target, True) for target in (LOW, HIGH) * 12]
    data = families_of(make_data(rows, ["I"]), [f"f{gene}" for gene in range(24)])
    both = lcre.make_folds(data, choose(CHROMOSOMES="family3, family1+family2", SELECT_ON="test"))[0]
    assert (both.name, both.groups, both.chosen_on) == ("family3", ["family3"], None)
    with pytest.raises(InputError, match="HOLD_OUT family has no 'I'; there are 'family1', 'family2', 'family3'"):
        lcre.make_folds(data, choose(CHROMOSOMES="I"))
    with pytest.raises(InputError, match="names a fold twice"):
        lcre.make_folds(data, choose(CHROMOSOMES="family1,family1"))


def test_too_many_folds_for_the_families():
    rows = [("I", target, True) for target in (LOW, HIGH) * 3]
    data = families_of(make_data(rows, ["I"]), ["a"] * 4 + ["b"] * 2, folds=3)
    with pytest.raises(InputError, match=r"family3 has no low or no high genes .*\(0 low, 0 high\); take fewer FOLDS"):
        lcre.make_folds(data, choose(CHROMOSOMES="family3"))


def test_genes_of_organelles_are_predicted_and_not_scored():
    rows = [(name, target, True) for name in ("I", "Mt") for target in (LOW, HIGH) * 12]
    data = families_of(make_data(rows, ["I"]), ["f0", *[""] * 47])
    folds = lcre.make_folds(data, choose())
    organelle = set(range(24, 48))
    assert organelle <= set(np.concatenate([fold.held_out for fold in folds]).tolist())
    assert not organelle & {row for fold in folds for row in [*fold.test, *fold.training, *fold.validation]}
    assert "47 of 48 genes are not in FAMILIES: each is taken as a family of its own" in data.warnings


def test_bases_that_two_folds_share_are_counted_gene_by_gene():
    """As a comparison of every pair of genes finds them."""
    random = np.random.default_rng(3)
    start = random.integers(100, 3000, 60)
    genes = pd.DataFrame({"start": start, "end": start + random.integers(5, 80, 60)})
    genes["chromosome"] = random.choice(["1", "2"], 60)
    genes["group"], genes["status"] = random.choice(["a", "b"], 60), random.choice(["used", "used", "organelle"], 60)

    def bases(gene) -> set[int]:
        return {*range(gene.start - 20, gene.start + 10), *range(gene.end - 10, gene.end + 20)}

    expected = 0
    for gene in genes.itertuples():
        near = genes[(genes["chromosome"] == gene.chromosome) & (genes["group"] != gene.group)]
        others = near[near["status"] == "used"].itertuples()
        expected += any(bases(gene) & bases(other) for other in others)
    assert 10 < expected < 55
    assert count_sharing(genes, LAYOUT) == expected
    touching = pd.DataFrame({"start": [100, 150], "end": [110, 160], "chromosome": "1", "group": ["a", "b"]})
    assert count_sharing(touching.assign(status="used"), LAYOUT) == 0  # 80 to 130, 130 to 180
    assert count_sharing(touching.assign(status="used", start=[100, 149]), LAYOUT) == 2


# -------------------------------------------------------------------------------------------- tables of families
@pytest.mark.parametrize(
    "content", ["gene_id,family\na,1\nb,1\nc,2\n", "family\tmore\tgene_id\n1\tx\ta\n1\t\tb\n2\t\tc\n"]
)
def test_a_table_of_families(tmp_path, content):
    path = write(tmp_path / "families.csv.gz", pack(content.encode()))
    assert read_families(path).to_dict() == {"a": "1", "b": "1", "c": "2"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("gene_id\na\n", "FAMILIES: .* has no column 'family'"),
        ("gene_id,family\n", "has a header and no rows"),
        ("gene_id,family\na,1\n,2\n", "1 rows of .* lack a gene id or a family: 'row 2'"),
        ("gene_id,family\na,1\nb,1\na,2\n", "1 genes of .* stand in two families: 'a'"),
        ("gene_id,family\nx,1\n", "FAMILIES and GTF have no gene in common: FAMILIES has 'x', GTF has 'g0', 'g1'"),
    ],
)
def test_tables_of_families_that_are_refused(tmp_path, content, says):
    path = write(tmp_path / "families.csv", content)
    genes = make_data([("I", LOW, True), ("I", HIGH, True)], ["I"]).genes
    with pytest.raises(InputError, match=says):
        group_by_families(genes, read_families(path), 2, LAYOUT, [], [])


def test_a_table_of_families_has_no_more_rows_than_a_genome_has_genes(tmp_path, monkeypatch):
    path = write(tmp_path / "families.csv", "gene_id,family\na,1\nb,1\nc,2\n")
    monkeypatch.setattr("lcre.families.MOST_ROWS", 3)
    assert read_families(path).tolist() == ["1", "1", "2"]
    monkeypatch.setattr("lcre.families.MOST_ROWS", 2)
    with pytest.raises(InputError) as error:
        read_families(path)
    assert one_line(error) == f"FAMILIES: {path} has more than 2 rows; give the table that was meant"


def test_ids_of_families_are_bridged():
    data = make_data([("I", target, True) for target in (LOW, HIGH) * 2], ["I"])
    table = pd.Series("one", index=[f"gene:g{number}" for number in range(4)])
    group_by_families(data.genes, table, 2, LAYOUT, data.notes, data.warnings)
    assert data.genes["family"].nunique() == 1
    assert any("FAMILIES and GTF: 4 names differ by a 'gene:' prefix" in note for note in data.notes)


# ------------------------------------------------------------------------------------------------------- species
def make_species(folder: Path, name: str, seed: int, times: float = 1.0, genes: int = 40) -> dict[str, str]:
    """Write a species of two chromosomes I and II with genes g0, g1, ... and return its row of the table of species."""
    random = np.random.default_rng(seed)
    folder = folder / name
    folder.mkdir(parents=True)
    sequences = {chromosome: random_sequence(random, 200 + 95 * genes) for chromosome in ("I", "II")}
    annotated = [
        Gene(
            f"g{number}",
            "I" if number < genes else "II",
            at := 100 + 95 * (number % genes),
            at + 60 + seed,
            "+-"[number % 2],
        )
        for number in range(2 * genes)
    ]
    expression = {gene.gene_id: times * float(random.random()) for gene in annotated}
    write_files(folder, sequences, annotated, expression)
    return {"organism": name, "fasta": f"{name}/toy.fa", "gtf": f"{name}/toy.gtf", "tpm": f"{name}/toy_tpm.csv"}


def write_table(path: Path, rows: list[dict]) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> SimpleNamespace:
    """Two species with the same names of genes and chromosomes, and families of the first: genes n and n + 40."""
    folder = tmp_path_factory.mktemp("world")
    table = write_table(
        folder / "species.csv", [make_species(folder, "one", 1), make_species(folder, "two", 2, times=10)]
    )
    pairs = [f"g{number},f{number % 40}" for number in range(80)]
    families = write(folder / "families.csv", "\n".join(["gene_id,family", *pairs]) + "\n")
    files = {name: [str(folder / name / file) for file in ("toy.fa", "toy.gtf")] for name in ("one", "two")}
    own = ["--fasta", files["one"][0], "--gtf", files["one"][1], "--tpm", str(folder / "one/toy_tpm.csv")]
    flags = {
        "family": [*own, "--organism", "toy", "--hold-out", "family", "--families", str(families), "--folds", "3"],
        "species": ["--hold-out", "species", "--species", str(table)],
    }
    sizes = [*SIZES, "--model", "published", "--epochs", "2"]
    return SimpleNamespace(folder=folder, files=files, flags={way: [*some, *sizes] for way, some in flags.items()})


def test_species_with_the_same_names_stay_apart_and_are_labelled_by_themselves(world):
    data, settings = load(world.flags["species"])
    genes = data.with_windows
    assert settings.ORGANISM == "one_and_two"
    assert data.chromosomes == ["one:I", "one:II", "two:I", "two:II"]
    assert genes["gene_id"].tolist() == [f"{name}:g{number}" for name in ("one", "two") for number in range(80)]
    for name in (
        "one",
        "two",
    ):  # the second has ten times the expression: in a common table, all of its genes were high
        table = pd.read_csv(world.folder / name / "toy_tpm.csv", index_col="gene_id")["logMaxTPM"]
        low, high = np.percentile(table, [25, 75])
        mine = genes[genes["group"] == name]
        expected = [LOW if value <= low else HIGH if value >= high else MIDDLE for value in table]
        assert mine["target"].tolist() == expected
        assert expected.count(LOW) == expected.count(HIGH) == 20
        assert mine["rank"].tolist() == table.rank(pct=True).tolist()
        sequences = (world.folder / name / "toy.fa").read_text().split(">")[1:]
        sequences = {one.split("\n")[0]: "".join(one.split("\n")[1:]) for one in sequences}
        for row in mine.index[[0, 41]]:
            gene = SimpleNamespace(**genes.loc[row, ["start", "end", "strand"]])
            own = sequences[genes.loc[row, "chromosome"].partition(":")[2]]
            assert show_codes(data.windows[row]) == read_window(own, gene, 20, 10, 0, masked=3)


def test_a_species_is_held_out_whole_and_the_largest_chromosome_of_the_next_chooses(tmp_path):
    rows = [make_species(tmp_path, name, seed, genes=12) for seed, name in enumerate(("one", "two", "three"))]
    path = Path(tmp_path / "two/toy.gtf")
    path.write_text("".join(line for line in path.read_text().splitlines(True) if '"g3"' not in line))  # one less on I
    flags = ["--hold-out", "species", "--species", str(write_table(tmp_path / "s.csv", rows)), *SIZES]
    data, settings = load(flags)
    group, chromosome = (data.with_windows[name].to_numpy(str) for name in ("group", "chromosome"))
    settings.MODEL = "published"
    folds = {fold.name: fold for fold in lcre.make_folds(data, settings)}
    assert list(folds) == ["one", "two", "three"]
    able = data.with_windows["target"].isin([LOW, HIGH]).to_numpy()
    for name, behind in (("one", "two"), ("two", "three"), ("three", "one")):
        fold = folds[name]
        assert fold.held_out.tolist() == np.flatnonzero(group == name).tolist()
        assert set(chromosome[fold.test]) == {f"{name}:I", f"{name}:II"}
        sizes = {one: int((able & (chromosome == f"{behind}:{one}")).sum()) for one in ("I", "II")}
        assert fold.chosen_on == f"{behind}:{max(sizes, key=sizes.get)}"
        assert set(chromosome[fold.validation]) == {fold.chosen_on}
        assert not set(chromosome[fold.training]) & {fold.chosen_on, f"{name}:I", f"{name}:II"}
    one = lcre.make_folds(data, SimpleNamespace(**vars(settings) | {"CHROMOSOMES": "two+one"}))[0]
    assert (one.name, set(group[one.training])) == ("two+one", {"three"})
    with pytest.raises(InputError, match="HOLD_OUT species has no 'four'; there are 'one', 'two', 'three'"):
        lcre.make_folds(data, SimpleNamespace(**vars(settings) | {"CHROMOSOMES": "four"}))


def test_a_table_of_species_has_what_each_species_needs(world, tmp_path):
    (tmp_path / "lists").mkdir()
    write(tmp_path / "lists/genes.txt", "g1\n")
    shutil.copytree(world.folder / "one", tmp_path / "one")
    shutil.copytree(world.folder / "two", tmp_path / "two")
    rows = [{"organism": name, **{kind: f"{name}/toy{end}" for kind, end in ENDS.items()}} for name in ("one", "two")]
    rows[0] |= {"validation_genes": "lists/genes.txt", "pickle_key": "", "target_column": "leaf", "note": "ignored"}
    first, second = read_species(write_table(tmp_path / "species.tsv", rows))
    assert first["VALIDATION_GENES"] == tmp_path / "lists/genes.txt"
    assert (first["TARGET_COLUMN"], first["PICKLE_KEY"], first["FASTA"]) == ("leaf", None, tmp_path / "one/toy.fa")
    assert second["VALIDATION_GENES"] is None
    assert "TARGET_COLUMN" not in second


ENDS = {"fasta": ".fa", "gtf": ".gtf", "tpm": "_tpm.csv"}
TOO_LONG = "x" * 101


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[:1], "has one species; one is held out and another trains"),
        (lambda rows: [rows[0], rows[1] | {"organism": "One"}], "names 'One' twice; capitals make no difference"),
        (
            lambda rows: [rows[0], rows[1] | {"organism": "a b"}],
            "organism of row 2 of .*'a b' becomes part of file names",
        ),
        (lambda rows: [rows[0], rows[1] | {"organism": TOO_LONG}], "use at most 100 letters"),
        (lambda rows: [rows[0], rows[1] | {"organism": "pooled"}], "calls a species 'pooled', which means all of them"),
        (lambda rows: [rows[0], rows[1] | {"gtf": ""}], "row 2 of .* has no 'gtf'"),
        (
            lambda rows: [rows[0], rows[1] | {"tpm": "two/none.csv"}],
            "no file .*two/none.csv; paths in .*wrong.csv begin in the folder",
        ),
        (lambda rows: [{name: row[name] for name in ("organism", "gtf", "tpm")} for row in rows], "no column 'fasta'"),
    ],
)
def test_tables_of_species_that_are_refused(world, change, says):
    rows = [{"organism": name, **{kind: f"{name}/toy{end}" for kind, end in ENDS.items()}} for name in ("one", "two")]
    path = write_table(world.folder / "wrong.csv", change(rows))
    with pytest.raises(InputError, match=says) as error:
        load(["--hold-out", "species", "--species", str(path)])
    assert one_line(error).startswith("SPECIES: ")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (
            ["--hold-out", "family"],
            "HOLD_OUT family needs FAMILIES: a table gene_id,family, as lcre_homology.py writes",
        ),
        (["--hold-out", "species"], "HOLD_OUT species needs SPECIES: a table of species with the columns organism"),
        (
            ["--families", "f.csv"],
            "FAMILIES is given, but HOLD_OUT is chromosome; give HOLD_OUT family, or no FAMILIES",
        ),
        (["--hold-out", "species", "--species", "absent.csv"], "SPECIES: no file absent.csv"),
        (["--hold-out", "family", "--families", "absent.csv"], "FAMILIES: no file absent.csv"),
        (
            ["--hold-out", "species", "--species", "s.csv", "--gtf", "a.gtf"],
            "GTF given with HOLD_OUT species: what each",
        ),
        (["--hold-out", "families"], "HOLD_OUT: 'families' is none of chromosome, family, species"),
        (["--dataset", "demo", "--folds", "3"], "--folds is the number of folds of --hold-out family"),
        (["--dataset", "demo", "--control", "outside", "--shift", "9"], "--shift is how far --control shifted moves"),
        (["--hold-out", "family", "--folds", "101"], "FOLDS: 101 is too large; give at most 100"),
    ],
)
def test_wrong_settings_are_one_line(flags, says, tmp_path, capsys):
    assert lcre.main(["--dataset", "demo", "--saved-models", str(tmp_path / "models"), *flags, "--check"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"lcre_classifier.py: {says}")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_goes_without_species(world, capsys):
    assert lcre.main(["--dataset", "demo", *world.flags["species"], "--check"]) == 2
    assert "--dataset goes without --hold-out species: the table of --species names" in capsys.readouterr().err


def test_what_is_wrong_with_a_species_names_it(world, capsys):
    write(world.folder / "odd.csv", "gene_id,logMaxTPM\nelsewhere,1\n")
    rows = [{"organism": name, **{kind: f"{name}/toy{end}" for kind, end in ENDS.items()}} for name in ("one", "two")]
    path = write_table(world.folder / "odd_species.csv", [rows[0], rows[1] | {"tpm": "odd.csv"}])
    assert lcre.main(["--hold-out", "species", "--species", str(path), "--check"]) == 2
    assert "species two: GTF and TPM have no gene in common" in capsys.readouterr().err


def test_a_run_of_many_species_has_a_short_name():
    from lcre.settings import name_species_run

    assert name_species_run(["a", "b", "c"]) == "a_and_b_and_c"
    assert name_species_run(["x" * 40] * 3) == "3_species"


# ------------------------------------------------------------------------------------------------- whole runs
FOLDS = {"family": ["family1", "family2", "family3"], "species": ["one", "two"]}
PREFIX = {"family": "toy", "species": "one_and_two"}
WAYS = ["family", "species"]


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(lcre.MODELS, "published", small_model())


@pytest.fixture(scope="module")
def runs(world, tmp_path_factory) -> dict[str, Path]:
    """A run of each way that was never stopped: where its files are."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lcre.MODELS, "published", small_model())
        for way in WAYS:
            assert lcre.main([*world.flags[way], "--saved-models", str(folder / way)]) == 0
    return {way: folder / way for way in WAYS}


def rows(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("way", WAYS)
def test_every_gene_is_predicted_by_the_fold_that_held_it_out(runs, way):
    prefix = runs[way] / PREFIX[way]
    result = rows(Path(f"{prefix}_result.csv"))
    assert [row["chromosome"] for row in result] == [*FOLDS[way], "pooled"]
    predictions = {row["gene_id"]: row["probability"] for row in rows(Path(f"{prefix}_predictions.csv"))}
    seen = set()
    for fold in FOLDS[way]:
        held_out = {row["gene_id"]: row["probability"] for row in rows(Path(f"{prefix}_model_{fold}/predictions.csv"))}
        roles = {row["gene_id"]: row["role"] for row in rows(Path(f"{prefix}_model_{fold}/genes.csv"))}
        assert {roles[gene] for gene in held_out} <= {"test", "unused"}
        for gene, probability in held_out.items():
            assert float(predictions[gene]) == pytest.approx(float(probability), abs=1e-6)
        assert not seen & set(held_out)
        seen |= set(held_out)
        if way == "family":  # the partner of a gene is where the gene is
            assert {f"g{(int(gene[1:]) + 40) % 80}" for gene in held_out} == set(held_out)
        else:
            assert {gene.partition(":")[0] for gene in held_out} == {fold}
    assert seen == set(predictions)
    record = json.loads(Path(f"{prefix}_run.json").read_text())
    assert record["held_out"] == {fold: [fold] for fold in FOLDS[way]}
    files = {"FASTA", "GTF", "TPM"}
    if way == "family":
        assert set(record["inputs"]) == files | {"FAMILIES"}
    else:
        assert set(record["inputs"]) == {"SPECIES"} | {f"{name} {file}" for name in ("one", "two") for file in files}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_was_killed_goes_on(runs, world, way, tmp_path):
    """Stopped in the second epoch of its second fold, in another folder, with its inputs under other names."""
    shutil.copytree(runs[way], tmp_path / "models")
    folder = tmp_path / f"models/{PREFIX[way]}_model_{FOLDS[way][1]}"
    log = (folder / "performance_log.csv").read_text().splitlines(keepends=True)
    (folder / "performance_log.csv").write_text("".join(log[:2]))
    (folder / "predictions.csv").unlink()
    (folder / "epoch_models/model_epoch_1.keras").unlink()
    shutil.copytree(world.folder, tmp_path / "moved")
    moved = [flag.replace(str(world.folder), str(tmp_path / "moved")) for flag in world.flags[way]]
    assert lcre.main([*moved, "--saved-models", str(tmp_path / "models")]) == 0
    assert read_numbers(tmp_path / "models") == read_numbers(runs[way])


@LONG
@pytest.mark.parametrize("way", WAYS)
def test_starts_that_hold_out_different_folds_are_one_run(runs, world, way, tmp_path):
    for fold in reversed(FOLDS[way]):
        assert lcre.main([*world.flags[way], "--saved-models", str(tmp_path), "--chromosomes", fold]) == 0
    assert read_numbers(tmp_path) == read_numbers(runs[way])
    assert (tmp_path / f"{PREFIX[way]}_report.html").exists()


@pytest.mark.parametrize(
    ("way", "more", "says"),
    [
        ("family", ["--folds", "4"], "FOLDS is 4 and was 3"),
        ("family", ["--hold-out", "chromosome", "--select-on", "test"], "HOLD_OUT is chromosome and was family"),
        ("species", ["--seed", "2"], "SEED is 2 and was 1"),
    ],
)
def test_another_way_of_holding_out_is_another_run(runs, world, capsys, way, more, says):
    flags = [*world.flags[way], "--saved-models", str(runs[way]), *more]
    if "chromosome" in more:
        for name in ("--families", "--folds"):
            del flags[flags.index(name) : flags.index(name) + 2]
    assert lcre.main(flags) == 2
    assert says in capsys.readouterr().err


def test_other_families_are_another_run(runs, world, tmp_path, capsys):
    table = Path(world.flags["family"][world.flags["family"].index("--families") + 1]).read_text()
    other = write(tmp_path / "families.csv", table.replace("g7,f7", "g7,f8"))
    assert lcre.main([*world.flags["family"], "--saved-models", str(runs["family"]), "--families", str(other)]) == 2
    assert "FAMILIES is another file than families.csv was" in capsys.readouterr().err


def test_a_run_of_before_hold_out_goes_on(tmp_path):
    """Its record has no HOLD_OUT, FAMILIES, FOLDS and SPECIES: it holds out chromosomes."""
    added = {"HOLD_OUT": "chromosome", "FAMILIES": None, "FOLDS": None, "SPECIES": None}
    before = {"settings": {"SEED": 1}, "inputs": {}}
    records.refuse_other_run(tmp_path, before, {"settings": {"SEED": 1} | added, "inputs": {}})
    with pytest.raises(InputError, match="HOLD_OUT is species and was chromosome"):
        records.refuse_other_run(tmp_path, before, {"settings": added | {"HOLD_OUT": "species"}, "inputs": {}})


# ------------------------------------------------------------------------------------------------- afterwards
def predict(runs, way: str, out: Path, fasta: str, gtf: str, *more: str) -> list[dict]:
    argv = ["--models", str(runs[way] / PREFIX[way]), "--fasta", fasta, "--gtf", gtf, "--out", str(out), *more]
    assert lcre_predict.main(argv) == 0
    return rows(out)


@pytest.mark.parametrize("way", WAYS)
def test_own_genes_are_scored_by_the_fold_that_held_them_out(runs, world, way, tmp_path, capsys):
    front = "one:" if way == "species" else ""
    held_out = {
        row["gene_id"]: fold
        for fold in FOLDS[way]
        for row in rows(runs[way] / f"{PREFIX[way]}_model_{fold}/predictions.csv")
    }
    probability = {row["gene_id"]: row["probability"] for row in rows(runs[way] / f"{PREFIX[way]}_predictions.csv")}
    found = predict(runs, way, tmp_path / "out.csv", *world.files["one"])
    assert len(found) == 80
    for row in found:
        gene = front + row["gene_id"]
        assert [fold for fold in FOLDS[way] if row[f"fold_{fold}"]] == [held_out[gene]]
        assert float(row["probability"]) == pytest.approx(float(probability[gene]), abs=1e-6)
    said = {"family": "held its family out", "species": "held its species, one, out"}[way]
    assert f"the run's own genome: a gene is scored by the folds that {said}" in capsys.readouterr().out


@pytest.mark.parametrize("way", WAYS)
def test_another_genome_is_scored_by_all_folds(runs, world, way, tmp_path, capsys):
    found = predict(runs, way, tmp_path / "out.csv", world.files["one"][0], world.files["two"][1])
    assert all(row[f"fold_{fold}"] for row in found for fold in FOLDS[way])
    assert re.search(r"genes with ids of genes that some folds were trained on: \d+", capsys.readouterr().out)


def test_variants_of_a_species_are_scored_by_the_fold_that_held_it_out(runs, world, tmp_path):
    base = (world.folder / "two/toy.fa").read_text().split("\n")[2][30]  # base 91 of chromosome I: g0 begins at 101
    line = f"I\t91\t.\t{base}\t{'A' if base != 'A' else 'C'}\t.\t.\t.\n"
    vcf = write(tmp_path / "v.vcf", "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + line)
    (row,) = predict(runs, "species", tmp_path / "v.csv", *world.files["two"], "--vcf", str(vcf))
    whole = {row["gene_id"]: row["probability"] for row in rows(runs["species"] / "one_and_two_predictions.csv")}
    assert row["gene_id"] == "g0"
    assert float(row["reference_probability"]) == pytest.approx(float(whole["two:g0"]), abs=1e-6)
    assert row["sd"] == ""


@pytest.mark.parametrize("way", WAYS)
def test_genes_are_explained_by_the_fold_that_held_them_out(runs, world, way, tmp_path):
    prefix = runs[way] / PREFIX[way]
    names = ["--fasta", world.files["one"][0], "--gtf", world.files["one"][1]] if way == "species" else []
    argv = ["--models", str(prefix), "--out", str(tmp_path / "out"), "--genes", "g5,g44", "--references", "2"]
    assert lcre_explain.main([*argv, "--steps", "2", "--logos", "0", *names]) == 0
    probability = {row["gene_id"]: row["probability"] for row in rows(Path(f"{prefix}_predictions.csv"))}
    for row in rows(tmp_path / "out/genes.csv"):
        gene = ("one:" if way == "species" else "") + row["gene_id"]
        held_out = {one["gene_id"] for one in rows(Path(f"{prefix}_model_{row['fold']}/predictions.csv"))}
        assert gene in held_out
        assert 1 / (1 + np.exp(-float(row["logit"]))) == pytest.approx(float(probability[gene]), abs=1e-4)
        assert row["chromosome"] == ("I" if row["gene_id"] == "g5" else "II")


def test_explaining_a_run_of_species_needs_the_files_of_one(runs, world, capsys):
    argv = ["--models", str(runs["species"] / "one_and_two")]
    assert lcre_explain.main(argv) == 2
    assert "FASTA: a run of several species needs --fasta: one of 'one', 'two'" in capsys.readouterr().err
    assert lcre_explain.main([*argv, "--fasta", world.files["one"][0], "--gtf", world.files["two"][1]]) == 2
    assert "not, byte for byte, those of a species of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("way", "sentences"),
    [
        (
            "family",
            ["of gene families that it was not trained on", "3 folds of held-out families", "no family is split"],
        ),
        (
            "species",
            ["of a species that it was not trained on", "2 folds of held-out species", "holds out a whole species"],
        ),
    ],
)
def test_the_page_and_the_table_say_what_was_held_out(runs, world, capsys, way, sentences):
    text = re.sub(r"\s+", " ", (runs[way] / f"{PREFIX[way]}_report.html").read_text())
    assert "LEAK" not in text
    assert "chromosomes that it was not trained on" not in text
    for sentence in sentences:
        assert sentence in text
    assert lcre.main([*world.flags[way], "--saved-models", str(runs[way])]) == 0
    printed = capsys.readouterr().out
    on = {"family": "families, epoch chosen on other families", "species": "species, epoch chosen on a chromosome of"}
    assert f"Low against high genes of held-out {on[way]}" in printed


@pytest.mark.parametrize("way", WAYS)
def test_a_held_out_gene_in_training_is_shouted_about(runs, way, tmp_path):
    """Also where it is none that is scored: the role says so, and the fold's predictions say that it was held out."""
    shutil.copytree(runs[way], tmp_path / "models")
    prefix = tmp_path / "models" / PREFIX[way]
    roles = Path(f"{prefix}_model_{FOLDS[way][0]}/genes.csv")
    held_out = rows(roles.with_name("predictions.csv"))
    middle = next(row["gene_id"] for row in held_out if not row["kmer"])
    assert f"{middle},unused\n" in roles.read_text()
    roles.write_text(roles.read_text().replace(f"{middle},unused\n", f"{middle},train\n"))
    run = read_run(prefix)
    assert run.warnings[0] == f"LEAK: 1 genes of held-out {FOLDS[way][0]} took part in its training."
    assert "LEAK" in build_page(run)


@pytest.mark.parametrize("way", WAYS)
def test_check_prints_the_folds(world, way, capsys, tmp_path):
    assert lcre.main([*world.flags[way], "--saved-models", str(tmp_path / "models"), "--check"]) == 0
    printed = capsys.readouterr().out
    table = [line.split()[:2] for line in printed[printed.index("folds, in genes") :].splitlines()[2:]]
    chosen = {"family": ["family2", "family3", "family1"], "species": ["two:I", "one:I"]}[way]
    assert [name for name, _ in table] == FOLDS[way]
    assert [on.rstrip("I") for _, on in table] == [on.rstrip("I") for on in chosen]
    if way == "family":
        assert "80 genes with windows are of 40 families, 40 of them of several genes; the largest has 2" in printed
        assert re.search(r"warning: \d+ of 80 genes \(\d+%\) have windows that share bases", printed)
    assert not (tmp_path / "models").exists()


@LONG
def test_the_published_network_trains_each_way(world, tmp_path, monkeypatch):
    monkeypatch.undo()
    for way in WAYS:
        assert lcre.main([*world.flags[way], "--epochs", "1", "--saved-models", str(tmp_path)]) == 0
        assert rows(tmp_path / f"{PREFIX[way]}_result.csv")[-1]["chromosome"] == "pooled"
