"""Scores of genes, windows and variants, with networks whose outputs are known by hand."""

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from builders import PNG, cut_gzip, pack, write
from genomes import Gene, random_sequence, read_window, write_fasta, write_gtf
from runs import COLUMNS, DAMAGE, DOWNSTREAM, PADDING, UPSTREAM, ToyRun, of_older_version, save_adder, write_run
from test_variants import HEADER, move_gene, write_in

import lcre_classifier
import lcre_predict
from core import InputError
from core.files import hash_file
from core.genome import open_genome
from lcre import records, trained, variant_batches, variant_effects, variant_scoring, variants
from lcre.annotated_vcf import FIELDS

ROOT = Path(__file__).resolve().parents[1]
FOLDS = ["1", "2+3"]
GENES = [
    *(
        Gene("g1", "1", 100, 300),
        Gene("g2", "1", 420, 700, "-"),
        Gene("g3", "1", 900, 920),
        Gene("g4", "1", 930, 935, "-"),
    ),
    *(Gene("h1", "2", 150, 390), Gene("h2", "3", 200, 500, "-"), Gene("s1", "scaffold_9", 80, 300)),
    *(Gene("rna", "1", 500, 600, "+", "lncRNA"), Gene("edge", "1", 20, 90)),
]
FIT = GENES[:7]


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> SimpleNamespace:
    """A genome, a run on it, and what every test needs to know of them."""
    folder = tmp_path_factory.mktemp("toy")
    random = np.random.default_rng(11)
    lengths = {"1": 1100, "2": 600, "3": 700, "scaffold_9": 400}
    chromosomes = {name: random_sequence(random, length) for name, length in lengths.items()}
    fasta, gtf = write_fasta(folder / "toy.fa", chromosomes), write_gtf(folder / "toy.gtf", GENES)
    run = write_run(folder / "models/toy", FOLDS, FIT, {"FASTA": fasta, "GTF": gtf})
    return SimpleNamespace(folder=folder, chromosomes=chromosomes, fasta=fasta, gtf=gtf, run=run)


def rows(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def predict(toy, out: Path, *more, models: Path | None = None, genome: bool = True) -> list[dict]:
    """Run the script in this process and return the rows it wrote."""
    files = ["--fasta", toy.fasta, "--gtf", toy.gtf] if genome else []
    argv = ["--models", models or toy.run.prefix, "--out", out, *files, *more]
    assert lcre_predict.main([str(part) for part in argv]) == 0
    return rows(out)


def predictions(toy, gene: Gene, chromosomes: dict[str, str] | None = None) -> list[float]:
    return [toy.run.of_gene(fold, (chromosomes or toy.chromosomes)[gene.chromosome], gene) for fold in FOLDS]


# ------------------------------------------------------------------------------------------------- genes
def test_own_genes_are_scored_by_the_fold_that_held_them_out(toy, tmp_path, capsys):
    found = predict(toy, tmp_path / "genes.csv")
    assert list(found[0]) == ["gene_id", "chromosome", "probability", "sd", "fold_1", "fold_2+3"]
    assert [row["gene_id"] for row in found] == [gene.gene_id for gene in FIT]
    for row, gene in zip(found, FIT, strict=True):
        by_hand = predictions(toy, gene)
        assert row["chromosome"] == gene.chromosome
        if gene.gene_id == "s1":  # no fold held its chromosome out
            assert float(row["probability"]) == pytest.approx(np.mean(by_hand), abs=1e-6)
            assert float(row["sd"]) == pytest.approx(np.std(by_hand, ddof=1), abs=1e-6)
            continue
        own, other = (0, 1) if gene.chromosome == "1" else (1, 0)
        assert row["sd"] == row[f"fold_{FOLDS[other]}"] == ""
        assert float(row[f"fold_{FOLDS[own]}"]) == pytest.approx(by_hand[own], abs=1e-6)
        assert row["probability"] == row[f"fold_{FOLDS[own]}"]
    printed = capsys.readouterr().out
    assert (
        "genes on chromosomes that no fold held out (1) are scored by all folds; those that trained a fold (1) get"
        in printed
    )
    assert "coding genes left out: 1 of 8, without windows of 60 + 40 bp" in printed


def test_all_folds_and_other_genomes_are_averaged(toy, tmp_path, capsys):
    averaged = predict(toy, tmp_path / "all.csv", "--all-folds")
    for row, gene in zip(averaged, FIT, strict=True):
        by_hand = predictions(toy, gene)
        assert [float(row[f"fold_{fold}"]) for fold in FOLDS] == pytest.approx(by_hand, abs=1e-6)
        assert float(row["probability"]) == pytest.approx(np.mean(by_hand), abs=1e-6)
        assert float(row["sd"]) == pytest.approx(np.std(by_hand, ddof=1), abs=1e-6)
    packed = write(tmp_path / "toy.fa.gz", pack(toy.fasta.read_bytes()))  # not the run's file: another genome
    other = predict(SimpleNamespace(**vars(toy) | {"fasta": packed}), tmp_path / "other.csv")
    assert other == averaged
    assert "genes with ids of genes that some folds were trained on: 7" in capsys.readouterr().out


def test_order_of_batches_does_not_matter(toy, tmp_path, monkeypatch):
    whole = predict(toy, tmp_path / "a.csv")
    monkeypatch.setattr(lcre_predict, "BATCH", 2)
    for one, other in zip(whole, predict(toy, tmp_path / "b.csv"), strict=True):
        assert one["gene_id"] == other["gene_id"]
        assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=1e-6)


