"""Every reader of a file that comes from elsewhere: its seeds, and how it is called by the programs."""

import contextlib
import importlib.util
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from genomes import settings_of

import lcre_classifier
from core import InputError, checkpoints, genome, tables, tracks
from core.cli import flag_of
from core.coding import read_products
from lcre import homology, records, report, results, settings, trained, variants
from lcre.families import read_families
from lcre.variant_batches import VariantBatches

from . import corpus
from .mutations import ARCHIVE, BINARY, TEXT


class Reader(NamedTuple):
    """A reader under test."""

    name: str
    read: Callable[[Path], object]  # raises InputError or nothing
    seeds: list[tuple[str, bytes]]  # name and content of whole files
    changes: Sequence[Callable] = TEXT
    packed: bool = True  # it reads gzip, or other encodings may come


def write_neighbours(folder: Path) -> None:
    """Write the files that an input is read together with into a folder."""
    for name, content in zip(
        corpus.FOLDER_FILES, (corpus.fasta(), corpus.ensembl_gtf(), corpus.expression()), strict=True
    ):
        (folder / name).write_bytes(content)
    (folder / "performance_log.csv").write_bytes(corpus.log())


def settings_for(folder: Path, **given: Path) -> SimpleNamespace:
    """Return the settings of a run on the files of the corpus in a folder, and on those that are given."""
    paths = {flag: folder / file for flag, file in zip(("FASTA", "GTF", "TPM"), corpus.FOLDER_FILES, strict=True)}
    flags = [part for flag, path in (paths | given).items() for part in (flag_of(flag), str(path))]
    return settings_of([*flags, "--organism", "toy", "--upstream", "20", "--downstream", "10"])


def check_inputs(path: Path, name: str) -> None:
    """Read the files of a run, of which one is `path`, as --check does: labels, windows, folds."""
    with contextlib.redirect_stdout(io.StringIO()):
        lcre_classifier.check_inputs(settings_for(path.parent, **{name: path}))


def read_key(path: Path) -> None:
    """Read a list of validation genes as one that needs no key and as one that needs one."""
    with contextlib.suppress(InputError):
        tables.read_gene_list(path, None)
    tables.read_gene_list(path, "sol")


class Genes(NamedTuple):
    """The genes of the corpus, read once."""

    folder: tempfile.TemporaryDirectory  # kept as long as the genome is open
    genome: genome.Genome
    windows: variants.Windows
    ids: list[str]


@cache
def read_genes() -> Genes:
    """Read the genes of the corpus and open its genome."""
    folder = tempfile.TemporaryDirectory()
    write_neighbours(Path(folder.name))
    data = lcre_classifier.load_data(settings_for(Path(folder.name)))
    opened = OPEN.enter_context(genome.open_genome(Path(folder.name) / "genome.fa"))
    genes = data.with_windows
    start, end, strand = genes["start"].to_numpy(), genes["end"].to_numpy(), genes["strand"].to_numpy(str)
    windows = variants.Windows(data.windows, genes["chromosome"].tolist(), start, end, strand, data.layout)
    return Genes(folder, opened, windows, genes["gene_id"].tolist())


OPEN = contextlib.ExitStack()


def read_vcf(path: Path) -> None:
    """Read a VCF and put every variant into the windows of genes, as lcre_predict.py does before it scores them."""
    genes = read_genes()
    _, partner = variants.match_genome(path, genes.genome, [])
    background = SimpleNamespace(draw=lambda region: [])
    lines, world = variants.read_vcf(path), (partner, genes.genome, genes.windows, genes.ids)
    for _ in VariantBatches(lines, *world, background, reject=lambda row: None, progress=None, size=100):
        continue


def read_signal(path: Path) -> None:
    """Read a signal as CREaTor's prepare does: chromosomes, then the values of elements."""
    track = tracks.open_track(path, "DNase")
    for name in list(track.lengths)[:5]:
        track.read(name, [0, 10, 1390], [20, 300, 1400])


def read_record(path: Path) -> None:
    """Read the record of a run for training, prediction and the page."""
    report.read_run_record(path)
    run = records.read_run(path)
    records.held_out_groups(run)
    records.identify_run(run)
    records.list_differences(json.loads(corpus.record()), run)
    for name in run["folds"]:
        records.fold_folder(Path("toy"), name)


def read_log(path: Path) -> None:
    """Read a performance log for training and for the page."""
    checkpoints.read_log(path, results.LOG_COLUMNS)
    trained.read_columns(path, [], report.LOG_NUMBERS)


def read_predictions(path: Path) -> None:
    """Read the predictions of a fold, for the tables of its run."""
    fold = SimpleNamespace(held_out=np.arange(corpus.GENES), test=np.arange(4))
    (path.parent / "predictions.csv").write_bytes(path.read_bytes())
    results.read_finished(path.parent, fold, np.array(corpus.gene_ids()))
    trained.read_columns(path, ["gene_id"], ["probability"])


def read_model(path: Path) -> None:
    """Look through a model file, as training and prediction do before Keras sees it."""
    found = checkpoints.Checkpoints(path.parent, "a run", results.LOG_COLUMNS)
    found.is_whole(path, 0)
    trained.inspect_model(path)


