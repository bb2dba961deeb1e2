"""Builds a store (`creator.store`) from a genome, its annotation, cCREs, and signal and expression of each cell.

Everything that can be wrong with the inputs is looked at before anything is written. Then the two large things follow
in units that are whole or not there: the tokens, and the signal of each cell. A process that is killed leaves the units
that it had finished, and the same command goes on with the others.

Memory does not grow with the cells, and with the cCREs only by what stands in memory of each: coordinates, a name, and
the pairs with genes. Time is linear: elements are sorted as they lie on the genome, so every file is read in one sweep.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from core import PATH_LENGTH, InputError, show_value
from core.files import check_file, hash_file, read_json, remove_leftovers, write_json
from core.genome import Genome, open_genome
from core.locks import claim
from core.progress import Progress, show_duration
from creator import GENE_WINDOW, __version__
from creator.regions import describe_reach, find_reach, read_regions
from creator.rows import Rows, element_rows, gene_rows
from creator.samples import EXPRESSION, Inputs, read_samples
from creator.signals import MOST_CHUNK, check_tracks, describe_clipping, write_cell
from creator.store import (
    FORMAT,
    MANIFEST,
    OPTIONS,
    check_scale,
    choose_tracks,
    describe_absence,
    differences,
    identify,
    read_manifest,
    unfinished_path,
    writing_array,
)

PLAN = "plan.json"  # of an unfinished store: what it is made of


# ------------------------------------------------------------------------------------------------ the command
def prepare(
    fasta: Path, gtf: Path, ccres: Path, samples: Path, out: Path, options: Mapping, tracks: str | None, overwrite: bool
) -> None:
    """Build the store `out`, or go on with it; say on standard output what was found.

    Args:
        fasta, gtf, ccres, samples: the inputs.
        out: folder of the store.
        options: name -> value of `creator.store.OPTIONS`; defaults for those that are absent.
        tracks: names of the store's own tracks, joined by commas; None: the published ones.
        overwrite: replace a store that has other options or inputs.

    Raises:
        InputError: an input is wrong, or a store of other options or inputs is there.
    """
    started = time.monotonic()
    names = choose_tracks(tracks)
    chosen = {option.name: option.check(options.get(option.name, option.default)) for option in OPTIONS}
    chosen["scale"] = check_scale(chosen["scale"], names)
    chosen["tracks"] = ",".join(names)
    check_place(out)
    inputs = Inputs(fasta, gtf, ccres, read_samples(samples, names), names, chosen)
    plan = make_plan(inputs)
    if is_finished(out, plan, overwrite):
        print(f"{show_value(out, PATH_LENGTH)}: is finished already, with the same options and inputs; nothing to do")
        return
    with claim(out.with_name(out.name + ".lock"), show_value(out, PATH_LENGTH)):
        check_unfinished(unfinished_path(out), plan, overwrite)
        build(inputs, plan, out, started)


def build(inputs: Inputs, plan: dict, out: Path, started: float) -> None:
    """Check all inputs, write what is missing of the unfinished store, and give the store its name."""
    notes: list[str] = []
    warnings: list[str] = []
    with open_genome(inputs.fasta) as genome:
        elements, genes, expression, chromosomes = read_regions(inputs, genome.lengths, notes, warnings)
        check_tracks(inputs, genome.lengths, notes, warnings)
        indptr, indices = find_reach(elements, genes, inputs.options)
        describe_reach(indptr, len(elements), inputs.options, notes)

        folder = unfinished_path(out)
        check_room(folder, inputs, len(elements), len(genes))
        folder.mkdir(exist_ok=True)
        write_json(folder / PLAN, plan)
        for line in [*notes, *(f"warning: {text}" for text in warnings)]:
            print(line, flush=True)
        remove_leftovers(folder, r"\w+")
        write_small_arrays(folder, elements, genes, expression, indptr, indices)
        units = len(inputs.cells) + 1
        progress = Progress(units * len(elements))
        rows = element_rows(elements, inputs.options)
        windows = gene_rows(genes, [genome.lengths[name] for name in chromosomes], inputs.options)
        write_all_tokens(folder, genome, chromosomes, rows, windows, inputs.options["token_order"], progress)
        for cell in range(len(inputs.cells)):
            write_cell(folder, cell, inputs, genome.lengths, chromosomes, rows, windows, progress)
    counts = {"elements": len(elements), "genes": len(genes), "pairs": len(indices)}
    measures = [read_json(folder / f"signal_{cell}.json") for cell in range(len(inputs.cells))]
    warnings += describe_clipping(measures, inputs)
    manifest = plan | {"chromosomes": chromosomes, "counts": counts, "signal": measures}
    manifest |= {"notes": notes, "warnings": warnings, "finished": True}
    finish(folder, out, manifest)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(
        f"{show_value(out, PATH_LENGTH)}: {counts['elements']:,} cCREs, {counts['genes']:,} genes, "
        f"{counts['pairs']:,} pairs, "
        f"{len(inputs.cells)} cells; {size / 1e6:,.0f} MB, {show_duration(time.monotonic() - started)}"
    )


def finish(folder: Path, out: Path, manifest: dict) -> None:
    """Write the manifest into the unfinished store and give it its name; a former store of that name goes."""
    write_json(folder / MANIFEST, manifest)
    former = out.with_name(out.name + ".former")
    if read_manifest(former) is not None:  # of a process that was killed right here
        shutil.rmtree(former)
    if out.exists():
        out.rename(former)
        folder.rename(out)
        shutil.rmtree(former)
    else:
        folder.rename(out)
    for file in [out / PLAN, *out.glob("signal_*.json")]:  # now that they are not needed to go on
        file.unlink(missing_ok=True)


# --------------------------------------------------------------------------------------------------- the plan
def make_plan(inputs: Inputs) -> dict:
    """Return the part of the manifest that is known before the work: options, cells and inputs with their hashes."""
    files = {"FASTA": inputs.fasta, "GTF": inputs.gtf, "cCREs": inputs.ccres}
    for name, path in files.items():
        check_file(path, name)
    files |= {f"{sample.track} of {sample.cell}": sample.path for sample in inputs.samples}
    hashes = {path: hash_file(path) for path in dict.fromkeys(files.values())}
    return {
        "format": FORMAT,
        "finished": False,
        "creator_version": __version__,
        "options": inputs.options,
        "tracks": list(inputs.tracks),
        "cells": inputs.cells,
        "signal_tracks": [[sample.track for sample in inputs.signals_of(cell)] for cell in inputs.cells],
        "columns": {sample.cell: sample.column for sample in inputs.samples if sample.track == EXPRESSION},
        "inputs": {
            key: {"file": path.name, "bytes": path.stat().st_size, "sha256": hashes[path]}
            for key, path in files.items()
        },
    }


def compare_plans(plan: dict, other: dict) -> list[str]:
    """Return in words what differs between the plan of this command and that of a store that is there."""
    found = differences(plan["options"], other["options"], "command", "store")
    for what in ("cells", "columns"):
        if plan[what] != other[what]:
            found.append(f"the {what} of samples.tsv")
    hashes, others = ({key: entry["sha256"] for key, entry in each["inputs"].items()} for each in (plan, other))
    for key in dict.fromkeys([*hashes, *others]):
        if hashes.get(key) != others.get(key):
            missing = (
                " (only in the store)" if key not in hashes else " (not in the store)" if key not in others else ""
            )
            found.append(show_value(key, 100) + missing)
    return found


def check_place(out: Path) -> None:
    """Raise InputError where no store can be written."""
    name = show_value(out, PATH_LENGTH)
    if not out.name:
        raise InputError(f"{name}: is no name for a store; give a folder that is not there yet")
    if not out.parent.is_dir():
        raise InputError(f"{name}: there is no folder {show_value(out.parent, PATH_LENGTH)}; make it first")
    if out.exists() and read_manifest(out) is None and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{describe_absence(out)}; nothing was written: give another name, or move it away")


def is_finished(out: Path, plan: dict, overwrite: bool) -> bool:
    """Tell whether the store is there already; raise InputError where another one is and must stay."""
    found = read_manifest(out)
    if found is None or overwrite:
        return False
    if is_same(found, plan):
        return True
    raise InputError(
        f"{show_value(out, PATH_LENGTH)}: is a store with other options or inputs: "
        f"{describe_differences(plan, found)}; give "
        "another name, or --overwrite"
    )


def check_unfinished(folder: Path, plan: dict, overwrite: bool) -> None:
    """Look at what an earlier process left; with `overwrite` remove it unless it is of the same plan.

    Raises:
        InputError: it has other options or inputs, or is no unfinished store.
    """
    if not folder.exists():
        return
    found = read_json(folder / PLAN) if folder.is_dir() else None
    if found is not None and is_same(found, plan):
        print(f"{show_value(folder, PATH_LENGTH)}: goes on with what an earlier start has finished")
        return
    if found is None and (not folder.is_dir() or any(not file.name.startswith(".plan-") for file in folder.iterdir())):
        raise InputError(f"{show_value(folder, PATH_LENGTH)}: is in the way and no unfinished store; move it away")
    if found is not None and not overwrite:
        raise InputError(
            f"{show_value(folder, PATH_LENGTH)}: is unfinished and has other options or inputs: "
            f"{describe_differences(plan, found)}; give another name, or --overwrite"
        )
    shutil.rmtree(folder)


def is_same(found: dict, plan: dict) -> bool:
    """Tell whether two plans or manifests make the same numbers; one that lacks something does not."""
    try:
        return identify(found) == identify(plan)
    except (KeyError, TypeError, AttributeError):
        return False


def describe_differences(plan: dict, found: dict) -> str:
    """Return the first of `compare_plans` as one text."""
    try:
        different = compare_plans(plan, found)
    except (KeyError, TypeError, AttributeError):
        return "its manifest lacks what belongs into it"
    more = f", and {len(different) - 4} more" if len(different) > 4 else ""
    return "; ".join(different[:4]) + more or "another version of the format"


def check_room(folder: Path, inputs: Inputs, count: int, genes: int) -> None:
    """Raise InputError where the disk has no room for the unfinished store `folder` of `count` elements and `genes`."""
    signals = sum(sample.track != EXPRESSION for sample in inputs.samples)
    width = np.dtype(inputs.options["signal_type"]).itemsize * signals + 1
    needed = (count * inputs.options["width"] + genes * GENE_WINDOW) * width
    there = sum(file.stat().st_size for file in folder.iterdir()) if folder.is_dir() else 0
    free = shutil.disk_usage(folder.parent).free + there
    if needed > free:
        raise InputError(
            f"{show_value(folder.parent, PATH_LENGTH)}: a store of {count:,} cCREs and {signals} signals takes "
            f"{needed / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are free; make room, or give a smaller --width"
        )


# ----------------------------------------------------------------------------------------------------- arrays
def write_small_arrays(
    folder: Path,
    elements: pd.DataFrame,
    genes: pd.DataFrame,
    expression: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
) -> None:
    """Write all arrays but tokens and signals; they take no time."""
    arrays = {
        "element_name": np.array(elements["name"].tolist(), "S"),
        "element_chromosome": elements["chromosome"].to_numpy(np.int32),
        "element_start": elements["start"].to_numpy(np.int64),
        "element_end": elements["end"].to_numpy(np.int64),
        "gene_id": np.array(genes["gene_id"].tolist(), "S"),
        "gene_chromosome": genes["chromosome"].to_numpy(np.int32),
        "gene_tss": genes["tss"].to_numpy(np.int64),
        "gene_strand": genes["strand"].to_numpy(np.int8),
        "reach_indptr": indptr.astype(np.int64),
        "reach_indices": indices,
        "expression": expression,
    }
    for name, array in arrays.items():
        with writing_array(folder / f"{name}.npy", array.shape, array.dtype) as append:
            append(array)


def write_all_tokens(
    folder: Path,
    genome: Genome,
    chromosomes: list[str],
    elements: Rows,
    windows: Rows,
    token_order: str,
    progress: Progress,
) -> None:
    """Write the tokens of the cCREs and of the genes' windows, where they are not there yet."""
    files = {
        "gene_tokens.npy": (windows, lambda count: None),
        "tokens.npy": (elements, partial(progress.step, "tokens")),
    }
    for name, (rows, step) in files.items():
        if not (folder / name).exists():
            write_tokens(folder / name, genome, chromosomes, rows, token_order, step)
        elif rows is elements:
            progress.skip(len(elements))
    progress.line(f"tokens: {len(elements):,} cCREs of {elements.width} bases")


def write_tokens(
    path: Path, genome: Genome, chromosomes: list[str], rows: Rows, token_order: str, progress: Callable[[int], None]
) -> None:
    """Write the tokens of rows, (n, width) uint8; `progress` is told the number of rows of each piece."""
    token_of = np.array([token_order.index(base) + 1 for base in "ACGT"] + [0], np.uint8)  # of each base code
    complement = np.array([token_order.index(base) + 1 for base in "TGCA"] + [0], np.uint8)
    columns = np.arange(rows.width)
    with writing_array(path, (len(rows), rows.width), np.uint8) as append:
        for index, part in rows.split(MOST_CHUNK):
            codes = genome.codes(chromosomes[index])
            begins, taken, first = (each[:, None] for each in (part.begins, part.taken, part.columns))
            inside = (columns >= first) & (columns < first + taken)
            bases = codes[np.where(inside, begins + columns - first, begins)]
            tokens = np.where(part.reverse[:, None], complement[bases], token_of[bases])
            append(part.turn(np.where(inside, tokens, 0)))
            progress(len(part))
