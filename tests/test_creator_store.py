"""The store: what is read of it, its options, and what is said of one that is not whole."""

import json
import shutil

import numpy as np
import pytest
from builders import one_line
from creator_inputs import prepare, write_inputs

from creator import CHANNELS, InputError
from creator.store import (
    MANIFEST,
    OPTIONS,
    Option,
    check_scale,
    choose_tracks,
    differences,
    divisor_of,
    open_store,
    writing_array,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    assert prepare(write_inputs(folder), folder / "STORE") == 0
    return folder / "STORE"


def test_store_has_what_the_inputs_say(prepared):
    store = open_store(prepared)
    assert (store.cells, store.chromosomes, store.tracks) == (("A", "B"), ("1", "2"), CHANNELS)
    assert store.element_name.tolist() == [b"e0", b"e1", b"e2", b"e3"]  # in the order of the genome
    assert store.element_chromosome.tolist() == [0, 0, 0, 1]
    assert store.element_start.tolist() == [50, 100, 300, 590]
    assert store.gene_id.tolist() == [b"g1", b"g2", b"g3"]
    assert store.gene_tss.tolist() == [200, 499, 10]  # the last base of a gene on the minus strand
    assert store.gene_strand.tolist() == [1, -1, 1]
    np.testing.assert_array_equal(store.expression, np.float32([[1.5, 2], [3, 4], [np.nan, np.nan]]))
    # reach 150: of g1 the bases 50..350, of which e0 has base 50; of g2 349..649; of g3 none has an element
    assert [store.in_reach(gene).tolist() for gene in range(3)] == [[0, 1, 2], [], []]
    assert all(isinstance(array, np.memmap) for array in (store.tokens, store.reach_indices, *store.signals))


def test_tokens_and_signal_are_those_of_the_bases(prepared):
    store = open_store(prepared)
    # e0: bases 50..56; 50 % 4 is 2, so G T A C G T A, padded on both sides
    assert store.tokens[0].tolist() == [0, 3, 4, 1, 2, 3, 4, 1, 0, 0]
    assert store.tokens[1].tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]
    assert store.tokens[2].tolist() == [4, 1, 2, 3, 4, 1, 2, 3, 4, 1]  # bases 307..316 of 300..325
    dnase, acetylated = CHANNELS.index("DNase"), CHANNELS.index("H3K27ac")
    signal = store.read_signal(0, [0, 1, 2])
    assert signal.shape == (3, 10, 16)
    assert signal.dtype == np.float32
    assert signal[0, :, dnase].tolist() == [0] * 10  # the bigWig begins at 90
    assert signal[1, :, dnase].tolist() == list(range(100, 110))
    assert signal[2, :, dnase].tolist() == list(range(307, 317))
    assert not np.delete(signal, dnase, axis=2).any()
    other = store.read_signal(1, slice(1, 4))
    assert other[0, :, dnase].tolist() == [2, 2, 2, 5, 2, 0, 0, 0, 0, 0]  # of overlapping intervals the larger value
    assert other[0, :, acetylated].tolist() == list(range(100, 110))
    assert other[2, :, dnase].tolist() == [1] * 10
    assert [found.shape[2] for found in store.signals] == [1, 2]  # a track that a cell lacks takes no room


def test_windows_of_genes_are_read_along_the_strand(prepared):
    store = open_store(prepared)
    # g1: 200 - 350 lies 150 bases before the chromosome; base i is ACGT[i % 4]
    assert store.gene_tokens[0, :154].tolist() == [0] * 150 + [1, 2, 3, 4]
    # g2, on the minus strand, TSS 499: from 849 down to 150; 849 % 4 is 1, so C G A T C ..., complemented
    assert store.gene_tokens[1, :5].tolist() == [3, 4, 1, 2, 3]
    dnase = CHANNELS.index("DNase")
    signal = store.read_gene_signal(0, slice(0, 2))
    assert signal.shape == (2, 700, 16)
    assert signal[0, :, dnase].tolist() == [at if 90 <= at < 320 else 0 for at in range(-150, 550)]
    assert signal[1, :, dnase].tolist() == [at if 90 <= at < 320 else 0 for at in range(849, 149, -1)]
    assert not np.delete(signal, dnase, axis=2).any()


def test_positions_and_gene_windows_follow_the_options(prepared, tmp_path):
    store = open_store(prepared)
    assert store.element_position().tolist() == [53, 105, 312, 595]
    assert store.element_position([2]).tolist() == [312]
    assert store.gene_window(0)[[0, 350, 699]].tolist() == [200 - 350, 200, 200 + 349]
    assert store.gene_window(1)[[0, 350, 699]].tolist() == [499 + 350, 499, 499 - 349]
    flags = write_inputs(tmp_path)
    assert prepare(flags, tmp_path / "S", "--element-position", "start", "--minus-strand", "forward") == 0
    store = open_store(tmp_path / "S")
    assert store.element_position().tolist() == [50, 100, 300, 590]
    assert store.gene_window(1)[[0, 350]].tolist() == [149, 499]


