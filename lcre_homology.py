"""Finds homologous genes: writes the genes to score, and measures what homologs did to the score of a finished run.

  python lcre_homology.py --proteins pep.fa.gz --gtf G --out validation_genes.pickle --key sol
      searches all proteins in all and writes the genes that have no homolog on another chromosome: what
      lcre_classifier.py takes as --validation-genes. Families of homologous genes go to families.csv beside it
  python lcre_homology.py --fasta F --gtf G --out validation_genes.csv
      the same without a file of proteins: the CDS lines of the annotation are translated
  python lcre_homology.py --hits hits.tsv --gtf G --out validation_genes.csv
      the same with the table of a search that is finished (outfmt 6 of BLAST or DIAMOND)
  python lcre_homology.py --audit saved_models/O --hits hits.tsv --gtf G
      for each scored gene of a run its nearest gene in training, and the auROC by how near that is; instead of --hits,
      --proteins and --gtf are searched first, and --fasta and --gtf compare the k-mers of the windows

Homologous are genes whose proteins align with an e-value below 0.001 and a bit score of at least 50 (Peleke et al.,
Nature Communications 15, 3488, 2024). The search takes DIAMOND, or BLAST where DIAMOND is not installed.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from core import InputError, show_value
from core.cli import OneLineParser, run_script
from core.files import check_file
from core.progress import interrupt_on_sigterm


def find_pairs(arguments: argparse.Namespace, genes, names):
    """Return homologous pairs of genes and which genes were searched, from what the command line gives.

    Args:
        arguments: hits, proteins, fasta, gtf, save_hits and threads.
        genes: of `core.annotation.read_annotation`.
        names: the `lcre.homology.GeneNames` of them.

    Returns:
        Pairs as `lcre.homology.read_hits` gives them, and booleans, (genes,).
    """
    import numpy as np

    from lcre import homology

    if arguments.hits:
        pairs, notes = homology.read_hits(arguments.hits, names)
        print_notes(notes)
        return pairs, genes["coding"].to_numpy(bool)
    homology.find_program()  # what is missing is said before a genome is read
    if arguments.proteins:
        proteins, notes = homology.read_proteins(arguments.proteins, names)
    else:
        proteins, notes = homology.translate_genes(arguments.fasta, arguments.gtf, genes)
    print_notes(notes)
    with tempfile.TemporaryDirectory(prefix="lcre-") as folder:
        table = homology.search_all(proteins, arguments.threads, Path(folder))
        pairs, _ = homology.read_hits(table)
        if arguments.save_hits:
            homology.save_hits(table, genes["gene_id"].tolist(), arguments.save_hits)
            print(f"{show_value(arguments.save_hits, 1000)}: all hits, by gene")
    searched = np.zeros(len(genes), bool)
    searched[list(proteins)] = True
    return pairs, searched & genes["coding"].to_numpy(bool)


def print_notes(notes: list[str]) -> None:
    """Print what is worth knowing about the inputs."""
    print("".join(f"note: {note}\n" for note in notes), end="", flush=True)


def write_lists(arguments: argparse.Namespace) -> None:
    """Write the genes without homologs on other chromosomes, and the families of all coding genes."""
    from core.annotation import read_annotation
    from core.coding import read_products
    from lcre import homology

    homology.check_list_file(arguments.out, arguments.key)
    families = arguments.families or arguments.out.with_name("families.csv")
    homology.check_place(families, "families")
    genes, notes = read_annotation(arguments.gtf)
    print_notes(notes)
    ids = genes["gene_id"].to_numpy()
    names = homology.GeneNames(ids, read_products(arguments.gtf, ids))
    homology.refuse_other_families(families, names)
    pairs, searched = find_pairs(arguments, genes, names)
    chromosomes, coding = genes["chromosome"].to_numpy(), genes["coding"].to_numpy(bool)
    kept = homology.without_homologs(pairs, chromosomes, searched)
    if not kept.any():
        raise InputError(
            f"out: every one of {searched.sum():,} genes has homologs on other chromosomes; is each gene once in the "
            "annotation, and each protein once in the search?"
        )
    family = homology.number_families(pairs, len(genes))
    homology.write_families(families, ids[coding], family[coding])
    homology.write_gene_list(arguments.out, ids[kept], arguments.key)
    print(
        f"{show_value(families, 1000)}: {coding.sum():,} coding genes in {len(set(family[coding])):,} families, the "
        f"largest of {homology.largest(family[coding]):,}"
    )
    print(
        f"{show_value(arguments.out, 1000)}: {kept.sum():,} of {searched.sum():,} genes have no homolog on another "
        "chromosome; give them to lcre_classifier.py as --validation-genes"
    )


def audit_run(arguments: argparse.Namespace) -> None:
    """Write the nearest training gene of each scored gene of a run and the auROC by similarity, and the page again."""
    from lcre import audit
    from lcre.hold_out import way_of
    from lcre.report import read_run, write_report

    trained = read_run(arguments.audit)
    if way_of(trained.info["settings"]) == "species" and arguments.gtf:
        raise InputError(
            f"audit: {arguments.audit} holds out species, and the annotation is of one; search the proteins of all "
            "species together, name genes as in O_predictions.csv (yeast:YAL001C), and give the table as --hits only"
        )
    print_notes([f"{len(trained.scored):,} scored genes of {show_value(arguments.audit, 1000)}"])
    compare = compare_windows if arguments.fasta else compare_proteins
    pairs, place, measure = compare(arguments, trained)
    scored = trained.scored[["gene_id", "fold", "target", "probability"]].astype({"target": int})
    found = audit.find_nearest(arguments.audit, scored, place, pairs, measure)
    table = audit.tabulate(found, measure)
    paths = audit.write_audit(arguments.audit, found, table)
    print(f"\n{audit.show_table(table)}\n\n{audit.describe(table)}\n")
    print(f"{' and '.join(show_value(path, 1000) for path in paths)} are written")
    print(f"{show_value(write_report(arguments.audit), 1000)} shows it")


def compare_proteins(arguments: argparse.Namespace, trained) -> tuple:
    """Return homologous pairs of genes, gene id -> number in them of the genes that were searched, and the measure."""
    from core.annotation import read_annotation
    from core.coding import read_products
    from lcre import audit, homology

    measure, known = audit.MEASURES["identity"], trained.genes["gene_id"]
    if not arguments.gtf:  # ids of genes
        names = homology.GeneNames(known.tolist(), {})
        pairs, notes = homology.read_hits(arguments.hits, names)
        print_notes(notes)
        return pairs, names.place, measure
    genes, notes = read_annotation(arguments.gtf, known)
    print_notes(notes)
    ids = genes["gene_id"].to_numpy()
    names = homology.GeneNames(ids, read_products(arguments.gtf, ids))
    pairs, searched = find_pairs(arguments, genes, names)
    return pairs, {gene: place for gene, place in names.place.items() if searched[place]}, measure


def compare_windows(arguments: argparse.Namespace, trained) -> tuple:
    """Return pairs of genes whose windows share k-mers, gene id -> number in them, and the measure."""
    from types import SimpleNamespace

    from core.annotation import read_annotation
    from core.genome import open_genome
    from core.names import CHROMOSOME_BRIDGES, join_names
    from lcre import audit
    from lcre_classifier import WindowLayout, cut_genome

    sizes = trained.info["settings"]
    missing = [name for name in ("UPSTREAM", "DOWNSTREAM", "PADDING") if name not in sizes]
    if missing:
        raise InputError(
            f"audit: {arguments.audit}_run.json does not say the {', '.join(missing)} of the run's windows"
        )
    genes, notes = read_annotation(arguments.gtf, trained.genes["gene_id"])
    with open_genome(arguments.fasta) as genome:
        what = "GTF and FASTA have no chromosome"
        partner = join_names(genes["chromosome"], genome.lengths, CHROMOSOME_BRIDGES, what, notes)
        windows, _ = cut_genome(genome, genes, partner, WindowLayout.of(SimpleNamespace(**sizes)))
    ids = genes["gene_id"].to_numpy()[genes["window_fits"]]
    print_notes([*notes, f"the windows of {len(ids):,} genes are compared by their 12-mers"])
    place = {gene: number for number, gene in enumerate(ids)}
    return audit.similar_windows(windows, range(len(ids))), place, audit.MEASURES["similarity"]


def run(argv: Sequence[str]) -> None:
    """Do what the command line asks for."""
    arguments = parse(argv)
    interrupt_on_sigterm()
    for name in ("proteins", "gtf", "fasta", "hits"):
        path = getattr(arguments, name)
        if path:
            check_file(path, name.upper() if name in ("gtf", "fasta") else name)
    refuse_inputs_as_outputs(arguments)
    action = write_lists if arguments.out else audit_run
    action(arguments)


def refuse_inputs_as_outputs(arguments: argparse.Namespace) -> None:
    """Raise InputError where a file that is read would be overwritten, or one that is written by another."""
    from lcre.homology import check_place

    inputs = {name: getattr(arguments, name) for name in ("proteins", "gtf", "fasta", "hits")}
    inputs = {path.resolve(): name for name, path in inputs.items() if path}
    for name in ("out", "families", "save_hits"):
        path = getattr(arguments, name)
        if path is None:
            continue
        check_place(path, name.replace("_", "-"))
        other = inputs.setdefault(path.resolve(), name)
        if other != name:
            raise InputError(f"{name}: {path} would take the place of --{other}; give another name")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return what the command line asks for, or leave with one line and exit status 2."""
    from core.device import usable_cores
    from lcre_classifier import __version__

    parser = OneLineParser(
        prog="lcre_homology.py",
        description=(__doc__ or "").strip(),
        epilog="Exit status: 0 done, 2 the input is wrong (one line says what), 130 interrupted; in both earlier files "
        "are as they were.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--gtf", type=Path, metavar="FILE", help="annotation, GTF or GFF3, plain or gzip")
    parser.add_argument("--proteins", type=Path, metavar="FILE", help="FASTA of its proteins, plain or gzip")
    parser.add_argument("--fasta", type=Path, metavar="FILE", help="genome, plain, gzip or bgzip")
    parser.add_argument("--hits", type=Path, metavar="FILE", help="table of a finished search, outfmt 6, plain or gzip")
    parser.add_argument("--out", type=Path, metavar="FILE", help="genes without homologs: .pickle, .csv or .txt")
    parser.add_argument("--key", metavar="TEXT", help="name of the species in a .pickle, such as sol")
    parser.add_argument("--families", type=Path, metavar="FILE", help="CSV of families [families.csv beside --out]")
    parser.add_argument("--save-hits", type=Path, metavar="FILE", help="keep the table of the search, .tsv or .tsv.gz")
    parser.add_argument("--audit", type=Path, metavar="RUN", help="a finished run, as saved_models/demo")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N", help="to search on [%(default)s]")
    parser.add_argument("--version", action="version", version=f"lcre_homology {__version__}")
    arguments = parser.parse_args(argv)
    sources = [name for name in ("proteins", "fasta", "hits") if getattr(arguments, name)]
    if bool(arguments.out) == bool(arguments.audit):
        both = "; these are two commands" if arguments.out else ""
        parser.error(f"give --out, to write genes without homologs, or --audit, to measure a finished run{both}")
    if len(sources) != 1:
        given = f", not {' and '.join(f'--{name}' for name in sources)}" if sources else ""
        parser.error(f"give one of --proteins, --fasta and --hits{given}")
    if not arguments.gtf and (arguments.out or sources != ["hits"]):
        parser.error(f"--{'out' if arguments.out else sources[0]} takes --gtf, the annotation, as well")
    if arguments.key and (arguments.audit or arguments.out.suffix in (".csv", ".txt")):
        parser.error("--key is the name of the species in a .pickle; give --out a name such as validation_genes.pickle")
    if arguments.save_hits and arguments.hits:
        parser.error("--save-hits keeps the hits of a search; --hits are there already, leave --save-hits out")
    if arguments.audit and (arguments.families or (arguments.save_hits and not arguments.proteins)):
        parser.error("--audit writes no families, and hits only of --proteins; leave --families and --save-hits out")
    if arguments.threads < 1:
        parser.error("--threads is 1 or more")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script("lcre_homology.py", run, argv, "earlier files are as they were")


if __name__ == "__main__":
    sys.exit(main())