def read_creator_model(path: Path) -> None:
    """Look through a model of CREaTor's, a checkpoint as it was published or one of ours."""
    from creator.checkpoint import describe_model

    describe_model(path)


def read_torch_file(path: Path) -> None:
    """Read a torch file and every array in it."""
    from creator import torchfile

    waiting = [torchfile.read_torch_file(path)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, torchfile.Tensor) and max(value.shape, default=1) < 1000:
            torchfile.as_array(value)


def read_creator_input(path: Path) -> None:
    """Read the input of one run of CREaTor."""
    from creator.checkpoint import read_input

    read_input(path)


def read_elements(path: Path) -> None:
    """Read cCREs."""
    from creator.regions import read_elements

    read_elements(path, dict.fromkeys(corpus.CHROMOSOMES, corpus.LENGTH), [])


def read_samples(path: Path) -> None:
    """Read the samples.tsv of CREaTor."""
    from creator.samples import read_samples

    read_samples(path, ("DNase", "H3K27ac"))


def read_pairs(path: Path) -> None:
    """Read pairs of element and gene."""
    from creator.link_evaluation import read_pairs

    read_pairs(path, placed=True)


def read_motifs(path: Path) -> None:
    """Read a file of motifs."""
    from lcre.motifs import read_known

    read_known(path)


@cache
def all_readers() -> dict[str, Reader]:
    """Return every reader by its name; one whose library is not installed is not there."""
    gene_names = homology.GeneNames(corpus.gene_ids(), {f"{gene}.p1": gene for gene in corpus.gene_ids()})
    lists = {"a.txt": corpus.text(*corpus.gene_ids()), "a.csv": corpus.families(), "a.tsv": corpus.expression("\t")}
    pickles = [("a.pickle", content) for content in corpus.pickled_lists()]
    annotations = [("a.gtf", corpus.ensembl_gtf()), ("a.gtf", corpus.ncbi_gtf()), ("a.gff3", corpus.gff3())]
    values = {
        "a.csv": corpus.expression(),
        "b.csv": corpus.samples(),
        "c.tsv": corpus.table_of_r(),
        "d.tsv": corpus.expression("\t"),
    }
    torch = [("a.pth", content) for content in corpus.torch_files()]
    readers = [
        Reader(
            "FASTA",
            partial(check_inputs, name="FASTA"),
            [("a.fa", corpus.fasta()), ("b.fa", corpus.soft_masked_fasta())],
        ),
        Reader(
            "FASTA of bgzip",
            partial(check_inputs, name="FASTA"),
            [("a.fa.gz", corpus.bgzip_fasta(200)), ("b.fa.bgz", corpus.bgzip_fasta(5000))],
            BINARY,
            False,
        ),
        Reader("GTF, GFF3", partial(check_inputs, name="GTF"), annotations),
        Reader("GTF, GFF3: products", lambda path: read_products(path, corpus.gene_ids()), annotations),
        Reader("expression table", partial(check_inputs, name="TPM"), list(values.items())),
        Reader("gene list", partial(check_inputs, name="VALIDATION_GENES"), list(lists.items())),
        Reader("pickle of genes", read_key, pickles, BINARY, False),
        Reader("families", read_families, [("a.csv", corpus.families())]),
        Reader("species", settings.read_species, [("a.tsv", corpus.species())]),
        Reader("proteins", lambda path: homology.read_proteins(path, gene_names), [("a.fa", corpus.proteins())]),
        Reader("hits", lambda path: homology.read_hits(path, gene_names), [("a.tsv", corpus.hits())]),
        Reader("VCF", read_vcf, [("a.vcf", corpus.vcf())]),
        Reader("BED", read_elements, [("a.bed", corpus.bed())]),
        Reader("BED as signal", read_signal, [("a.bed", corpus.bed()), ("a.bedgraph", corpus.bedgraph())]),
        Reader("bigWig", read_signal, [("a.bw", corpus.bigwig())], BINARY, False),
        Reader("samples.tsv", read_samples, [("a.tsv", corpus.sample_sheet())]),
        Reader("pairs", read_pairs, [("a.tsv", corpus.pairs())]),
        Reader("O_run.json", read_record, [("a.json", corpus.record())]),
        Reader("performance log", read_log, [("a.csv", corpus.log())]),
        Reader("predictions", read_predictions, [("a.csv", corpus.predictions())]),
        Reader("result table", report.read_result, [("a.csv", corpus.result())]),
        Reader(".keras", read_model, [("a.keras", corpus.keras_model())], ARCHIVE, False),
        Reader(".keras of CREaTor", read_creator_model, [("a.keras", corpus.creator_model()), *torch], ARCHIVE, False),
        Reader(".pth", read_torch_file, torch, ARCHIVE, False),
        Reader(
            "input of CREaTor", read_creator_input, [("a.pkl", one) for one in corpus.creator_inputs()], BINARY, False
        ),
    ]
    if importlib.util.find_spec("memelite"):
        readers.append(Reader("MEME", read_motifs, [("a.meme", corpus.meme())]))
    return {reader.name: reader for reader in readers}
