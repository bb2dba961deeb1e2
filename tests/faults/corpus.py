"""Small files of every kind that the programs read, made up in the form of real ones: what fuzzing begins with.

The genome has three chromosomes of 1,400 bp with 12 genes each; every other file fits to it.
"""

import io
import json
import pickle
import random
import tempfile
import zipfile
from functools import cache
from pathlib import Path

from builders import bgzf
from creator_files import checkpoint_value, dumps, embedded_tensor, legacy_file, zip_file

CHROMOSOMES = ("1", "2", "3")
LENGTH, GENES = 1400, 12  # of each chromosome
FOLDER_FILES = ("genome.fa", "genes.gtf", "tpm.csv")  # that are written beside an input that a table names


@cache
def sequences() -> dict[str, str]:
    """Return the bases of each chromosome."""
    draw = random.Random(1)
    return {name: "".join(draw.choices("ACGT", k=LENGTH)) for name in CHROMOSOMES}


def genes() -> list[tuple[str, str, int, int, str]]:
    """Return gene id, chromosome, start and end (from 1, both inclusive) and strand of each gene."""
    return [
        (f"g{name}_{number}", name, 40 + 110 * number, 110 + 110 * number, "+-"[number % 2])
        for name in CHROMOSOMES
        for number in range(GENES)
    ]


def gene_ids() -> list[str]:
    """Return the ids of the genes."""
    return [gene for gene, *_ in genes()]


def text(*lines: str) -> bytes:
    """Return lines as a file."""
    return ("\n".join(lines) + "\n").encode()


# --------------------------------------------------------------------------------------------- the genome
def fasta() -> bytes:
    """Return the FASTA, in lines of 60, with the headers of Ensembl."""
    lines = []
    for name, bases in sequences().items():
        lines.append(f">{name} dna:chromosome chromosome:T1:{name}:1:{LENGTH}:1 REF")
        lines += [bases[at : at + 60] for at in range(0, LENGTH, 60)]
    return text(*lines)


def soft_masked_fasta() -> bytes:
    """Return the FASTA with `chr` names, small letters, N and IUPAC codes, a sequence a line, and blank lines."""
    lines = []
    for name, bases in sequences().items():
        lines += [f">chr{name}", bases[:200].lower() + "NNNNNNNNNNRYK" + bases[213:], ""]
    return text(*lines)


def bgzip_fasta(size: int) -> bytes:
    """Return the FASTA as bgzip packs it, in blocks of `size` bytes."""
    content = fasta()
    return bgzf(*(content[at : at + size] for at in range(0, len(content), size)))


def ensembl_gtf() -> bytes:
    """Return the annotation as Ensembl writes it: genes, transcripts, exons and CDS."""
    lines = ["#!genome-build T1", "#!genome-version T1"]
    for gene, name, start, end, strand in genes():
        where = f"\t{start}\t{end}\t.\t{strand}"
        ids = f'gene_id "{gene}"; gene_name "N{gene}"; gene_source "ensembl"; gene_biotype "protein_coding";'
        lines.append(f"{name}\tensembl\tgene{where}\t.\t{ids}")
        more = ids.replace("; gene_name", f'; transcript_id "{gene}.t1"; gene_name', 1)
        lines.append(f"{name}\tensembl\ttranscript{where}\t.\t{more}")
        lines.append(f'{name}\tensembl\texon{where}\t.\t{more} exon_number "1";')
        lines.append(f'{name}\tensembl\tCDS\t{start + 3}\t{end - 3}\t.\t{strand}\t0\t{more} protein_id "{gene}.p1";')
    return text(*lines)


def ncbi_gtf() -> bytes:
    """Return the annotation as NCBI writes GTF: comments inside, '; ' inside quotes, no value for the transcript."""
    lines = ["#gtf-version 2.2"]
    for number, (gene, name, start, end, strand) in enumerate(genes()):
        if number == 5:
            lines.append("###")
        lines.append(
            f'{name}\tRefSeq\tgene\t{start}\t{end}\t.\t{strand}\t.\tgene_id "{gene}"; transcript_id ""; db_xref '
            f'"GeneID:{number}"; description "a; b \\"c\\" protein"; gbkey "Gene"; gene_biotype "protein_coding"; '
        )
    return text(*lines)