# ----------------------------------------------------------------------------------------- ready windows
def test_ready_windows(toy, tmp_path, capsys):
    windows = {
        gene.gene_id: read_window(toy.chromosomes[gene.chromosome], gene, UPSTREAM, DOWNSTREAM, PADDING).replace(
            ".", "N"
        )
        for gene in FIT
    }
    fasta = write_fasta(tmp_path / "w.fa", {name: window.lower() for name, window in windows.items()})
    found = predict(toy, tmp_path / "w.csv", "--windows", fasta, genome=False)
    assert "scored by all folds" in capsys.readouterr().out
    for row, gene in zip(found, FIT, strict=True):  # start and stop codon are masked as in training
        assert (row["gene_id"], row["chromosome"]) == (gene.gene_id, "")
        assert [float(row[f"fold_{fold}"]) for fold in FOLDS] == pytest.approx(predictions(toy, gene), abs=1e-6)
    short = write_fasta(tmp_path / "short.fa", windows | {"g1": "ACGT"})
    assert f"1 of 7 sequences of {short} do not have {COLUMNS} bases ('g1' has 4)" in refuse(
        toy, capsys, "--windows", short, genome=False
    )


# ---------------------------------------------------------------------------------------------- variants
def vcf_of(path: Path, lines: list[tuple]) -> Path:
    """Write a VCF of (chromosome, 0-based position, REF, ALT)."""
    text = "".join(f"{name}\t{position + 1}\t.\t{ref}\t{alt}\t.\t.\t.\n" for name, position, ref, alt in lines)
    return write(path, HEADER + text)


def make_variants(toy) -> list[tuple]:
    """SNPs, insertions and deletions of 1 to 50 bases around both ends of genes on both strands."""
    random = np.random.default_rng(2)
    made = []
    for gene in (GENES[0], GENES[1], GENES[2], GENES[4], GENES[5]):
        sequence = toy.chromosomes[gene.chromosome]
        for anchor in (gene.start, gene.end):
            for size in (1, 2, 7, 20, 50):
                for offset in random.integers(-UPSTREAM - 5, UPSTREAM, 2).tolist():
                    at = anchor + offset
                    base, inserted = sequence[at], random_sequence(random, size)
                    made.append((gene.chromosome, at, base, "ACGT"[("ACGT".index(base) + 1) % 4]))
                    made.append((gene.chromosome, at, base, base + inserted))
                    if at + size < len(sequence):
                        made.append((gene.chromosome, at, sequence[at : at + size + 1], base))
    return made


def test_effects_equal_those_of_the_edited_genome(toy, tmp_path):
    """Each variant is written into FASTA and annotation, which are read, cut and scored as any genome."""
    made = make_variants(toy)
    found = predict(toy, tmp_path / "v.csv", "--vcf", vcf_of(tmp_path / "v.vcf", made), "--all-folds")
    assert list(found[0]) == [
        *("gene_id", "variant", "region", "reference_probability", "alternative_probability"),
        *("effect", "sd", "percentile"),
    ]
    by_variant: dict[str, dict[str, dict]] = {}
    for row in found:
        by_variant.setdefault(row["variant"], {})[row["gene_id"]] = row
    run = trained.load_run(toy.run.prefix, lcre_classifier.WindowLayout.of)
    scorer = lcre_predict.Scorer(run)
    compared = 0
    for name, position, ref, alt in dict.fromkeys(made):
        edited, places = write_in(toy.chromosomes[name], position, ref, alt)
        moved = [move_gene(gene, places) if gene.chromosome == name else gene for gene in FIT]
        present = {gene.gene_id: gene for gene in moved if gene}
        for gene in present.values():
            gene.chromosome = gene.chromosome if gene.chromosome != "c" else name
        write_fasta(tmp_path / "edited.fa", toy.chromosomes | {name: edited})
        write_gtf(tmp_path / "edited.gtf", list(present.values()))
        with open_genome(tmp_path / "edited.fa") as genome:
            genes, codes, _, _ = lcre_predict.read_genes(genome, tmp_path / "edited.gtf", run)
        alternative = scorer.score(codes, np.ones((len(codes), 2), bool))
        effects = by_variant.get(f"{name}:{position + 1}:{ref}:{alt}", {})
        for gene_id, log_odds in zip(genes["gene_id"], alternative, strict=True):
            gene = next(gene for gene in FIT if gene.gene_id == gene_id)
            reference = np.array(predictions(toy, gene))
            effect = log_odds - np.log(reference / (1 - reference))
            probability = 1 / (1 + np.exp(-log_odds))
            if gene_id not in effects:
                assert np.abs(effect).max() < 1e-5
                continue
            row = {key: float(cell) for key, cell in list(effects[gene_id].items())[3:]}
            assert row["reference_probability"] == pytest.approx(reference.mean(), abs=1e-5)
            assert row["alternative_probability"] == pytest.approx(probability.mean(), abs=1e-5)
            assert row["effect"] == pytest.approx(effect.mean(), abs=1e-5)
            assert row["sd"] == pytest.approx(effect.std(ddof=1), abs=1e-5)
            compared += 1
    assert compared > 250
    assert {row["region"] for row in found} == {"promoter", "terminator", "both"}


