"""Runs TF-MoDISco on contribution scores, says where its motifs stand, and matches them to known ones.

TF-MoDISco (Shrikumar et al., arXiv 1811.00416) and Tomtom come with requirements-motifs.txt; nothing else needs them.
"""

import importlib.util
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core import InputError, show_value
from core.files import check_file, replacing

MOST_SEQLETS = 5000  # of each sign; more cost time and change motifs little
LEAST_SHARE = 0.3  # of a motif's strongest column: weaker columns at its ends are cut off
PATTERN_GROUPS = {"pos_patterns": "raises", "neg_patterns": "lowers"}


@dataclass
class Motif:
    """A motif that TF-MoDISco found."""

    name: str
    effect: str  # raises or lowers the logit
    seqlets: int  # pieces of windows it was made from
    frequencies: np.ndarray  # of ACGT, (width, 4)
    contributions: np.ndarray  # mean contribution, (width, 4)
    region: str  # where most of its seqlets stand
    positions: np.ndarray  # of the seqlets in that region, bp of their middle from TSS or TES
    match: str = ""
    match_p_value: float = float("nan")

    @property
    def word(self) -> str:
        """The most frequent bases; small letters where none reaches three quarters."""
        best = self.frequencies.argmax(axis=1)
        sure = self.frequencies.max(axis=1) >= 0.75
        return "".join("ACGT"[base] if known else "acgt"[base] for base, known in zip(best, sure, strict=True))


def need_extra(*packages: str) -> None:
    """Raise InputError that says how to get those of `packages` (modiscolite, memelite) that are not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"--motifs, --meme and --bed: not installed: {' and '.join(missing)}; pip install -r "
            "requirements-motifs.txt installs what they need. Without these flags everything else is written"
        )


def read_known(path: Path) -> dict[str, np.ndarray]:
    """Read the motifs of a MEME file: name -> frequencies of ACGT, (4, width).

    Raises:
        InputError: no such file, or no motif of DNA in it.
    """
    from memelite.io import read_meme

    check_file(path, "--meme")
    try:
        known = read_meme(str(path))
    except Exception:  # whatever the reader makes of a file of another kind
        raise InputError(f"--meme: {path} is not a MEME motif file of DNA{find_fault(path)}") from None
    if not known:
        raise InputError(f"--meme: {path} holds no motif (a line MOTIF and a letter-probability matrix)")
    return known


def find_fault(path: Path) -> str:
    """Return where a MEME file, which cannot be read, is no matrix of four numbers a line, or ''."""
    left = None  # lines of the matrix that are still to come
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            shown = show_value(line.strip(), 60)
            if line.startswith("letter-probability matrix"):
                width = re.search(r"\bw=\s*(\d{1,9})\b", line)
                if not width:
                    return f": line {number:,} has no w= N, the number of lines of the matrix ({shown})"
                left = int(width[1])
            elif left:
                if not re.fullmatch(r"\s*([\d.eE+-]+\s+){3}[\d.eE+-]+\s*", line):
                    return f": line {number:,} should hold the probabilities of A, C, G and T ({shown})"
                left -= 1
    return ""


def find_motifs(out: Path, layout, known: dict) -> list[Motif]:
    """Run TF-MoDISco on the pair of files in `out`, write motifs.h5 there, and return its motifs.

    It runs as a process of its own, because it forks, which a process with TensorFlow in it does not survive.

    Args:
        out: folder of the explanation.
        layout: of the windows, a `lcre_classifier.WindowLayout`; all their columns are searched.
        known: motifs to match with, as `read_known` gives them.

    Raises:
        InputError: TF-MoDISco failed.
    """
    print("TF-MoDISco is looking for motifs: minutes", flush=True)
    with replacing(out / "motifs.h5") as temporary:
        command = [sys.executable, "-c", "from modiscolite.cli import cli; cli()", "motifs"]
        command += ["-s", str(out / "modisco_sequences.npz"), "-a", str(out / "modisco_attributions.npz")]
        command += ["-n", str(MOST_SEQLETS), "-w", str(layout.columns), "-o", str(temporary)]
        with tempfile.TemporaryFile("w+") as said:
            failed = subprocess.run(command, stdout=said, stderr=said).returncode
            said.seek(0)
            last = ([line.strip() for line in said if line.strip()] or ["it said nothing"])[-1]
        if failed:
            raise InputError(f"--motifs: TF-MoDISco failed ({last[:200]}); more genes may help, see --genes")
    motifs = read_motifs(out / "motifs.h5", layout)
    match_motifs(motifs, known)
    return motifs


def read_motifs(path: Path, layout) -> list[Motif]:
    """Read what TF-MoDISco wrote; those that raise first, each by the number of their seqlets."""
    import h5py

    motifs = []
    with h5py.File(path) as file:
        for group, effect in PATTERN_GROUPS.items():
            patterns = file.get(group, {})
            for number in range(len(patterns)):
                pattern = patterns[f"pattern_{number}"]
                frequencies, contributions = pattern["sequence"][:], pattern["contrib_scores"][:]
                cut = trim(contributions)
                middle = (pattern["seqlets/start"][:] + pattern["seqlets/end"][:]) // 2
                inside = {
                    name: (middle >= columns.start) & (middle < columns.stop)
                    for name, columns in layout.regions.items()
                }
                region = max(inside, key=lambda name: inside[name].sum())
                motifs.append(
                    Motif(
                        f"{effect}_{number}",
                        effect,
                        len(middle),
                        frequencies[cut],
                        contributions[cut],
                        region,
                        middle[inside[region]] - layout.sites[region],
                    )
                )
    return motifs


def trim(contributions: np.ndarray) -> slice:
    """Return the columns of a motif without weak ends; contributions (width, 4)."""
    strength = np.abs(contributions.sum(axis=1))
    strong = np.flatnonzero(strength >= LEAST_SHARE * strength.max())
    return slice(int(strong[0]), int(strong[-1]) + 1)


def match_motifs(motifs: list[Motif], known: dict[str, np.ndarray]) -> None:
    """Set each motif's best match among `known` and its p-value (Tomtom, both strands, corrected for their number)."""
    if not motifs or not known:
        return
    import warnings

    from memelite import tomtom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that few targets make p-values rough: docs/explain.md says it
        p_values = tomtom([motif.frequencies.T for motif in motifs], list(known.values()))[0]
    for motif, row in zip(motifs, np.asarray(p_values), strict=True):
        best = int(np.argmin(row))
        motif.match = list(known)[best]
        motif.match_p_value = float(min(row[best] * len(known), 1.0))