def gff3() -> bytes:
    """Return the annotation as GFF3 without biotypes, with CDS parts, escapes and a FASTA at its end."""
    lines = ["##gff-version 3", f"##sequence-region 1 1 {LENGTH}"]
    for gene, name, start, end, strand in genes():
        where = f"\t{start}\t{end}\t.\t{strand}"
        lines.append(f"{name}\tphytozome\tgene{where}\t.\tID=gene:{gene};Name={gene};note=a%3Bb")
        lines.append(f"{name}\tphytozome\tmRNA{where}\t.\tID={gene}.1;Parent=gene:{gene};longest=1")
        middle = (start + end) // 2
        lines.append(f"{name}\tphytozome\tCDS\t{start + 3}\t{middle}\t.\t{strand}\t0\tID={gene}.1.cds;Parent={gene}.1")
        lines.append(f"{name}\tphytozome\tCDS\t{middle + 1}\t{end}\t.\t{strand}\t2\tID={gene}.1.cds;Parent={gene}.1")
    return text(*lines, "##FASTA", ">1", "ACGT")


# ------------------------------------------------------------------------------------------- tables of genes
def expression(separator: str = ",") -> bytes:
    """Return a table with logMaxTPM."""
    rows = [f"{gene}{separator}{number * 7 % 36 / 7:.4f}" for number, gene in enumerate(gene_ids())]
    return text(f"gene_id{separator}logMaxTPM", *rows)


def samples() -> bytes:
    """Return a table of TPM, a column a sample, quoted."""
    rows = [f'"{gene}",{number * 7 % 36}.5,{number % 3},1e-{number % 4}' for number, gene in enumerate(gene_ids())]
    return text('"gene_id","leaf","root","SRR001"', *rows)


def table_of_r() -> bytes:
    """Return a table as R's write.table writes it: the header is one name shorter."""
    return text(
        "logMaxTPM\tlength", *(f"{gene}\t{number * 7 % 36 / 7:.4f}\t70" for number, gene in enumerate(gene_ids()))
    )


def pickled_lists() -> list[bytes]:
    """Return pickles of gene ids: of each protocol, of a list, of arrays of numpy and of pandas."""
    import numpy as np
    import pandas as pd

    ids = gene_ids()
    content = {"sol": ids, "ara": tuple(ids[:9])}
    arrays = {"a": np.array(ids), "b": pd.Series(ids), "c": pd.Index(ids), "d": np.array(ids, object), "e": set(ids)}
    return [*(pickle.dumps(content, protocol) for protocol in range(6)), pickle.dumps(ids), pickle.dumps(arrays)]


def families() -> bytes:
    """Return a table of families."""
    return text("gene_id,family", *(f"{gene},{number // 2 + 1}" for number, gene in enumerate(gene_ids())))


def species() -> bytes:
    """Return a table of species that names the files beside it."""
    return text("organism\tfasta\tgtf\ttpm", *("\t".join((name, *FOLDER_FILES)) for name in ("one", "two")))


def hits() -> bytes:
    """Return hits as DIAMOND writes them (outfmt 6)."""
    ids = gene_ids()
    rows = [
        f"{one}.p1\t{other}.p1\t45.3\t70\t12\t1\t1\t70\t3\t72\t1.2e-30\t120"
        for one, other in zip(ids[3:], ids, strict=False)
    ]
    return text(*rows)


def proteins() -> bytes:
    """Return proteins with the headers of Ensembl."""
    return text(*(f">{gene}.p1 pep gene:{gene} transcript:{gene}.t1\nMKVLAERST{'LIVEK' * 4}*" for gene in gene_ids()))