def test_names_that_a_spreadsheet_would_compute_stay_text(tmp_path):
    """An apostrophe stands before them, and before no number."""
    odd, chromosome = ["=cmd()|calc", "@SUM(1+1)", "+1", "-1"], "=HYPERLINK(http://x)"
    genes = [Gene(name, chromosome, 100 + 150 * place, 200 + 150 * place) for place, name in enumerate(odd)]
    sequence = random_sequence(np.random.default_rng(3), 1000)
    fasta, gtf = write_fasta(tmp_path / "odd.fa", {chromosome: sequence}), write_gtf(tmp_path / "odd.gtf", genes)
    run = write_run(tmp_path / "models/odd", [chromosome], genes, {"FASTA": fasta, "GTF": gtf})
    toy = SimpleNamespace(fasta=fasta, gtf=gtf, run=run)
    found = predict(toy, tmp_path / "genes.csv")
    shown = ["'=cmd()|calc", "'@SUM(1+1)", "+1", "-1"]
    assert [(row["gene_id"], row["chromosome"]) for row in found] == [(name, f"'{chromosome}") for name in shown]
    assert list(found[0])[-1] == f"fold_{chromosome}"
    at = genes[0].start - 10
    vcf = vcf_of(tmp_path / "v.vcf", [(chromosome, at, sequence[at], "ACGT"["ACGT".index(sequence[at]) - 1])])
    effects = predict(toy, tmp_path / "v.csv", "--vcf", vcf)
    assert effects[0]["gene_id"] == shown[0]
    assert effects[0]["variant"].startswith(f"'{chromosome}:{at + 1}:")


def test_rows_are_in_the_order_of_the_file_sorted_or_not(toy, tmp_path, monkeypatch):
    made = list(dict.fromkeys(make_variants(toy)))
    np.random.default_rng(4).shuffle(made)
    vcf = vcf_of(tmp_path / "v.vcf", made)
    whole = predict(toy, tmp_path / "a.csv", "--vcf", vcf)
    names = [f"{name}:{int(position) + 1}:{ref}:{alt}" for name, position, ref, alt in made]
    places = [names.index(row["variant"]) for row in whole]
    assert places == sorted(places)
    assert all(row["sd"] == "" for row in whole if row["gene_id"] != "s1")  # one fold each: those that held them out
    monkeypatch.setattr(lcre_predict, "BATCH", 7)
    for one, other in zip(whole, predict(toy, tmp_path / "b.csv", "--vcf", vcf), strict=True):
        assert list(one.values())[:3] == list(other.values())[:3]
        assert float(one["effect"]) == pytest.approx(float(other["effect"]), abs=1e-5)


def test_each_gene_is_scored_once_a_batch_without_variant(toy, tmp_path, monkeypatch):
    windows_scored = []

    def make_counter(model):
        predict = trained.make_predictor(model)
        return lambda codes: windows_scored.append(len(codes)) or predict(codes)

    monkeypatch.setattr(variant_scoring, "make_predictor", make_counter)
    monkeypatch.setattr(lcre_predict, "BATCH", 10)
    monkeypatch.setattr(variant_effects, "SUBSTITUTIONS", 0)
    sequence = toy.chromosomes["1"]
    snps = [("1", at, sequence[at], "A" if sequence[at] != "A" else "C") for at in range(50, 80)]
    assert len(predict(toy, tmp_path / "v.csv", "--vcf", vcf_of(tmp_path / "v.vcf", snps))) == 30
    assert sum(windows_scored) == 3 * (1 + 10)
    masked = [("1", at, sequence[at], "A" if sequence[at] != "A" else "C") for at in range(100, 103)]
    windows_scored.clear()
    found = predict(toy, tmp_path / "v.csv", "--vcf", vcf_of(tmp_path / "v.vcf", masked))
    assert [float(row["effect"]) for row in found] == [0, 0, 0]  # of the start codon the network sees nothing
    assert sum(windows_scored) == 1


def test_two_jobs_write_the_bytes_of_one(toy, tmp_path, monkeypatch, capsys):
    """Batches of 20 pairs, here and by two processes; what cannot be scored is listed in the order of the VCF too."""
    monkeypatch.setattr(lcre_predict, "BATCH", 20)
    monkeypatch.setattr(variant_effects, "SUBSTITUTIONS", 100)
    made = [*make_variants(toy), ("1", 60, "A", "<DEL>"), ("4", 9, "A", "C")]
    vcf, content = vcf_of(tmp_path / "v.vcf", made), {}
    for jobs in ("1", "2"):
        folder = tmp_path / jobs
        folder.mkdir()
        predict(toy, folder / "variants.csv", "--vcf", vcf, "--jobs", jobs)
        assert ("batches side by side: 2 at once" in capsys.readouterr().out) == (jobs == "2")
        predict(toy, folder / "genes.csv", "--jobs", jobs)
        content[jobs] = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert content["1"] == content["2"]
    assert sorted(content["1"]) == ["genes.csv", "variants.csv", "variants.rejected.csv"]
    assert content["1"]["variants.csv"].count(b"\n") > 5 * 20


def test_a_scheduler_that_does_not_answer_is_one_line(toy, tmp_path, capsys):
    assert "is no address of a Dask scheduler" in refuse(toy, capsys, "--scheduler", "host:8786")
    assert "--jobs: 0" in refuse(toy, capsys, "--jobs", "0")


