"""Whether percentiles of effects are uniform where the variants are random substitutions themselves.

`python benchmarks/percentiles.py saved_models/demo --fasta data/demo/demo.fa.gz --gtf data/demo/demo.gtf.gz` draws
substitutions in visible columns of the run's windows, scores them as a VCF with lcre_predict.py, and takes the rows of
the genes they were drawn for. They are others than those that lcre_predict.py ranks them among, drawn in another way:
gene and column at random, and again where the column shows no base.

For each region, and for all together, it prints the Kolmogorov-Smirnov distance from the uniform distribution and its
p-value. That test takes the distribution for exact; the reference is a sample of 2,000 itself, which the second p-value
accounts for, as the test of two samples does.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.cli import run_script  # noqa: E402

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n"


def draw_variants(run, fasta: Path, gtf: Path, count: int, seed: int) -> list[tuple[str, str, int, str, str]]:
    """Return random substitutions that windows show: gene, chromosome, POS, REF, ALT."""
    import numpy as np

    from core.genome import open_genome
    from lcre_predict import read_genes

    random, drawn = np.random.default_rng(seed), []
    with open_genome(fasta) as genome:
        genes, codes, partner, _ = read_genes(genome, gtf, run)
        size, columns = run.layout.region_size, run.layout.columns
        while len(drawn) < count:
            number, column = int(random.integers(len(genes))), int(random.integers(columns))
            if codes[number, column] > 3:
                continue
            gene = genes.iloc[number]
            left, right = run.layout.locate(gene["start"], gene["end"])
            along = column if gene["strand"] == "+" else columns - 1 - column  # of the window as the chromosome runs
            position = left + along if along < size else right + along - (columns - size)
            base = int(genome.piece(partner[gene["chromosome"]], position, position + 1)[0])
            alternative = "ACGT"[(base + int(random.integers(1, 4))) % 4]
            name = partner[gene["chromosome"]]
            drawn.append((gene["gene_id"], name, int(position) + 1, "ACGT"[base], alternative))
    return drawn


def measure(prefix: Path, fasta: Path, gtf: Path, count: int, seed: int) -> None:
    """Print how far the percentiles of random substitutions are from uniform ones."""
    import pandas as pd
    from scipy.stats import kstest, kstwo

    import lcre_predict
    from lcre.trained import load_run
    from lcre.variant_effects import SUBSTITUTIONS
    from lcre_classifier import WindowLayout

    drawn = draw_variants(load_run(prefix, WindowLayout.of), fasta, gtf, count, seed)
    with tempfile.TemporaryDirectory() as folder:
        vcf, out = Path(folder) / "v.vcf", Path(folder) / "v.csv"
        vcf.write_text(HEADER + "".join(f"{name}\t{at}\t.\t{ref}\t{alt}\n" for _, name, at, ref, alt in sorted(drawn)))
        files = ["--fasta", str(fasta), "--gtf", str(gtf), "--vcf", str(vcf), "--out", str(out)]
        began = time.perf_counter()
        if status := lcre_predict.main(["--models", str(prefix), *files]):
            raise SystemExit(status)
        print(f"{time.perf_counter() - began:.0f} s")
        found = pd.read_csv(out, dtype={"gene_id": str}).drop_duplicates(["gene_id", "variant"])
    wanted = pd.DataFrame(
        [(gene, f"{name}:{at}:{ref}:{alt}") for gene, name, at, ref, alt in drawn], columns=["gene_id", "variant"]
    )
    found = wanted.merge(found, on=["gene_id", "variant"], validate="many_to_one")
    assert len(found) == count
    print(
        "| region | variants | distance | p | p, the reference a sample too | above 95 | above 99 |\n"
        + "|---" * 7
        + "|"
    )
    for region, part in [*found.groupby("region"), ("all", found)]:
        test = kstest(part["percentile"] / 100, "uniform")
        sizes = found["region"].value_counts() if region == "all" else part["region"].value_counts()
        variance = 1 / len(part) + ((sizes / len(part)) ** 2 / SUBSTITUTIONS).sum()  # of a fraction, by p (1 - p)
        both = kstwo.sf(test.statistic, round(1 / variance))
        above = " | ".join(f"{(part['percentile'] > level).mean():.1%}" for level in (95, 99))
        print(f"| {region} | {len(part):,} | {test.statistic:.4f} | {test.pvalue:.3f} | {both:.3f} | {above} |")


def run(argv: Sequence[str]) -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="a finished run")
    parser.add_argument("--fasta", type=Path, required=True)
    parser.add_argument("--gtf", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000, help="random substitutions")
    parser.add_argument("--seed", type=int, default=2, help="of the draws")
    arguments = parser.parse_args(argv)
    measure(arguments.models, arguments.fasta, arguments.gtf, arguments.count, arguments.seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    return run_script("percentiles.py", run, argv, "nothing was written")


if __name__ == "__main__":
    sys.exit(main())
