"""What predicted effects of variants are worth, where they were measured: networks, regressions, and simple rules.

`python benchmarks/variants.py --variants V.tsv.gz --fasta F --gtf G --tpm T --models saved_models/O` scores each SNP of
a table with the folds of a run that held its chromosome out, with regressions on the k-mers of promoters fitted to the
expression of genes on other chromosomes, and with rules that need no expression at all. `--demo` takes the demo
instead: SNPs in planted elements that work, and as many elsewhere in the same promoters.

The table has the columns chrom, pos (1-based), ref, alt, gene, those that `--effect` and `--significant` name (0 or 1)
and, for a second table of a part of the variants, the one of `--part COLUMN=VALUE`. Columns printed: Pearson
correlation and sign agreement of predicted and measured effect of the significant variants (an effect of exactly 0
agrees with no sign), auROC and AUPRC of the absolute effect, significant against measured and not significant; each
with its 95 % interval from a bootstrap over genes.

Rows `chosen on other chromosomes`: for the variants of each group of chromosomes, the regression or rule that has the
highest Pearson correlation (or auROC of the size) on the table's variants of the other groups: what is left of the best
row once it must be chosen without the variants it is judged by.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from core import InputError  # noqa: E402
from core.cli import run_script  # noqa: E402
from lcre.kmers import count_kmers  # noqa: E402

DRAWS = 1000  # of the bootstrap
REACH = 1000  # bp before the TSS that regressions see
PARTS = ((0, 150), (150, 400))  # bp before the TSS, of the regressions
PROMOTER = 400  # bp before the TSS in which k-mers are counted that are common in promoters
AVERAGE = "all of these regressions, averaged"
TABLE = ("chrom", "pos", "ref", "alt", "gene")


# ---------------------------------------------------------------------------------------------- variants
def read_variants(arguments: argparse.Namespace) -> pd.DataFrame:
    """Read the table of SNPs: the columns of `TABLE`, measured, significant (bool) and part (bool)."""
    part, _, value = arguments.part.partition("=")
    wanted = [*TABLE, arguments.effect, arguments.significant, *([part] if part else [])]
    table = pd.read_csv(arguments.variants, sep="\t", dtype=str, keep_default_na=False)
    missing = [name for name in wanted if name not in table]
    if missing:
        raise InputError(
            f"variants: {arguments.variants} has no column {', '.join(missing)} (it has {', '.join(table.columns)})"
        )
    table = table[(table["ref"].str.len() == 1) & (table["alt"].str.len() == 1)].reset_index(drop=True)
    return table[list(TABLE)].assign(
        pos=table["pos"].astype(int),
        measured=table[arguments.effect].astype(float),
        significant=table[arguments.significant] == "1",
        part=(table[part] == value) if part else False,
    )


def draw_demo(genes: pd.DataFrame, codes: np.ndarray, layout) -> pd.DataFrame:
    """Return a SNP in a planted promoter element that works, of each gene that has one, and one beside it.

    What a SNP in an element takes away is the element's effect, at its distance from the TSS.
    """
    from data.make_demo import ELEMENTS

    truth = pd.read_csv(ROOT / "data/demo/truth.csv", comment="#", dtype={"gene_id": str}, keep_default_na=False)
    planted = dict(zip(truth["gene_id"], truth["elements"], strict=True))
    effects = {element.name: element.effect for element in ELEMENTS}
    random, rows = np.random.default_rng(1), []
    for number, gene in enumerate(genes["gene_id"]):
        sites = [site.split(":") for site in planted[gene].split(";") if ":promoter:" in site]
        begins = [(layout.sites["promoter"] + int(site[2]), effects[site[0]] * float(site[4])) for site in sites]
        taken = {column for begin, _ in begins for column in range(begin, begin + 12)}
        rest = [column for column in range(layout.sites["promoter"]) if column not in taken]
        working = [(begin, effect) for begin, effect in begins if abs(effect) > 0.4]
        if working:
            begin, effect = working[int(random.integers(len(working)))]
            rows.append((number, begin + int(random.integers(2, 10)), -effect))
            rows.append((number, int(random.choice(rest)), 0.0))
    frame = pd.DataFrame(rows, columns=["row", "column", "measured"])
    base = codes[frame["row"], frame["column"]]
    frame = frame.assign(base=base, other=(base + random.integers(1, 4, len(frame))) % 4)[base < 4]
    return frame.assign(significant=frame["measured"] != 0, part=False).reset_index(drop=True)


def place_variants(table: pd.DataFrame, genes: pd.DataFrame, codes: np.ndarray, layout) -> pd.DataFrame:
    """Add row (of `codes`), column, base and other (codes on the gene's strand); leaves out what no window shows."""
    row_of = {gene: row for row, gene in enumerate(genes["gene_id"])}
    table = table[table["gene"].isin(row_of)].reset_index(drop=True)
    row = table["gene"].map(row_of).to_numpy()
    forward = (genes["strand"] == "+").to_numpy()[row]
    left, right = (edges[row] for edges in layout.locate(genes["start"].to_numpy(), genes["end"].to_numpy()))
    position = table["pos"].to_numpy() - 1
    column = np.where(forward, position - left, right + layout.region_size - 1 - position)
    base, other = (table[name].map("ACGT".find).to_numpy() for name in ("ref", "alt"))
    table = table.assign(row=row, column=column)
    table["base"], table["other"] = np.where(forward, base, 3 - base), np.where(forward, other, 3 - other)
    table = table[(column >= 0) & (column < layout.region_size)]
    return table[codes[table["row"], table["column"]] == table["base"]].reset_index(drop=True)


# ------------------------------------------------------------------------------------------------ networks
def score_network(
    run, genes: pd.DataFrame, codes: np.ndarray, table: pd.DataFrame, own: str | None, shifts: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the effect of each variant on the log-odds, mean over the folds that held its gene out.

    Args:
        run: a `lcre.trained.Run`.
        genes, codes: with windows, and their base codes.
        table: of the variants.
        own: which genome of the run it is.
        shifts: columns by which the regions of windows are moved to the right; not 0.

    Returns:
        The effects, (variants,), and their means over the windows as they are and moved.
    """
    from afterwards import shift

    from lcre_predict import Scorer, choose_folds, mean_and_sd

    wanted, scorer = choose_folds(genes, run, own, []), Scorer(run)
    row, column = table["row"].to_numpy(), table["column"].to_numpy()
    used, place = np.unique(row, return_inverse=True)
    changed = codes[row]
    shown = np.flatnonzero(codes[row, column] < 4)
    changed[shown, column[shown]] = table["other"].to_numpy()[shown]
    regions, effects = tuple(run.layout.regions.values()), []
    for by in (0, *shifts):
        before, after = (shift(part, regions, by) if by else part for part in (codes[used], changed))
        effects.append(mean_and_sd(scorer.score(after, wanted[row]) - scorer.score(before, wanted[used])[place])[0])
    return effects[0], np.mean(effects, axis=0)


# ------------------------------------------------------------------------------------- regressions, rules
def count_promoters(codes: np.ndarray, k: int, both_strands: bool, parts: Sequence[tuple[int, int]]) -> np.ndarray:
    """Count k-mers in parts of promoters, float32, (genes, parts * k-mers).

    Args:
        codes: of `REACH` bp before the TSS, uint8, (genes, REACH).
        k: length in bp.
        both_strands: a k-mer and its reverse complement are one.
        parts: bp before the TSS.
    """
    counts = [count_kmers(codes[:, REACH - far : REACH - near], k) for near, far in parts]
    if both_strands:
        turned = reverse_numbers(k)
        one = np.flatnonzero(np.arange(4**k) <= turned)
        counts = [np.where(one == turned[one], part[:, one], part[:, one] + part[:, turned[one]]) for part in counts]
    return np.concatenate(counts, axis=1)


def reverse_numbers(k: int) -> np.ndarray:
    """Return the number of each k-mer's reverse complement."""
    digits = np.arange(4**k)[:, None] // 4 ** np.arange(k) % 4  # of the k-mer, the last base first
    return ((3 - digits) * 4 ** np.arange(k - 1, -1, -1)).sum(axis=1)


class Promoters:
    """The promoters of genes without and with variants, and what tells their effects."""

    def __init__(self, table: pd.DataFrame, promoters: np.ndarray, groups: np.ndarray, column: np.ndarray):
        """Take the variants.

        Args:
            table: row and other of each variant.
            promoters: base codes before the TSS, uint8, (genes, REACH).
            groups: the group of chromosomes of each gene, (genes,); -1: never trains.
            column: of the variants in `promoters`, (variants,); negative, or REACH and more: not in it.
        """
        self.promoters, self.groups = promoters, groups
        self.row, self.own = table["row"].to_numpy(), groups[table["row"]]
        self.inside = (column >= 0) & (column < REACH)
        self.changed = promoters[self.row]
        at = np.flatnonzero(self.inside)
        self.changed[at, column[at]] = table["other"].to_numpy()[at]

    def regress(self, target: np.ndarray, kinds: Sequence[tuple], composition: bool = False) -> np.ndarray:
        """Return effects by ridge regressions of expression on k-mers, each fitted without the variant's group.

        Args:
            target: of each gene, (genes,); nan: does not train.
            kinds: k, both_strands and parts of the counts, as `count_promoters` takes them.
            composition: what single bases in bins of 50 bp explain in the genes it is fitted to, of counts and target
                alike, is taken away first.
        """
        from lcre.kmers import solve_ridge

        def count(codes):
            return np.concatenate([count_promoters(codes, *kind) for kind in kinds], axis=1)

        counts = count(self.promoters)
        changes = count(self.changed) - counts[self.row]
        if composition:
            bins = [(near, near + 50) for near in range(0, 400, 50)]
            before, after = (count_promoters(codes, 1, False, bins) for codes in (self.promoters, self.changed))
            bases, changed_bases = np.insert(before, 0, 1, axis=1), np.insert(after - before[self.row], 0, 0, axis=1)
        effects = np.zeros(len(self.row))
        for group in np.unique(self.own):
            train = (self.groups != group) & (self.groups >= 0) & ~np.isnan(target)
            here = self.own == group
            seen, expression, change = counts[train], target[train], changes[here]
            if composition:
                by_base, *_ = np.linalg.lstsq(bases[train], seen, rcond=None)
                of_expression, *_ = np.linalg.lstsq(bases[train], expression, rcond=None)
                seen, expression = seen - bases[train] @ by_base, expression - bases[train] @ of_expression
                change = change - changed_bases[here] @ by_base
            weights, _ = solve_ridge(seen.astype(np.float32), expression, 8.0)
            effects[here] = change @ weights
        return effects

    def enrich(self, k: int) -> np.ndarray:
        """Return by how much the k-mers that a variant makes are commoner in promoters than those it breaks.

        The measure is the sum of the logarithms of k-mer counts, on both strands, over those expected from the single
        bases, counted in promoters of the other groups. No expression is used. The variant itself may lie further up.
        """
        effects = np.zeros(len(self.row))
        for group in np.unique(self.own):
            train = self.promoters[(self.groups != group) & (self.groups >= 0)][:, -PROMOTER:]
            counts = count_kmers(train, k).sum(axis=0, dtype=np.float64)
            counts += counts[reverse_numbers(k)] + 1
            single = np.bincount(train[train < 4], minlength=4)
            single = np.log((single + single[::-1]) / single.sum() / 2)
            expected = sum(single[np.arange(4**k) // 4**place % 4] for place in range(k))
            log_ratio = np.log(counts / counts.sum()) - expected
            here = np.flatnonzero(self.own == group)
            for some in np.array_split(here, -(-len(here) // 500)):
                before, after = count_kmers(self.promoters[self.row[some]], k), count_kmers(self.changed[some], k)
                effects[some] = (after - before) @ log_ratio
        return effects


def read_targets(path: Path, ids: pd.Series) -> dict[str, np.ndarray]:
    """Return what the regressions are fitted to: of each gene the logarithm of its largest and of its mean TPM."""
    from core.names import GENE_BRIDGES, join_names

    table = pd.read_csv(path, index_col=0)
    table = table[[name for name in table if name != "logMaxTPM"]]
    partner = join_names(ids, table.index, GENE_BRIDGES, "GTF and TPM have no gene", [])
    values = table.reindex(ids.map(partner)).to_numpy(float)
    return {"largest TPM": np.log10(values.max(axis=1) + 1), "mean TPM": np.log10(values.mean(axis=1) + 1)}


def try_all(promoters: Promoters, targets: dict[str, np.ndarray], gained: np.ndarray) -> dict[str, np.ndarray]:
    """Return the effects of every regression and rule by its name.

    Args:
        promoters: of the variants.
        targets: of `read_targets`.
        gained: G or C gained by each variant, -1 to 1, (variants,).
    """
    both, three = [(6, True, PARTS)], [(6, True, [*PARTS, (400, REACH)])]
    tries: dict[str, Callable] = {
        "6-mers in two parts, both strands alike": lambda target: promoters.regress(target, both),
        "the same, one strand": lambda target: promoters.regress(target, [(6, False, PARTS)]),
        "the same, one part": lambda target: promoters.regress(target, [(6, True, [(0, 400)])]),
        "the same, three parts": lambda target: promoters.regress(target, three),
        "5-mers in two parts": lambda target: promoters.regress(target, [(5, True, PARTS)]),
        "7-mers in two parts": lambda target: promoters.regress(target, [(7, True, PARTS)]),
        "6-mers in parts of 100 bp": lambda target: promoters.regress(
            target, [(6, True, [(near, near + 100) for near in range(0, 400, 100)])]
        ),
        "6-mers in two parts beyond composition": lambda target: promoters.regress(target, both, True),
        "5-mers in three parts beyond composition": lambda target: promoters.regress(
            target, [(5, *three[0][1:])], True
        ),
        "6-mers in three parts beyond composition": lambda target: promoters.regress(target, three, True),
        "7-mers in three parts beyond composition": lambda target: promoters.regress(
            target, [(7, *three[0][1:])], True
        ),
        "5-mers in two parts beyond composition": lambda target: promoters.regress(target, [(5, True, PARTS)], True),
    }
    effects = {}
    for name, regress in tries.items():
        for what, target in targets.items():
            effects[f"{name}; {what}"] = regress(target)
            print(f"{name}; {what}: done", file=sys.stderr, flush=True)
    scaled = {name: effect / effect.std() for name, effect in effects.items()}
    effects[AVERAGE] = np.mean(list(scaled.values()), axis=0)
    beyond = [effect for name, effect in scaled.items() if "three parts beyond" in name]
    effects["those in three parts beyond composition, averaged"] = np.mean(beyond, axis=0)
    effects |= {f"{k}-mers common in promoters, beyond composition": promoters.enrich(k) for k in (5, 6)}
    effects["G or C gained"] = gained
    return effects


# ------------------------------------------------------------------------------------------------- tables
def measure(table: pd.DataFrame, effect: np.ndarray, times: np.ndarray | None = None) -> list[float]:
    """Return Pearson correlation, sign agreement, auROC and AUPRC of effects of variants.

    Args:
        table: measured and significant of each variant.
        effect: predicted, (variants,).
        times: rows to take, (n,); None: each once.
    """
    from core.scores import auprc, auroc, pearson

    rows = np.arange(len(table)) if times is None else times
    measured, significant = table["measured"].to_numpy()[rows], table["significant"].to_numpy()[rows]
    found = effect[rows]
    sign = np.mean(np.sign(found[significant]) == np.sign(measured[significant]))
    size = np.abs(found)
    areas = auroc(significant.astype(int), size), auprc(significant.astype(int), size)
    return [pearson(found[significant], measured[significant]), float(sign), *areas]


def choose(
    table: pd.DataFrame, effects: dict[str, np.ndarray], group: np.ndarray, by: int
) -> tuple[np.ndarray, list[str]]:
    """Return effects of which each group's come from the try that is best on the others, and the names of the tries.

    Args:
        table: of the variants.
        effects: of each try.
        group: of chromosomes, (variants,).
        by: which figure of `measure` counts.
    """
    chosen, names = np.zeros(len(table)), []
    for one in np.unique(group):
        here, others = group == one, np.flatnonzero(group != one)
        names.append(max(effects, key=lambda name: measure(table, effects[name], others)[by]))
        effect = effects[names[-1]]
        chosen[here] = effect[here] / effect[others].std()
    return chosen, names


def print_tables(title: str, table: pd.DataFrame, effects: dict[str, np.ndarray], tries: Sequence[str], group) -> None:
    """Print the table of some variants, with the tries that are chosen on the variants of other groups, and which."""
    chosen = {}
    for by, what in ((0, "Pearson"), (2, "auROC of size")):
        name = f"chosen on other chromosomes by {what}"
        effects[name], chosen[name] = choose(table, {one: effects[one] for one in tries}, group, by)
    print_table(title, table, effects)
    for name, names in chosen.items():
        print(f"\n{name}, by group: {'; '.join(names)}")


def print_table(title: str, table: pd.DataFrame, effects: dict[str, np.ndarray]) -> None:
    """Print a row for each way of predicting effects."""
    significant = int(table["significant"].sum())
    print(f"\n{title}: {significant:,} significant of {len(table):,}\n")
    print("| effects by | Pearson (95 %) | same sign (95 %) | auROC of size (95 %) | AUPRC of size (95 %) |")
    print("|---|---|---|---|---|", flush=True)
    by_gene = list(table.reset_index(drop=True).groupby("row").indices.values())
    random = np.random.default_rng(1)
    draws = [
        np.concatenate([by_gene[one] for one in random.integers(0, len(by_gene), len(by_gene))]) for _ in range(DRAWS)
    ]
    for name, effect in effects.items():
        drawn = np.array([measure(table, effect, rows) for rows in draws])
        low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
        values = measure(table, effect)
        cells = [f"{value:.3f} ({a:.3f} to {b:.3f})" for value, a, b in zip(values, low, high, strict=True)]
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


def run(argv: Sequence[str]) -> None:
    """Score the variants and print the tables."""
    from core.genome import open_genome
    from lcre.trained import load_run
    from lcre_classifier import WindowLayout
    from lcre_predict import read_genes

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=Path, help="table of SNPs with measured effects, tab-separated")
    parser.add_argument("--demo", action="store_true", help="SNPs in planted elements of the demo instead")
    for name in ("--fasta", "--gtf", "--tpm"):
        parser.add_argument(name, type=Path, required=True, help="as for lcre_classifier.py")
    parser.add_argument(
        "--models", nargs="+", required=True, metavar="RUN", help="finished runs; the first says groups"
    )
    parser.add_argument("--shifts", nargs="+", type=int, default=[], metavar="BP", help="of windows, to average over")
    parser.add_argument("--effect", default="log2_fold_change", help="column of the measured effect [%(default)s]")
    parser.add_argument("--significant", default="label", help="column of 0 and 1 [%(default)s]")
    parser.add_argument("--part", default="", metavar="COLUMN=VALUE", help="variants of a table of their own")
    arguments = parser.parse_args(argv)
    if bool(arguments.variants) == arguments.demo:
        parser.error("give --variants or --demo")

    if arguments.variants:  # what is wrong with it is said before anything is scored
        variants = read_variants(arguments)
    effects = {}
    for number, prefix in enumerate(arguments.models):
        opened = load_run(Path(prefix), WindowLayout.of)
        with open_genome(arguments.fasta) as genome:
            genes, codes, _, _ = read_genes(genome, arguments.gtf, opened)
        own = opened.find_own(arguments.fasta, arguments.gtf)
        if not number:
            if arguments.demo:
                table = draw_demo(genes, codes, opened.layout)
            else:
                table = place_variants(variants, genes, codes, opened.layout)
            held_out = opened.find_held_out(genes, own or "")
            groups = np.where(held_out.any(axis=1), held_out.argmax(axis=1), -1)
            table = table[groups[table["row"]] >= 0].reset_index(drop=True)
            tss = opened.layout.sites["promoter"]
            first = genes, codes
        alone, averaged = score_network(opened, genes, codes, table, own, arguments.shifts)
        effects[f"network of {prefix}"] = alone
        if arguments.shifts:
            effects[f"network of {prefix}, averaged over shifts"] = averaged
    column, row = table["column"].to_numpy(), table["row"].to_numpy()
    promoters = np.full((len(first[0]), REACH), 4, np.uint8)
    promoters[:, -min(REACH, tss) :] = first[1][:, max(tss - REACH, 0) : tss]
    strong = [np.isin(table[name], (1, 2)).astype(int) for name in ("base", "other")]
    tries = try_all(
        Promoters(table, promoters, groups, column - tss + REACH),
        read_targets(arguments.tpm, first[0]["gene_id"]),
        (strong[1] - strong[0]).astype(float),
    )
    effects |= tries
    effects["distance to the TSS (nearer is larger)"] = -np.abs(column - tss).astype(float) + codes.shape[1]
    scaled = [effect / effect.std() for name, effect in effects.items() if name.startswith(("network", AVERAGE))]
    effects["networks and regressions, averaged"] = np.mean(scaled, axis=0)
    print_tables("All variants", table, dict(effects), list(tries), groups[row])
    if table["part"].any():
        part = table["part"].to_numpy()
        some = {name: effect[part] for name, effect in effects.items()}
        print_tables(
            f"Those of {arguments.part}", table[part].reset_index(drop=True), some, list(tries), groups[row][part]
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script(Path(__file__).name, run, argv, "rows that were printed are whole")


if __name__ == "__main__":
    sys.exit(main())