def test_what_is_not_scored_is_counted_and_listed(toy, tmp_path, capsys):
    sequence = toy.chromosomes["1"]
    base, wrong = sequence[60], "A" if sequence[60] != "A" else "C"
    lines = [
        ("chr1", 60, base, f"{wrong},*,<DEL>,{base}TT"),
        ("chr1", 60, wrong, base),
        ("chr1", 200, sequence[200], "A" if sequence[200] != "A" else "C"),  # in the middle of g1
        ("chr1", 2000, "A", "C"),
        ("chrUn", 5, "A", "C"),
        ("chr1", 925, sequence[925:940], sequence[925]),  # g4 whole, g3 in part
        ("chr1", 61, sequence[61], "."),
    ]
    vcf = vcf_of(tmp_path / "v.vcf", lines)
    found = predict(toy, tmp_path / "v.csv", "--vcf", write(tmp_path / "v.vcf.gz", pack(vcf.read_bytes())))
    assert [(row["gene_id"], row["variant"].split(":")[1:]) for row in found] == [
        ("g1", ["61", base, wrong]),
        ("g1", ["61", base, f"{base}TT"]),
        ("g3", ["926", sequence[925:940], sequence[925]]),
    ]
    listed = {(row["line"], row["variant"].split(":")[-1], row["reason"]) for row in rows(tmp_path / "v.rejected.csv")}
    assert listed == {
        ("3", "*", "ALT names no allele (., * and the like)"),
        ("3", "<DEL>", "ALT is symbolic"),
        ("4", base, f"REF does not match the FASTA: {base}"),
        ("6", "C", "REF lies outside the chromosome"),
        ("7", "C", "chromosome is not in the FASTA"),
        ("8", sequence[925], "deletes a whole gene: g4"),
        ("9", ".", "ALT names no allele (., * and the like)"),
    }
    printed = capsys.readouterr().out
    assert "variants in windows, scored: 3\n" in printed
    assert "not scored: 1, REF does not match the FASTA" in printed
    assert "not scored: 1, outside of all windows" in printed
    assert "differ by a 'chr' prefix" in printed
    predict(toy, tmp_path / "v.csv", "--vcf", vcf_of(tmp_path / "v.vcf", lines[2:3]))
    assert not (tmp_path / "v.rejected.csv").exists()  # nor one of an earlier run


def read_windows(toy) -> variants.Windows:
    """The windows of the toy's genes, as the script cuts them."""
    run = trained.load_run(toy.run.prefix, lcre_classifier.WindowLayout.of)
    with open_genome(toy.fasta) as genome:
        genes, codes, _, _ = lcre_predict.read_genes(genome, toy.gtf, run)
    start, end, strand = genes["start"].to_numpy(), genes["end"].to_numpy(), genes["strand"].to_numpy(str)
    return variants.Windows(codes, genes["chromosome"].tolist(), start, end, strand, run.layout)


@pytest.mark.parametrize("region", ["promoter", "terminator", "both"])
def test_percentiles_of_the_random_substitutions_themselves(toy, tmp_path, monkeypatch, capsys, region):
    """Ranked among themselves, n of them have the mid-ranks of their own effects, each by the folds of its gene."""
    monkeypatch.setattr(variant_effects, "SUBSTITUTIONS", 60)
    windows = read_windows(toy)
    drawn = variant_effects.draw_substitutions(windows, region, 60, variant_effects.SEED)
    made = []
    for gene, edit in drawn:
        name = windows.names[gene]
        made.append((name, edit.begin, toy.chromosomes[name][edit.begin], "ACGT"[edit.codes[0]]))
    found = predict(toy, tmp_path / "v.csv", "--vcf", vcf_of(tmp_path / "v.vcf", made))
    by_pair = {(row["gene_id"], row["variant"]): row for row in found}
    own = []
    for (gene, _), (name, position, ref, alt) in zip(drawn, made, strict=True):
        own.append(by_pair[FIT[gene].gene_id, f"{name}:{position + 1}:{ref}:{alt}"])
    assert {row["region"] for row in own} == {region}
    sizes = np.rint(np.abs([float(row["effect"]) for row in own]) / variant_effects.TIE)
    assert len(set(sizes)) > 20
    ranks = [(sizes < size).sum() + (sizes == size).sum() / 2 for size in sizes]
    assert [float(row["percentile"]) for row in own] == pytest.approx(np.array(ranks) / 60 * 100)
    assert f"note: {variant_effects.EFFECTS_CHECKED}\n" in capsys.readouterr().out


