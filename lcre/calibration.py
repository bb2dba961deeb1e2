"""Sets the last layer of a trained network: the weight of its branches, and the scale and offset that calibrate it.

Platt, Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods, in Advances
in Large Margin Classifiers, 61 (1999). Two things are added, because the genes that choose the epoch are few and of one
chromosome. Chromosomes differ in how many of their genes are high, so the offset is corrected for their share of high
genes (King and Zeng, Political Analysis 9, 137, 2001). And scale and offset have a normal prior, which decides where
there are a hundred genes, and little where there are five hundred.
"""

from collections.abc import Sequence

import numpy as np

from core.scores import auroc
from lcre.trained import BATCH

USUAL_SCALE = 1.3  # 14 folds of demo, yeast and worm had scales of 0.9 to 2.0 and offsets of -0.8 to 0.5
SCALE_SPREAD = 0.25  # standard deviation of the prior of the scale's logarithm
OFFSET_SPREAD = 0.4  # standard deviation of the prior of the offset, whose mean is 0


def fit_calibration(log_odds: np.ndarray, target: np.ndarray, share: float) -> tuple[float, float]:
    """Return scale and offset of log-odds by penalised maximum likelihood, with Platt's smoothed targets.

    Args:
        log_odds: of being high, of genes that did not train, (n,).
        target: 0 or 1, (n,).
        share: of high genes among those that the probabilities are meant for.

    Returns:
        Scale, above 0 even where the network is worse than guessing, so that the order of genes stays as it is, and
        offset. 1 and 0 where nothing can be fitted: one class only, or log-odds that are not numbers.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, logit

    low, high = int((target == 0).sum()), int((target == 1).sum())
    if not low or not high or not np.isfinite(log_odds).all():
        return 1.0, 0.0
    goal = np.where(target == 1, (high + 1) / (high + 2), 1 / (low + 2))
    of_these = np.log((high + 1) / (low + 1)) - logit(share)  # log-odds that these genes have beyond those meant

    def loss(parameters):
        logarithm, offset = parameters
        part = np.exp(logarithm) * log_odds
        error = expit(part + offset + of_these) - goal
        likelihood = np.sum(np.logaddexp(0, part + offset + of_these) - goal * (part + offset + of_these))
        away = np.array([(logarithm - np.log(USUAL_SCALE)) / SCALE_SPREAD, offset / OFFSET_SPREAD])
        slope = [np.sum(error * part), np.sum(error)] + away / [SCALE_SPREAD, OFFSET_SPREAD]
        return likelihood + np.square(away).sum() / 2, slope

    logarithm, offset = minimize(loss, [np.log(USUAL_SCALE), 0.0], jac=True, method="BFGS", options={"gtol": 1e-6}).x
    return float(np.exp(logarithm)), float(offset)


def weigh_branches(model, codes: np.ndarray, target: np.ndarray, weights: Sequence[float]) -> float | None:
    """Give the branches of a network the weight beside its regression that tells low from high genes best.

    Args:
        model: keras.Model whose last layer is Dense(1) on the logits of branches and, last, of a regression; its
            weights are set. The mean of the branches' logits counts with the weight, the regression's with 1.
        codes: windows of genes that did not train, base codes, uint8, (n, columns).
        target: 0 or 1, (n,).
        weights: to choose from.

    Returns:
        The weight with the highest auROC, the first of equals; None where there is no auROC, and nothing is set.
    """
    import keras
    import tensorflow as tf

    head = model.layers[-1]
    inputs = keras.Model(model.inputs[0], head.input)
    forward = tf.function(lambda part: inputs(tf.one_hot(part, 4), training=False))
    logits = np.concatenate([forward(codes[at : at + BATCH]).numpy() for at in range(0, len(codes), BATCH)])
    branches, regression = logits[:, :-1].mean(axis=1), logits[:, -1]
    areas = [auroc(target, weight * branches + regression) for weight in weights]
    if np.isnan(areas).any():
        return None
    weight, count = weights[int(np.argmax(areas))], logits.shape[1] - 1
    _, *bias = head.get_weights()
    head.set_weights([np.array([[weight / count]] * count + [[1]]), *bias])
    return weight


def fold_into(model, scale: float, offset: float):
    """Return a network whose log-odds are `scale` times those of `model` plus `offset`.

    Args:
        model: keras.Model whose last layer is Dense(1, activation="sigmoid"), with or without a bias.
    """
    import keras

    head = model.layers[-1]
    kernel, *bias = head.get_weights()
    calibrated = keras.layers.Dense(1, activation="sigmoid", dtype="float32", name=head.name)
    network = keras.Model(model.inputs[0], calibrated(head.input), name=model.name)
    calibrated.set_weights([kernel * scale, (bias[0] * scale if bias else np.zeros(1)) + offset])
    return network
