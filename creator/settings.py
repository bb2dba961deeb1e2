"""The settings of a training: flags of `train`, kept in its record. Light to import: every start needs the flags."""

from dataclasses import dataclass

from core import InputError


@dataclass(frozen=True)
class Setting:
    """A choice of a training: a flag of `train`, kept in its record.

    Attributes:
        name: as in the record; the flag has '-' for '_'.
        default: of Li et al. 2023, where they say it.
        help: unit and advice.
        least, most: bounds, both allowed.
    """

    name: str
    default: int | float | bool
    help: str
    least: float = 0
    most: float = 1

    @property
    def flag(self) -> str:
        """The flag of `train`."""
        return "--" + self.name.replace("_", "-")

    def check(self, value: int | float) -> int | float:
        """Return `value` if it is allowed; raise InputError that names the flag otherwise."""
        if not self.least <= value <= self.most:
            raise InputError(f"{self.flag}: {value} is not between {self.least:g} and {self.most:g}")
        return value


SETTINGS = (
    Setting("epochs", 50, "passes over all training regions in all training cells", 1, 100_000),
    Setting("patience", 10, "epochs without a lower val_loss after which training ends; 0: never", 0, 100_000),
    Setting("learning_rate", 1e-4, "of AdamW after the warm-up; ten times as much for a small network", 0, 1),
    Setting("warm_up", 1000, "steps in which the learning rate rises; then it falls along a cosine", 0, 10**9),
    Setting("weight_decay", 0.01, "of AdamW", 0, 1),
    Setting("clip_norm", 1.0, "largest norm of all gradients together", 1e-9, 1e9),
    Setting("dropout", 0.1, "behind the signal projection, on attention, in the feed-forward parts", 0, 0.9),
    Setting("batch_elements", 512, "cCREs of a batch, at most; with more of them fewer are encoded twice", 1, 65_536),
    Setting("cells_a_batch", 1, "training cells in which a batch has its region, at most all of them", 1, 1000),
    Setting("change_weight", 0.0, "of the squared error of each gene's change against its mean over the cells of the "
            "batch, added to the loss; needs --cells-a-batch 2 or more", 0, 1e6),
    Setting("promoter", False, "the gene sees sequence and signal of its own window, TSS - 350 to TSS + 349"),
    Setting("mask_pads", False, "attention leaves out what only pads a cCRE"),
    Setting("track_dropout", 0.0, "probability with which a track of a cell is zeros in a batch, in training", 0, 0.9),
    Setting("regions_a_step", 1, "batches whose gradients make a step together; a multiple of the workers", 1, 65_536),
    Setting("seed", 0, "of weights, order and dropout", 0, 2**31 - 1),
    Setting("width", 256, "of the network's rows", 1, 8192),
    Setting("heads", 4, "of attention; a divisor of the width", 1, 1024),
    Setting("hidden", 1024, "of the feed-forward parts", 1, 8192),
    Setting("element_layers", 2, "of the element encoder", 1, 64),
    Setting("regulation_layers", 4, "of the regulation encoder", 1, 64),
)  # fmt: skip
NETWORK = ("width", "heads", "hidden", "element_layers", "regulation_layers")  # settings that are sizes
