"""Predicts every gene of a store in every cell, and scores every link between a gene and a cCRE in its reach.

A model that was trained on a store is used as it was trained: cCREs of a region attend to each other within reach.
With published weights each gene has its cCREs for itself, all of which attend to each other, as published; that takes
longer.
"""

import contextlib
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core import PATH_LENGTH, InputError, show_value
from core.files import escape_cell, escape_names, file_names, hash_file, make_folder, replacing, write_json
from core.memory import require_memory
from core.progress import Progress, show_duration
from creator import CHANNELS, __version__
from creator.baselines import mean_signal
from creator.batches import Region, make_regions, reach_mask
from creator.contacts import DISTANCES, Area, ContactFiles, find_area
from creator.evaluation import RECORD, TABLE, read_training
from creator.store import Store, differences, open_store
from creator.training import check_names

if TYPE_CHECKING:
    from creator.network import Creator

LINKS, ARCS = "links.tsv", "links.bedpe"
VECTORS = "vectors_"  # begins the name of a file, before that of a cell
NEAREST = 1000  # bp, the least distance by which attention is adjusted
NO_PART = ("genes",)  # options of a store in which it may differ from that of the training


@dataclass(frozen=True)
class Plan:
    """What is to be predicted of a store.

    Attributes:
        store: open.
        cells: indices of those that are predicted.
        links: write links.tsv and links.bedpe.
        ablation: give each link its ablation score, which costs a row of stage 2 for each.
        arcs: links of each gene and cell in links.bedpe, those of highest adjusted attention; 0: all.
        area: whose contacts are written; None: none.
        vectors: write the vector of each cCRE.
    """

    store: Store
    cells: list[int]
    links: bool = True
    ablation: bool = False
    arcs: int = 5
    area: Area | None = None
    vectors: bool = False


def plan_prediction(
    store_path: Path, cells: Sequence[str] = (), contacts: str | None = None, arcs: int = 5, **choices: bool
) -> Plan:
    """Open a store and check what needs no model, before TensorFlow is imported.

    Args:
        store_path: of `prepare`.
        cells: names of those that are predicted; none: all.
        contacts: chromosome:start-end; None: no contacts.
        arcs: as in `Plan`.
        **choices: links, ablation and vectors, as in `Plan`.

    Raises:
        InputError: no store, a cell that is not there, a number or a region that cannot be.
    """
    store = open_store(store_path)
    check_names(cells, store.cells, "--cells", "cell")
    if arcs < 0:
        raise InputError(f"--arcs: {arcs} is below 0; give how many links of a gene to draw, or 0 for all")
    notes: list[str] = []
    area = None if contacts is None else find_area(store, contacts, notes)
    for sentence in notes:
        print(sentence)
    chosen = [number for number, cell in enumerate(store.cells) if not cells or cell in cells]
    return Plan(store, chosen, arcs=arcs, area=area, **choices)


