"""CREaTor: from the cCREs within reach of a gene, their sequence and chromatin, to its expression.

Li et al. 2023, Genome Biology 24:266. Importing this package costs nothing; `creator.network` imports Keras.
"""

from core import InputError as InputError  # what a user can put right, of both programs

__version__ = "0.1.0"
TOKENS = 6  # 0 pad or N, 1..4 bases, 5 CLS
CHANNELS = (
    "CTCF", "DNase", "EP300", "H2AFZ", "H3K27ac", "H3K27me3", "H3K36me3", "H3K4me1",
    "H3K4me2", "H3K4me3", "H3K79me2", "H3K9ac", "H3K9me3", "H4K20me1", "POLR2A", "POLR2AphosphoS5",
)  # fmt: skip
BLOCK = 5  # bases that one step of the convolution turns into one token
GENE_WINDOW = 700  # coordinates of a gene's own window
BUCKETS = 64  # of relative position, 32 for each sign
ELEMENT_SCALES = (5,)  # bp of one step of relative position inside an element
REGULATION_SCALES = (150, 600, 2400, 10000, 40000)  # and between elements