def test_annotated_vcf_has_the_values_of_the_csv(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(variant_effects, "SUBSTITUTIONS", 30)
    contigs = "".join(f"##contig=<ID={name}>\n" for name in toy.chromosomes)
    columns = [f"{name}\t{at + 1}\trs{at}\t{ref}\t{alt},*\t9\tq1\tDP=1\n" for name, at, ref, alt in make_variants(toy)]
    columns.sort(key=lambda line: (line.split("\t")[0], int(line.split("\t")[1])))
    text = HEADER.replace("#CHROM", f"{contigs}#CHROM") + "".join(columns)
    vcf = write(tmp_path / "v.vcf", text)
    expected = predict(toy, tmp_path / "a.csv", "--vcf", vcf)
    monkeypatch.setattr(lcre_predict, "BATCH", 7)
    monkeypatch.setattr(variant_batches, "LINES", 5)
    argv = ["--models", toy.run.prefix, "--fasta", toy.fasta, "--gtf", toy.gtf, "--vcf", vcf]
    for name in ("b.vcf", "b.vcf.gz"):
        assert lcre_predict.main([str(part) for part in [*argv, "--out", tmp_path / name]]) == 0
        assert f"{name}{' and .tbi' * name.endswith('z')}: {len(expected)} effects" in capsys.readouterr().out
    plain = (tmp_path / "b.vcf").read_text()
    assert gzip.decompress((tmp_path / "b.vcf.gz").read_bytes()).decode() == plain
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("a.csv", "a.rejected.csv", "b.rejected.csv", "b.vcf", "b.vcf.gz", "b.vcf.gz.tbi", "v.vcf")
    ]
    found = []
    for before, after in zip(columns, [line for line in plain.splitlines() if line[0] != "#"], strict=True):
        chromosome, position, _, ref, *_, info = after.split("\t")
        assert after.startswith(before.rstrip("\n"))
        entries = [part.split("=")[1].split(",") for part in info.split(";") if part.startswith("LCRE_")]
        assert len(entries) in (0, len(FIELDS))
        for allele, gene, region, effect, percentile in zip(*entries, strict=True):
            found.append((gene, f"{chromosome}:{position}:{ref}:{allele}", region, float(effect), float(percentile)))
    assert len(found) == len(expected)
    for row, (*names, effect, percentile) in zip(expected, found, strict=True):
        assert names == [row["gene_id"], row["variant"], row["region"]]
        assert effect == pytest.approx(float(row["effect"]), abs=1e-5)
        assert percentile == pytest.approx(float(row["percentile"]), abs=4)  # rounding may pass one of the 30


# --------------------------------------------------------------------------------------------- bad input
def refuse(toy, capsys, *more, models: Path | None = None, genome: bool = True, out: Path | None = None) -> str:
    """Run what must be refused: exit status 2, one line, nothing written; return the line."""
    out = out or toy.folder / "refused.csv"
    before = sorted(toy.folder.rglob("*"))
    capsys.readouterr()
    files = ["--fasta", toy.fasta, "--gtf", toy.gtf] if genome else []
    argv = [str(part) for part in ["--models", models or toy.run.prefix, "--out", out, *files, *more]]
    assert lcre_predict.main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("lcre_predict.py: ")
    assert error.count("\n") == 1
    assert len(error) < 700
    assert sorted(toy.folder.rglob("*")) == before
    return error


def test_vcf_of_another_genome_and_damaged_vcf(toy, tmp_path, capsys):
    other = random_sequence(np.random.default_rng(99), 1100)
    lines = [("1", at, other[at], "A" if other[at] != "A" else "C") for at in range(50)]
    told = refuse(toy, capsys, "--vcf", vcf_of(tmp_path / "o.vcf", lines))
    assert "another genome" in told
    assert "REF does not match the FASTA: " in told
    lines = [(f"NC_{number}.1", *line[1:]) for number, line in enumerate(lines)]
    assert "no chromosome in common" in refuse(toy, capsys, "--vcf", vcf_of(tmp_path / "n.vcf", lines))
    whole = vcf_of(tmp_path / "v.vcf", make_variants(toy)).read_bytes()
    cut = write(tmp_path / "cut.vcf.gz", cut_gzip(whole))
    assert "damaged gzip" in refuse(toy, capsys, "--vcf", cut)
    assert "begin with '##fileformat=VCF'" in refuse(toy, capsys, "--vcf", toy.fasta)
    assert "no file" in refuse(toy, capsys, "--vcf", tmp_path / "absent.vcf")


def test_outputs_of_another_kind(toy, tmp_path, capsys):
    made = sorted((line for line in make_variants(toy) if line[0] == "1"), key=lambda line: line[1])
    vcf = ["--vcf", vcf_of(tmp_path / "v.vcf", made)]
    for name in ("o.txt", "o", "o.vcf.bgz", "o.csv.gz", "o.bcf"):
        assert f"--vcf writes .csv, .vcf.gz and .vcf, not {name}" in refuse(toy, capsys, *vcf, out=toy.folder / name)
    assert "takes --vcf" in refuse(toy, capsys, out=toy.folder / "o.vcf.gz")
    told = refuse(toy, capsys, *vcf, out=toy.folder / "o.vcf.gz")
    assert "no ##contig line for 1 of its 1 chromosomes ('1')" in told
    assert "bcftools reheader --fai" in told
    contig = HEADER.replace("#CHROM", "##contig=<ID=1>\n#CHROM")
    lines = [f"1\t{at + 1}\t.\t{ref}\t{alt}\t.\t.\t.\n" for _, at, ref, alt in made]
    turned = write(tmp_path / "turned.vcf", contig + "".join(lines[::-1]))
    assert "sort it with bcftools sort" in refuse(toy, capsys, "--vcf", turned, out=toy.folder / "o.vcf.gz")
    index = write(toy.folder / "x.vcf.gz.tbi", contig + "".join(lines))  # an input that the index would replace
    assert "take the place of --vcf" in refuse(toy, capsys, "--vcf", index, out=toy.folder / "x.vcf.gz")
    index.unlink()