def tabulate(motifs: list[Motif]) -> pd.DataFrame:
    """Return motifs.csv: motif, effect, word, seqlets, region, position (median; middle half), match, p-value."""
    columns = ["motif", "effect", "word", "seqlets", "region", "position", "position_low", "position_high"]
    rows = []
    for motif in motifs:
        low, middle, far = (
            np.percentile(motif.positions, [25, 50, 75]).round() if len(motif.positions) else [np.nan] * 3
        )
        matched = {"match": motif.match, "match_p_value": f"{motif.match_p_value:.3g}" if motif.match else ""}
        cells = [motif.name, motif.effect, motif.word, motif.seqlets, motif.region, middle, low, far]
        rows.append(dict(zip(columns, cells, strict=True)) | matched)
    frame = pd.DataFrame(rows, columns=[*columns, "match", "match_p_value"])
    for name in ("position", "position_low", "position_high"):
        frame[name] = frame[name].astype("Int64")
    return frame


def draw_motifs(plt, motifs: list[Motif]):
    """Return a figure with each of the motifs, one at least, as a logo of mean contributions, and where it stands."""
    import logomaker

    rows = -(-len(motifs) // 2)
    figure, axes = plt.subplots(rows, 4, figsize=(11, 1.5 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for place, motif in enumerate(motifs):
        letters, places = axes[place // 2, place % 2 * 2 : place % 2 * 2 + 2]
        letters.set_axis_on()
        places.set_axis_on()
        logomaker.Logo(
            pd.DataFrame(motif.contributions, columns=list("ACGT")),
            ax=letters,
            color_scheme="classic",
            flip_below=False,
        )
        letters.set_xticks([])
        match = f", like {show_value(motif.match, 24)}" if motif.match and motif.match_p_value < 0.05 else ""
        letters.set_title(f"{motif.name}, {motif.seqlets} seqlets{match}", fontsize=8)
        colour = "#00765a" if motif.effect == "raises" else "#a03c79"
        places.hist(motif.positions, bins=40, color=colour)
        places.set_yticks([])
        places.spines["left"].set_visible(False)
        site = "TSS" if motif.region == "promoter" else "TES"
        places.set_title(f"seqlets by bp from the {site}", fontsize=8, fontweight="normal")
    return figure