def test_identity_is_that_of_options_and_inputs(prepared, tmp_path):
    flags = write_inputs(tmp_path)
    assert prepare(flags, tmp_path / "same") == 0
    assert prepare(flags, tmp_path / "other", "--pad", "end") == 0
    assert open_store(tmp_path / "same").identity() == open_store(prepared).identity()
    assert open_store(tmp_path / "other").identity() != open_store(prepared).identity()
    found = differences(open_store(prepared).options, open_store(tmp_path / "other").options, "store", "model")
    assert found == ["pad (both in the store, end in the model)"]


# ------------------------------------------------------------------------------------------ what is not a store
def remove(name):
    return lambda store: (store / name).unlink()


def cut(name):
    return lambda store: (store / name).write_bytes((store / name).read_bytes()[:-5])


def replace(name, array):
    return lambda store: np.save(store / name, array)


def edit(**changes):
    def change(store):
        manifest = json.loads((store / MANIFEST).read_text())
        manifest.update(changes)
        (store / MANIFEST).write_text(json.dumps({key: value for key, value in manifest.items() if value != "gone"}))

    return change


DAMAGES = {
    "no manifest": (remove(MANIFEST), "no finished store"),
    "not finished": (edit(finished=False), "damaged"),
    "another format": (edit(format=99), "format 99, not 2"),
    "no cells": (edit(cells="gone"), "lacks what belongs into it"),
    "counts of another kind": (edit(counts=[1]), "lacks what belongs into it"),
    "cut manifest": (cut(MANIFEST), "damaged"),
    "no tokens": (remove("tokens.npy"), "tokens.npy is missing"),
    "cut signal": (cut("signal_1.npy"), "signal_1.npy is cut or damaged"),
    "empty file": (lambda store: (store / "gene_tss.npy").write_bytes(b""), "gene_tss.npy is cut or damaged"),
    "another shape": (replace("gene_tss.npy", np.zeros(7, np.int64)), "int64 (7,), expected int64 (3,)"),
    "another type": (replace("tokens.npy", np.zeros((4, 10))), "float64"),
    "objects": (replace("tokens.npy", np.array([{}])), "tokens.npy is cut or damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_store_that_is_not_whole_is_one_line(damage, prepared, tmp_path):
    store = tmp_path / "STORE"
    shutil.copytree(prepared, store)
    change, message = DAMAGES[damage]
    change(store)
    with pytest.raises(InputError) as error:
        open_store(store)
    assert message in one_line(error)


def test_no_store_at_all_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "begun.part").mkdir()
    for name, message in {"none": "no store", "file": "is a file", "begun": "start prepare again"}.items():
        with pytest.raises(InputError) as error:
            open_store(tmp_path / name)
        assert message in one_line(error)


# -------------------------------------------------------------------------------------------------- options
def test_every_option_has_a_default_that_is_allowed():
    assert [option.check(option.default) for option in OPTIONS] == [option.default for option in OPTIONS]
    assert all(isinstance(option, Option) and len(option.help) > 15 for option in OPTIONS)


def test_scale_is_kept_in_one_way():
    assert check_scale("none", CHANNELS) == "none"
    text = check_scale("h3k27ac=2.50, ctcf=1e1", CHANNELS)
    assert text == "CTCF=10,H3K27ac=2.5"
    assert [divisor_of(text, track) for track in ("CTCF", "H3K27ac", "DNase")] == [10, 2.5, 1]
    assert divisor_of("none", "CTCF") == 1


@pytest.mark.parametrize("text", ["CTCF", "CTCF=0", "CTCF=-1", "CTCF=nan", "CTCF=inf", "ATAC=1", "CTCF=1,ctcf=2", ""])
def test_scales_that_are_none(text):
    with pytest.raises(InputError) as error:
        check_scale(text, CHANNELS)
    assert one_line(error).startswith("--scale: ")


def test_tracks_of_the_store():
    assert choose_tracks(None) == CHANNELS
    assert choose_tracks("ATAC, H3K4me1") == ("ATAC", "H3K4me1")
    for text in ("", "A,,B", "A,a", "TPM", "tpm,A", "A=1"):
        with pytest.raises(InputError) as error:
            choose_tracks(text)
        assert one_line(error).startswith("--tracks: ")


def test_an_array_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(RuntimeError), writing_array(path, (4, 2), np.int32) as append:
        append(np.ones((3, 2)))
    assert list(tmp_path.iterdir()) == []
    with writing_array(path, (4, 2), np.int32) as append:
        append(np.arange(6).reshape(3, 2)[:, ::-1])
        append(np.zeros((1, 2)))
    assert np.load(path).tolist() == [[1, 0], [3, 2], [5, 4], [0, 0]]
