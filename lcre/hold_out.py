"""What may be held out (HOLD_OUT), in words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """The words for one way of holding genes out."""

    what: str  # is held out
    fold: str  # what messages call one of them
    chosen_on: str  # the genes that choose the epoch, with SELECT_ON validation
    unseen: str  # where the genes are that are scored, in the headline of the page
    explained: str  # a sentence of the page on what a fold holds out
    doubt: str  # what may flatter the score all the same
    too_few: str  # what to do about a fold with too few genes to score


WAYS = {
    "chromosome": Way(
        what="chromosomes",
        fold="chromosome",
        chosen_on="on another chromosome",
        unseen="of chromosomes that it was not trained on",
        explained="Each fold holds out one chromosome, or several together: none of its genes was there to learn from.",
        doubt="genes whose paralogs stood in training flatter it",
        too_few="hold out another chromosome, or several together",
    ),
    "family": Way(
        what="families",
        fold="fold",
        chosen_on="on other families",
        unseen="of gene families that it was not trained on",
        explained="Each fold holds out a set of families of genes: none of them was there to learn from, and no family "
        "is split over two folds.",
        doubt="held-out genes whose neighbours stood in training share bases of their windows with them, which "
        "flatters it",
        too_few="take fewer FOLDS",
    ),
    "species": Way(
        what="species",
        fold="species",
        chosen_on="on a chromosome of another species",
        unseen="of a species that it was not trained on",
        explained="Each fold holds out a whole species: none of its genes was there to learn from.",
        doubt="genes whose orthologs stood in training are scored like the others",
        too_few="take it out of SPECIES, or hold out others only",
    ),
}


def way_of(settings: dict) -> str:
    """Return the way that the settings in a run's record say; older runs hold out chromosomes."""
    return settings.get("HOLD_OUT", "chromosome")
