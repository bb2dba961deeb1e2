"""CREaTor: from the cCREs within reach of a gene, their sequence and chromatin, to its expression.

Li et al. 2023, Genome Biology 24:266. Importing this package costs nothing; `creator.network` imports Keras.
"""


class InputError(ValueError):
    """Something the user can put right. Its text is one line: what is wrong, what was seen, what to change."""