def test_files_that_do_not_fit(toy, tmp_path, capsys):
    foreign = ["--fasta", write_fasta(tmp_path / "x.fa", {"X": "ACGT" * 200}), "--gtf", toy.gtf]
    assert "no chromosome in common" in refuse(toy, capsys, *foreign, genome=False)
    small = write_fasta(tmp_path / "s.fa", {"1": "ACGT" * 20})
    line = refuse(toy, capsys, "--fasta", small, "--gtf", toy.gtf, genome=False)
    assert "no coding gene has windows of 60 + 40 bp inside its chromosome: of 5 genes" in line
    cut = write(tmp_path / "cut.fa.gz", cut_gzip(toy.fasta.read_bytes()))
    assert "damaged gzip" in refuse(toy, capsys, "--fasta", cut, "--gtf", toy.gtf, genome=False)
    assert "in none that exists; make it first" in refuse(toy, capsys, out=tmp_path / "absent/x.csv")
    assert "take the place of --fasta" in refuse(toy, capsys, out=toy.fasta)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--windows", "w.fa", "--vcf", "v.vcf"], "--windows goes without"),
        (["--fasta", "f.fa"], "give --fasta and --gtf, or --windows"),
        (["--vfc", "v.vcf"], "did you mean --vcf?"),
    ],
)
def test_flags_that_do_not_go_together(flags, says, capsys):
    with pytest.raises(SystemExit) as stop:
        lcre_predict.main(["--models", "m", "--out", "o.csv", *flags])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.fixture
def copied(toy, tmp_path) -> Path:
    """The prefix of a copy of the run that a test may spoil."""
    shutil.copytree(toy.run.prefix.parent, tmp_path / "models")
    return tmp_path / "models/toy"


def test_run_that_is_absent_or_unfinished(toy, copied, capsys):
    assert f"there are '{copied}'" in refuse(toy, capsys, models=copied.parent / "other")
    assert f"there are '{copied}'" in refuse(toy, capsys, models=copied.parent)
    record = Path(f"{copied}_run.json")
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"finished": None}))
    assert "is not finished" in refuse(toy, capsys, models=copied)
    record.write_text(json.dumps(content | {"settings": {}}))
    assert "does not say the window sizes" in refuse(toy, capsys, models=copied)
    record.write_text("not JSON")
    assert "is not the record of a run" in refuse(toy, capsys, models=copied)
    record.write_text(json.dumps(content))
    (copied.parent / "toy_model_1/genes.csv").write_text("a,b\n1,2\n")
    assert "genes.csv has no column gene_id, role (it has a, b)" in refuse(toy, capsys, models=copied)
    (copied.parent / "toy_model_1/best_model.keras").unlink()
    assert "1 folds of" in refuse(toy, capsys, models=copied)


@pytest.mark.parametrize("what", DAMAGE)
def test_record_that_was_edited_or_damaged(toy, copied, capsys, what):
    change, says = DAMAGE[what]
    record = Path(f"{copied}_run.json")
    record.write_bytes(change(json.loads(record.read_text())))
    told = refuse(toy, capsys, models=copied)
    for text in (str(record), says, "restore it from a copy"):
        assert text in told


@pytest.mark.parametrize("name", ["UPSTREAM", "PADDING"])
def test_record_of_other_windows_than_its_models(toy, copied, capsys, name):
    """A plausible number, but not the run's: the models' own files say so before anything is read or allocated."""
    record = Path(f"{copied}_run.json")
    content = json.loads(record.read_text())
    content["settings"][name] += 10_000
    record.write_text(json.dumps(content))
    told = refuse(toy, capsys, models=copied)
    for text in (f"takes [null, {COLUMNS}, 4]", f"{name} {content['settings'][name]}", str(record)):
        assert text in told


def test_record_that_does_not_say_its_inputs(toy, copied, tmp_path, capsys):
    """Without them nobody knows which folds have seen a gene; with --all-folds nobody needs to."""
    record = Path(f"{copied}_run.json")
    content = json.loads(record.read_text())
    del content["inputs"]["FASTA"]
    record.write_text(json.dumps(content))
    told = refuse(toy, capsys, models=copied)
    assert "does not say which FASTA the run was trained on" in told
    found = predict(toy, tmp_path / "all.csv", "--all-folds", models=copied)
    assert found == predict(toy, tmp_path / "same.csv", "--all-folds")


def test_run_of_an_older_version(toy, copied, tmp_path):
    """Its record lacks what is written today, its tables have columns more: the same rows come out."""
    record = Path(f"{copied}_run.json")
    record.write_bytes(of_older_version(json.loads(record.read_text())))
    for fold in FOLDS:
        path = records.fold_folder(copied, fold) / "genes.csv"
        path.write_text("".join(f"1,{line},x\n" for line in path.read_text().splitlines()))
    assert predict(toy, tmp_path / "old.csv", models=copied) == predict(toy, tmp_path / "new.csv")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "cannot be read as CSV (No columns"),
        ("gene_id,role\ng1,test,\n", "its rows have more cells than its line of names"),
        ("gene_id,role\ng1,test\na,b,c,d\n", "Expected 2 fields in line 3, saw 4"),
        (PNG, "cannot be read as CSV"),
        ("gene_id;role\ng1;test\n", "has no column gene_id, role"),
    ],
)
def test_roles_that_are_damaged(toy, copied, capsys, content, says):
    path = write(copied.parent / "toy_model_1/genes.csv", content)
    told = refuse(toy, capsys, models=copied)
    assert str(path) in told
    assert says in told