def predict(plan: Plan, model: "Creator", model_path: Path, out: Path) -> None:
    """Write expression.tsv, predict.json, and the links, contacts and vectors that are planned, into a folder.

    All files get their names at the end, and those of an earlier prediction go.

    Args:
        plan: of `plan_prediction`.
        model: the network.
        model_path: its file, which is named in the record.
        out: folder, made if need be.

    Raises:
        InputError: the store does not fit the model, there is not enough memory, `out` cannot be written.
    """
    started = time.monotonic()
    store, name = plan.store, show_value(out, PATH_LENGTH)
    check_fit(store, model.training, show_value(model_path, PATH_LENGTH))
    regions = make_regions(store, store.chromosomes, model.training["batch_elements"]) if model.training else None
    require_region_memory(plan, model, regions)
    predicted = np.full((len(store.gene_id), len(store.cells)), np.nan, np.float32)
    progress = Progress(len(plan.cells) * len(store.element_start))
    with contextlib.ExitStack() as stack:
        contacts = ContactFiles(store, model, plan.area, out, stack) if plan.area else None
        make_folder(out)
        links = stack.enter_context(LinkFiles(store, out, plan.ablation, plan.arcs)) if plan.links else None
        for cell in plan.cells:
            with contextlib.ExitStack() as of_cell:
                if plan.vectors:
                    path = stack.enter_context(replacing(out / f"{VECTORS}{file_names(store.cells)[cell]}.npz"))
                    append = of_cell.enter_context(writing_vectors(path, store, model.sizes["width"]))
                for number, elements, vectors in encode_cell(store, model, cell, progress):
                    if plan.vectors:
                        append(vectors)
                    if contacts and number == plan.area.chromosome:
                        contacts.add(cell, vectors[contacts.related - elements[0]])
                    for region, *found in read_genes(
                        store, model, cell, number, elements[0], vectors, regions, plan.ablation
                    ):
                        predicted[region.genes, cell] = found[0]
                        if links:
                            links.add(region, cell, *found[1:])
        if contacts:
            contacts.finish()
        if not np.isfinite(predicted[np.diff(store.reach_indptr) > 0][:, plan.cells]).all():
            raise InputError(f"{name}: the network gives numbers that are not finite; its weights are too large")
        for file in former_files(out):  # a part of an earlier prediction must not stay beside this one
            file.unlink(missing_ok=True)
    table = expression_table(store, model.training, predicted, plan.cells)
    with replacing(out / TABLE) as temporary:
        escape_names(table).to_csv(temporary, sep="\t", index=False, float_format="%.6g")
    empty = int((np.diff(store.reach_indptr) == 0).sum())
    write_json(
        out / RECORD,
        {
            "creator_version": __version__,
            "store": str(store.path.resolve()),
            "store_identity": store.identity(),
            "model": str(model_path.resolve()),
            "model_sha256": hash_file(model_path),
            "cells": [store.cells[cell] for cell in plan.cells],
            "genes": len(store.gene_id),
            "genes_without_ccre": empty,
            **{key: value for key, value in (model.training or {}).items() if key != "batch_elements"},
        },
    )
    print(
        f"{name}: {len(table):,} predictions ({len(store.gene_id):,} genes, cells: {len(plan.cells)})"
        + (f", {links.count:,} links" if links else "")
        + (f"; {contacts.describe()}" if contacts else "")
        + (f"; {empty:,} genes have no cCRE in reach and are empty" if empty else "")
        + f"; {show_duration(time.monotonic() - started)}"
    )


def require_region_memory(plan: Plan, model: "Creator", regions: Sequence[Region] | None) -> None:
    """Raise InputError where the largest region needs more memory than is free.

    Args:
        plan: what is predicted.
        model: the network.
        regions: as it was trained; None: each gene is one.
    """
    from creator.network import region_memory

    store, elements, genes = plan.store, np.diff(plan.store.reach_indptr), 1
    advice = "prepare the store with a smaller --reach or with --max-elements"
    if regions is not None:
        elements, genes = [len(region.elements) for region in regions], max(len(region.genes) for region in regions)
        advice = "train with smaller --batch-elements, or on a store of a smaller --reach or with --max-elements"
    count, length = int(max(elements)), store.options["width"]
    on_chromosome = int(np.bincount(store.element_chromosome).max())
    needed = region_memory(model.sizes, len(store.tracks), on_chromosome, length, count, genes)
    needed += 200 * len(store.gene_id) * len(plan.cells)  # of the table
    require_memory(needed, f"regions of up to {count:,} cCREs of {length:,} bases and {genes:,} genes take", advice)


def former_files(out: Path) -> list[Path]:
    """Return what an earlier prediction may have left in a folder."""
    patterns = ("contacts_*.npz", "contacts_*.svg", f"{VECTORS}*.npz")
    return [out / name for name in (RECORD, TABLE, LINKS, ARCS, DISTANCES)] + [
        path for pattern in patterns for path in out.glob(pattern)
    ]