# ------------------------------------------------------------------------------------------- along the genome
def vcf() -> bytes:
    """Return variants of every kind: bases, insertions, deletions, several alleles, symbols."""
    header = ["##fileformat=VCFv4.2", f"##contig=<ID=1,length={LENGTH}>"]
    header.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1")
    rows = []
    for name, bases in sequences().items():
        for place in range(30, LENGTH - 20, 47):
            kind, base = place % 5, bases[place - 1]
            other = "ACGT"["ACGT".index(base) - 1]
            reference = bases[place - 1 : place + 3] if kind == 1 else base
            alternative = {0: other, 1: base, 2: f"{base}TTA", 3: f"{other},*,<DEL>", 4: "."}[kind]
            rows.append(f"{name}\t{place}\trs{place}\t{reference}\t{alternative}\t60\tPASS\tAC=1\tGT\t0/1")
    return text(*header, *rows)


def bed() -> bytes:
    """Return cCREs as ENCODE writes them."""
    rows = [f"chr{name}\t{place}\t{place + 35}\tEH38E{place}\t0\t." for name in CHROMOSOMES for place in (10, 300, 900)]
    return text("# cCREs", "track name=x", *rows)


def bedgraph() -> bytes:
    """Return a signal as bedGraph."""
    return text(*(f"chr{name}\t{at}\t{at + 20}\t{at / 8}" for name in CHROMOSOMES for at in range(0, 1300, 40)))


@cache
def bigwig() -> bytes:
    """Return a signal as bigWig."""
    import pybigtools

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.bw"
        values = [(f"chr{name}", at, at + 20, at / 8) for name in CHROMOSOMES for at in range(0, 1300, 40)]
        pybigtools.open(str(path), "w").write({f"chr{name}": LENGTH for name in CHROMOSOMES}, iter(values))
        return path.read_bytes()


def pairs() -> bytes:
    """Return pairs of element and gene as the benchmark of CRISPRi screens has them."""
    names = "chrom chromStart chromEnd CellType measuredGeneEnsemblId Regulated distanceToTSS H3K27ac.RPM DHS.RPM"
    names += " H3K27ac.RPM.expandedRegion"
    rows = [
        f"chr1 {at} {at + 40} K562 g1_{at // 200} {'FALSE' if at % 2 else 'TRUE'} {at} 1.5 2 3.25"
        for at in range(9, 1000, 90)
    ]
    return text(*(line.replace(" ", "\t") for line in (names, *rows)))


def sample_sheet() -> bytes:
    """Return the samples.tsv of CREaTor, which names a file beside it."""
    return text("cell\ttrack\tpath", "A\tDNase\tgenome.fa", "A\tTPM\ttpm.csv", "B\tH3K27ac\tgenome.fa")


def meme() -> bytes:
    """Return a motif in the MEME format."""
    rows = ["0.7 0.1 0.1 0.1", "0.1 0.7 0.1 0.1", "0.25 0.25 0.25 0.25", "0.1 0.1 0.1 0.7"]
    head = ["MEME version 4", "", "ALPHABET= ACGT", "", "MOTIF MA0001.1 AGL3", ""]
    return text(*head, "letter-probability matrix: alength= 4 w= 4 nsites= 20 E= 0", *rows, "")


# ------------------------------------------------------------------------------------------------ of a run
def record() -> bytes:
    """Return the record of a run."""
    inputs = {
        name: {"file": file, "bytes": 100, "sha256": "0a" * 32}
        for name, file in zip(("FASTA", "GTF", "TPM"), FOLDER_FILES, strict=True)
    }
    return json.dumps(
        {
            "lcre_version": "0.1.0",
            "organism": "toy",
            "command": "lcre_classifier.py --fasta genome.fa",
            "started": "2026-01-01T00:00:00+00:00",
            "finished": None,
            "seconds": 12.5,
            "peak_memory_bytes": 1_000_000,
            "device": "",
            "settings": {
                "UPSTREAM": 20,
                "DOWNSTREAM": 10,
                "PADDING": 20,
                "MODEL": "published",
                "HOLD_OUT": "chromosome",
            },
            "versions": {"python": "3.11.7", "keras": None},
            "inputs": inputs,
            "folds": ["1", "2+3"],
            "held_out": {"1": ["1"], "2+3": ["2", "3"]},
            "models": {"1": "0b" * 32},
            "notes": ["a note"],
            "warnings": [],
            "funnel": [{"chromosome": "all", "in table": 36}],
            "audit": {"share_N": 0.01, "coding_genes": 36},
        },
        indent=1,
    ).encode()