def test_models_of_two_runs_mixed(toy, copied, tmp_path, capsys):
    other = write_run(tmp_path / "other/toy", FOLDS, FIT, {}, seed=2)
    mixed = copied.parent / "toy_model_2+3"
    shutil.copy(tmp_path / "other/toy_model_2+3/best_model.keras", mixed)
    assert "models of two runs are mixed" in refuse(toy, capsys, models=copied)
    assert isinstance(other, ToyRun)
    record = Path(f"{copied}_run.json")  # a run that kept no hashes: other windows and other layers show
    content = json.loads(record.read_text())
    del content["models"]
    record.write_text(json.dumps(content))
    save_adder(mixed / "best_model.keras", np.zeros((COLUMNS + 2, 4), np.float32))
    assert f"this run's windows are (None, {COLUMNS}, 4)" in refuse(toy, capsys, models=copied)
    from keras import Sequential, layers

    Sequential([layers.Input((COLUMNS, 4)), layers.Conv1D(1, COLUMNS), layers.Flatten()]).save(
        mixed / "best_model.keras"
    )
    assert "models of two runs are mixed" in refuse(toy, capsys, models=copied)


def spoil_config(path: Path, change) -> None:
    """Change the config inside a .keras file."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (parts | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, content)


def lambda_layer(config: dict) -> None:
    config["config"]["layers"][1]["class_name"] = "Lambda"


def registered_class(config: dict) -> None:
    config["config"]["layers"][2] |= {"module": "os", "class_name": "system", "registered_name": "x>system"}


def function_of_keras(config: dict) -> None:
    fetch = {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "file:///etc/passwd"}}
    config["config"]["layers"][2]["config"]["kernel_initializer"] = fetch


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda_layer, "keras.layers.Lambda"),
        (registered_class, "os.system"),
        (function_of_keras, "keras.utils.get_file"),
    ],
)
def test_model_that_would_run_code(toy, copied, capsys, change, says):
    spoil_config(copied.parent / "toy_model_1/best_model.keras", change)
    error = refuse(toy, capsys, models=copied)
    assert repr(says) in error
    assert "nothing was run" in error


def test_real_lambda_layer_is_refused(toy, copied, capsys):
    from keras import Sequential, layers

    model = Sequential([layers.Input((COLUMNS, 4)), layers.Lambda(lambda x: print("must not be run") or x)])
    model.save(copied.parent / "toy_model_1/best_model.keras")
    capsys.readouterr()
    argv = ["--models", copied, "--fasta", toy.fasta, "--gtf", toy.gtf, "--out", copied.parent / "o.csv"]
    assert lcre_predict.main([str(part) for part in argv]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "'keras.layers.Lambda'" in printed.err


def unhashable_class(config: dict) -> None:
    config["config"]["layers"][1]["class_name"] = ["Flatten"]


def unhashable_module(config: dict) -> None:
    config["config"]["layers"][1]["module"] = {"keras": "layers"}


def no_layers(config: dict) -> None:
    config["config"]["layers"] = []


@pytest.mark.parametrize("change", [unhashable_class, unhashable_module, no_layers])
def test_model_whose_config_was_edited(toy, copied, capsys, change):
    spoil_config(copied.parent / "toy_model_1/best_model.keras", change)
    assert "best_model.keras" in refuse(toy, capsys, models=copied)


def test_model_whose_packed_config_is_damaged(toy, copied, capsys):
    """The archive's own tables are whole; what they point to is not."""
    path = copied.parent / "toy_model_1/best_model.keras"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        at = archive.getinfo("config.json").header_offset + 30 + len("config.json")
    content = bytearray(path.read_bytes())
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)
    assert "is not a Keras model" in refuse(toy, capsys, models=copied)


@pytest.mark.parametrize("content", [b"", b"not a model", PNG, b"PK\x05\x06" + bytes(18)])
def test_file_that_is_no_keras_model(toy, copied, capsys, content):
    write(copied.parent / "toy_model_1/best_model.keras", content)
    assert "is not a Keras model" in refuse(toy, capsys, models=copied)


def test_model_cut_short_inside(toy, copied, capsys):
    path = copied.parent / "toy_model_1/best_model.keras"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content[:2000] if name.endswith(".h5") else content)
    record = Path(f"{copied}_run.json")
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"models": {"1": hash_file(path)}}))
    assert "cannot be loaded" in refuse(toy, capsys, models=copied)


@pytest.mark.parametrize("name", ["toy_run.json", "toy_predictions.csv", "toy_model_1/genes.csv"])
def test_the_run_is_not_overwritten(toy, copied, capsys, name):
    path = copied.parent / name
    before = path.read_bytes() if path.exists() else None
    assert lcre_predict.main([*flags_of(toy, copied), "--out", str(path)]) == 2
    assert "would take the place of a file of the run; give another name" in capsys.readouterr().err
    assert (path.read_bytes() if path.exists() else None) == before


def flags_of(toy, models: Path) -> list[str]:
    return ["--models", str(models), "--fasta", str(toy.fasta), "--gtf", str(toy.gtf)]


# --------------------------------------------------------------------------------------------- the run
def test_opened_run(toy):
    run = trained.load_run(toy.run.prefix, lcre_classifier.WindowLayout.of)
    assert (run.folds, run.layout.columns, run.settings.UPSTREAM) == (FOLDS, COLUMNS, UPSTREAM)
    assert run.roles("2+3").to_dict() == {gene.gene_id: "test" if gene.chromosome in "23" else "train" for gene in FIT}
    assert [run.held_out_by(name) for name in ("1", "2", "3", "2+3", "4")] == [["1"], ["2+3"], ["2+3"], ["2+3"], []]
    assert run.find_own(toy.fasta, toy.gtf) == ""
    assert run.find_own(toy.gtf, toy.fasta) is None
    assert list(run.models) == FOLDS
    assert not run.models.loaded
    assert run.models["1"] is run.models["1"]