@contextlib.contextmanager
def writing_vectors(path: Path, store: Store, width: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Write name, chromosome, start, end and vector of each cCRE as .npz; give the function that appends vectors.

    Args:
        path: of the file.
        store: of the cCREs.
        width: numbers of a vector.
    """
    columns = {
        "name": np.char.decode(store.element_name, "utf-8"),
        "chromosome": np.array(store.chromosomes)[store.element_chromosome],
        "start": np.asarray(store.element_start),
        "end": np.asarray(store.element_end),
    }
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(store.element_start), width)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        with archive.open("vector.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            yield lambda rows: file.write(np.ascontiguousarray(rows, "<f4").data.cast("B"))


def check_fit(store: Store, training: Mapping | None, name: str) -> None:
    """Raise InputError where a model was not made for such a store.

    Args:
        store: of the prediction.
        training: what the model was trained on, `Creator.training`.
        name: of the model's file.
    """
    if training is None:
        if store.tracks != CHANNELS:
            raise InputError(
                f"{name}: takes the {len(CHANNELS)} published tracks, the store has "
                f"{show_value(','.join(store.tracks))}; prepare a store without --tracks, or train a model on this one"
            )
        return
    options, others = (
        {key: value for key, value in each.items() if key not in NO_PART}
        for each in (store.options, training["options"])
    )
    if different := differences(options, others, "store", "model"):
        raise InputError(
            f"{name}: was trained on a store of other options: {'; '.join(different[:4])}; prepare the store with the "
            "model's options, or train a model on this one"
        )


# ------------------------------------------------------------------------------------------------- prediction
def encode_cell(
    store: Store, model: "Creator", cell: int, progress: Progress
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Encode the cCREs of a cell, chromosome by chromosome.

    Args:
        store, model: which belong together.
        cell: its index.
        progress: counts cCREs.

    Yields:
        Index of a chromosome, its cCREs, (n,), consecutive indices, and their vectors, (n, width).
    """
    from creator.network import MOST_READ, element_vectors

    for number, name in enumerate(store.chromosomes):
        on_it = np.flatnonzero(store.element_chromosome == number)
        if not len(on_it):
            continue
        parts = np.array_split(on_it, -(-len(on_it) // MOST_READ))
        vectors = [element_vectors(model, store.tokens[part], store.read_signal(cell, part)) for part in parts]
        progress.step(f"cell {show_value(store.cells[cell])}  chromosome {show_value(name)}", len(on_it))
        yield number, on_it, np.concatenate(vectors)


def read_genes(
    store: Store,
    model: "Creator",
    cell: int,
    number: int,
    first: int,
    vectors: np.ndarray,
    regions: Sequence[Region] | None,
    ablation: bool,
) -> Iterator[tuple[Region, np.ndarray, np.ndarray, np.ndarray | None]]:
    """Predict the genes of a chromosome in a cell.

    Args:
        store, model: which belong together.
        cell: index of the cell.
        number: index of the chromosome.
        first: index of its first cCRE.
        vectors: of its cCREs in the cell, (n, width).
        regions: as the model was trained; None: as published, each gene for itself.
        ablation: score links by it, too.

    Yields:
        A region, expression of its genes, (G,), attention averaged over layers and heads, (G, N), and the drop in
        expression without each cCRE in reach, (G, N) with nan out of reach, or None.
    """
    from creator.network import RelatedElements, gene_vectors, promoter_vectors

    promoter = bool(model.training and model.training.get("promoter"))
    if regions is None:
        of_chromosome = (gene_region(store, gene) for gene in np.flatnonzero(store.gene_chromosome == number))
        of_chromosome = (region for region in of_chromosome if len(region.elements))
    else:
        of_chromosome = (region for region in regions if store.gene_chromosome[region.genes[0]] == number)
    for region in of_chromosome:
        tss = np.asarray(store.gene_tss[region.genes])
        if promoter:
            tokens, signal = store.gene_tokens[region.genes], store.read_gene_signal(cell, region.genes)
            genes = promoter_vectors(model, tokens, signal)
        else:
            windows = np.stack([store.gene_window(gene) for gene in region.genes])
            genes = gene_vectors(model, tss, windows)
        positions = store.element_position(region.elements)
        elements = RelatedElements(model, vectors[region.elements - first], positions)
        yield region, *read_region(elements, genes, tss, reach_mask(store, region), ablation)


def gene_region(store: Store, gene: int) -> Region:
    """Return a gene with the cCREs in its reach."""
    return Region(np.array([gene]), np.asarray(store.in_reach(gene), np.int64))


def read_region(elements, genes: np.ndarray, tss: np.ndarray, allowed: np.ndarray, ablation: bool):
    """Return expression, (G,), mean attention, (G, N), and ablation scores, (G, N), or None, of a region's genes.

    Args:
        elements: `creator.network.RelatedElements` of the region.
        genes: vectors, (G, width).
        tss: bp, (G,).
        allowed: cCREs in reach of each gene, (G, N).
        ablation: score by it.
    """
    from creator.network import ROWS_AT_A_TIME

    predicted, attention = [], []
    for start in range(0, len(genes), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        values, weights = elements.read(genes[part], tss[part], in_reach=allowed[part])
        predicted.append(values)
        attention.append(weights.mean(axis=(1, 2)))
    predicted, attention = np.concatenate(predicted), np.concatenate(attention)
    if not ablation:
        return predicted, attention, None
    drops = np.full(allowed.shape, np.nan, np.float32)
    of_gene, of_element = np.nonzero(allowed)
    for start in range(0, len(of_gene), ROWS_AT_A_TIME):
        gene, element = of_gene[start : start + ROWS_AT_A_TIME], of_element[start : start + ROWS_AT_A_TIME]
        without, _ = elements.read(genes[gene], tss[gene], forbidden=element, in_reach=allowed[gene])
        drops[gene, element] = predicted[gene] - without
    return predicted, attention, drops


# ------------------------------------------------------------------------------------------------------ tables
def expression_table(
    store: Store, training: Mapping | None, predicted: np.ndarray, cells: Sequence[int]
) -> pd.DataFrame:
    """Return one row for each gene and cell; what is not predicted or not measured is empty.

    Args:
        store: of the genes.
        training: `creator.training.describe_training`; None: not known.
        predicted: log1p of TPM, (genes, cells of the store), nan where there is none.
        cells: indices of those in the table.
    """
    chromosome = np.array(store.chromosomes, dtype=object)[store.gene_chromosome]
    known, frames = read_training(training or {}), []
    for cell in cells:
        name = store.cells[cell]
        splits = {each: known.split(name, each) if known else "" for each in store.chromosomes}
        frames.append(
            pd.DataFrame(
                {
                    "gene_id": decode(store.gene_id),
                    "chromosome": chromosome,
                    "tss": store.gene_tss,
                    "strand": np.where(store.gene_strand > 0, "+", "-"),
                    "cell": name,
                    "n_ccre": np.diff(store.reach_indptr),
                    "predicted": predicted[:, cell],
                    "observed": np.log1p(store.expression[:, cell]),
                    "split": [splits[each] for each in chromosome],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def decode(names: np.ndarray) -> np.ndarray:
    """Return names of a store as text."""
    return np.array([name.decode() for name in names.tolist()], dtype=object)


class LinkFiles:
    """Writes links.tsv and links.bedpe region by region; both appear when they are whole.

    Args:
        store: of genes and cCREs.
        out: the folder.
        ablation: write a column for it.
        arcs: links of each gene and cell in links.bedpe; 0: all.
    """

    def __init__(self, store: Store, out: Path, ablation: bool, arcs: int):
        self.store, self.out, self.ablation, self.arcs, self.count = store, out, ablation, arcs, 0
        self.genes, self.elements = decode(store.gene_id), decode(store.element_name)
        self.cells_of_genes, self.cells_of_elements = (
            np.array([escape_cell(name) for name in names], dtype=object) for names in (self.genes, self.elements)
        )

    def __enter__(self) -> "LinkFiles":
        """Open both files under temporary names."""
        with contextlib.ExitStack() as stack:
            paths = [stack.enter_context(replacing(self.out / name)) for name in (LINKS, ARCS)]
            self.table, self.bedpe = (
                stack.enter_context(open(path, "w", encoding="utf-8", newline="")) for path in paths
            )
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error) -> None:
        """Close both files and give them their names, or remove them after an error."""
        self.stack.__exit__(*error)

    def add(self, region: Region, cell: int, attention: np.ndarray, drops: np.ndarray | None) -> None:
        """Write the links of a region in a cell.

        Args:
            region: its genes and cCREs.
            cell: index.
            attention: (G, N).
            drops: ablation scores, (G, N), or None.
        """
        store = self.store
        of_gene, of_element = np.nonzero(reach_mask(store, region))
        genes, elements = region.genes[of_gene], region.elements[of_element]
        tss, chromosome = store.gene_tss[genes], store.chromosomes[store.gene_chromosome[region.genes[0]]]
        distance = np.abs(store.element_position(elements) - tss)
        frame = pd.DataFrame(
            {
                "chrom": escape_cell(chromosome),
                "chromStart": store.element_start[elements],
                "chromEnd": store.element_end[elements],
                "name": self.cells_of_elements[elements],
                "measuredGeneEnsemblId": self.cells_of_genes[genes],
                "startTSS": tss,
                "endTSS": tss + 1,
                "strandGene": np.where(store.gene_strand[genes] > 0, "+", "-"),
                "CellType": escape_cell(store.cells[cell]),
                "distanceToTSS": distance,
                "attention": attention[of_gene, of_element],
                "adjusted": adjust(attention[of_gene, of_element], distance),
                "signal": mean_over_tracks(store, cell, region.elements)[of_element],
            }
        )
        if drops is not None:
            frame["ablation"] = drops[of_gene, of_element]
        frame.to_csv(self.table, sep="\t", index=False, header=not self.count, float_format="%.6g", lineterminator="\n")
        self.count += len(frame)
        best = frame.sort_values("adjusted", ascending=False, kind="stable")
        if self.arcs:
            best = best.groupby("measuredGeneEnsemblId", sort=False).head(self.arcs)
        best = best.sort_index()
        element, gene = self.elements[elements[best.index]], self.genes[genes[best.index]]
        arcs = pd.DataFrame(
            {
                "chrom1": chromosome,
                "start1": best["chromStart"],
                "end1": best["chromEnd"],
                "chrom2": chromosome,
                "start2": best["startTSS"],
                "end2": best["endTSS"],
                "name": element + ">" + gene + f",{store.cells[cell]}",
                "score": best["adjusted"],
                "strand1": ".",
                "strand2": best["strandGene"],
            }
        )
        arcs.to_csv(self.bedpe, sep="\t", index=False, header=False, float_format="%.6g", lineterminator="\n")


def adjust(attention: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Return attention divided by the decimal logarithm of the distance in bp, at least 1 kb (Li et al. 2023)."""
    return attention / np.log10(np.maximum(distance, NEAREST))


def mean_over_tracks(store: Store, cell: int, elements: np.ndarray) -> np.ndarray:
    """Return the mean signal of cCREs over their bases and the tracks that the cell has, (n,); 0 without a track."""
    found = mean_signal(store, cell, elements)[:, store.signal_tracks[cell]]
    return found.mean(axis=1) if found.shape[1] else np.zeros(len(elements), np.float32)