def log() -> bytes:
    """Return a performance log."""
    columns = (
        "epoch,loss,accuracy,val_loss,val_accuracy,val_auROC,test_loss,test_accuracy,test_auROC,learning_rate,seconds"
    )
    return text(columns, *(f"{epoch},0.69,0.5,0.7,0.5,0.51{epoch},0.7,0.5,,0.0001,1.25" for epoch in range(4)))


def predictions() -> bytes:
    """Return the predictions of a fold."""
    ids = gene_ids()[:GENES]
    rows = [f"{gene},0.{number}1,0.5,0.4,0.3,0.2,,0.{number}2" for number, gene in enumerate(ids, 1)]
    return text("gene_id,probability,kmer,gc,outside,inside,codon,uncalibrated", *rows)


def result() -> bytes:
    """Return the table of results of a run."""
    names = "chromosome,accuracy,auROC,auPR,organism,training_size,validation_size,test_size,best_epoch"
    rows = [f"{fold},0.5,0.6,0.6,toy,20,9,12,1" for fold in ("1", "2+3")] + ["pooled,0.5,0.6,0.6,toy,,,24,"]
    more = ",auROC_low,auROC_high,kmer_auROC,gc_auROC,auROC_optimistic,seconds"
    return text(names + more, *(f"{row},0.5,0.7,0.6,0.5,0.7,3" for row in rows))


@cache
def keras_model() -> bytes:
    """Return a `.keras` file, as far as it is looked through without Keras: config, metadata and weights."""
    layer = {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": {"batch_shape": [None, 80, 4], "dtype": "float32", "name": "input"},
        "registered_name": None,
    }
    dense = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}, "registered_name": None}
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [layer, dense]}}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.8.0"}')
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(200))
        archive.comment = b"0" * 64
    return stream.getvalue()


@cache
def creator_model() -> bytes:
    """Return a `.keras` file of CREaTor's, as far as it is looked through without Keras."""
    import h5py
    import numpy as np

    from creator.checkpoint import SIZES, keras_shapes

    sizes = {name: 1 if name.endswith("layers") else 4 for name in SIZES}
    stream, weights = io.BytesIO(), io.BytesIO()
    with h5py.File(weights, "w") as file:
        for number, shape in enumerate(keras_shapes(**sizes).elements()):
            file[f"layers/a{number}/vars/0"] = np.zeros(shape, np.float32)
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Creator", "config": sizes}))
        archive.writestr("model.weights.h5", weights.getvalue())
    return stream.getvalue()


# ---------------------------------------------------------------------------------------------- torch files
def torch_files() -> list[bytes]:
    """Return checkpoints of two tensors in torch's zip and single-stream layouts."""
    import numpy as np

    arrays = {"embed.weight": np.arange(20, dtype=np.float32).reshape(5, 4), "head.bias": np.ones(3, np.float32)}
    return [zip_file(*checkpoint_value(arrays)), legacy_file(*checkpoint_value(arrays, legacy=True))]


def creator_inputs() -> list[bytes]:
    """Return the input of one run of CREaTor, a pickle of arrays of numpy and of tensors of torch."""
    import numpy as np

    arrays = {
        "E_ge": np.ones((2, 10), np.int64),
        "E_chp": np.ones((2, 10, 16), np.float32),
        "E_pos": np.array([10, 200]),
        "G_pos": np.array([300]),
        "G_gpos": np.arange(700)[None],
    }
    return [pickle.dumps(arrays, protocol=4), dumps({name: embedded_tensor(array) for name, array in arrays.items()})]