def test_networks_trained_in_half_precision_compute_in_single(tmp_path):
    import keras
    from keras import Sequential, layers

    policy = keras.mixed_precision.dtype_policy().name
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = Sequential(
            [
                *(
                    layers.Input((12, 4)),
                    layers.Conv1D(3, 2),
                    layers.Bidirectional(layers.LSTM(2)),
                    layers.BatchNormalization(),
                ),
                layers.Dense(1, "sigmoid", dtype="float32"),
            ]
        )
        model.save(tmp_path / "half.keras")
        loaded = trained.load_model(tmp_path / "half.keras", 12)
    finally:
        keras.mixed_precision.set_global_policy(policy)
    assert {layer.compute_dtype for layer in loaded.layers} == {"float32"}
    window = np.random.default_rng(1).random((5, 12, 4), np.float32)
    assert loaded(window).numpy() == pytest.approx(model(window).numpy(), abs=2e-3)


@pytest.mark.parametrize("name", list(lcre_classifier.MODELS))
def test_log_odds_are_those_of_the_trained_network(name):
    """Both networks of the trainer, saved or not: the sigmoid of the log-odds is the network's output."""
    import keras

    model = lcre_classifier.MODELS[name].build(lcre_classifier.WindowLayout(20, 20, 10)).model
    windows = np.random.default_rng(1).random((6, 90, 4), np.float32)
    log_odds = trained.without_sigmoid(model)(windows).numpy()
    assert lcre_predict.sigmoid(log_odds) == pytest.approx(model(windows).numpy(), abs=1e-6)
    assert lcre_predict.sigmoid(np.array([-1e9, 0, 1e9])).tolist() == [pytest.approx(0), 0.5, 1]
    headless = keras.Sequential([keras.layers.Input((90, 4)), keras.layers.Flatten(), keras.layers.Dense(1)])
    with pytest.raises(InputError, match="no Dense layer with a sigmoid"):
        trained.without_sigmoid(headless)


def test_mean_and_sd_over_the_folds_that_scored():
    mean, sd = lcre_predict.mean_and_sd(np.array([[0.25, np.nan, 0.75], [np.nan, 0.5, np.nan]]))
    assert mean.tolist() == [0.5, 0.5]
    assert sd[0] == pytest.approx(np.sqrt(0.125))
    assert np.isnan(sd[1])
    assert [lcre_predict.show_number(value) for value in (0.123456789, 1e-9, 0.0, np.nan)] == [
        "0.1234568",
        "1e-09",
        "0",
        "",
    ]


def test_stop_leaves_nothing(toy, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    for name in ("score", "score_variants"):
        monkeypatch.setattr(lcre_predict.Scorer, name, stop)
    vcf = ["--vcf", vcf_of(tmp_path / "v.vcf", make_variants(toy)[:1])]
    contig = HEADER.replace("#CHROM", "##contig=<ID=1>\n#CHROM")
    vcf[1].write_text(vcf[1].read_text().replace(HEADER, contig))
    for name, more in (("o.csv", []), ("o.csv", vcf), ("o.vcf", vcf), ("o.vcf.gz", vcf)):
        argv = ["--models", toy.run.prefix, "--fasta", toy.fasta, "--gtf", toy.gtf, "--out", tmp_path / name, *more]
        assert lcre_predict.main([str(part) for part in argv]) == 130
        assert "interrupted; nothing was written" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["v.vcf"]


def test_full_disk_is_one_line(toy, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lcre_predict.Scorer, "score", fail)
    assert "No space left on device" in refuse(toy, capsys)


def test_real_script(toy, tmp_path):
    """The script as it is started from another folder, and what importing it costs."""
    vcf = vcf_of(tmp_path / "v.vcf", make_variants(toy)[:6])
    argv = ["--models", toy.run.prefix, "--fasta", toy.fasta, "--gtf", toy.gtf, "--vcf", vcf, "--out", "v.csv"]
    done = subprocess.run(
        [sys.executable, ROOT / "lcre_predict.py", *argv], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(rows(tmp_path / "v.csv")) >= 4
    code = "import sys, lcre_predict; print(sorted({'tensorflow', 'keras', 'pandas', 'pyranges'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_refusals_need_no_tensorflow(toy, tmp_path):
    """What can be known from the files is said before TensorFlow is imported."""
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not here')")
    argv = ["--models", toy.run.prefix, "--fasta", toy.fasta, "--gtf", toy.gtf, "--vcf", toy.gtf, "--out", "v.csv"]
    done = subprocess.run(
        [sys.executable, ROOT / "lcre_predict.py", *argv],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "begin with '##fileformat=VCF'" in done.stderr


def test_another_error_is_not_hidden(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(lcre_predict.Scorer, "score", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(toy, tmp_path / "o.csv")
    assert not list(tmp_path.iterdir())


def test_roles_need_their_file(toy):
    with pytest.raises(InputError, match="is missing"):
        trained.load_run(toy.run.prefix, lcre_classifier.WindowLayout.of).roles("absent")
