"""Calibrates probabilities: scale and offset of a network's log-odds, kept in the weights of its last layer.

Platt, Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods, in Advances
in Large Margin Classifiers, 61 (1999). Both numbers fold into the last layer, so any loader of the file has them.
"""

import numpy as np

LEAST_SCALE = 0.01  # of a network no better than guessing: its probabilities are nearly one, in an order that is kept


def fit_calibration(log_odds: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Return scale and offset of log-odds by maximum likelihood, with Platt's smoothed targets.

    Args:
        log_odds: of being high, of genes that did not train, (n,).
        target: 0 or 1, (n,).

    Returns:
        Scale, at least `LEAST_SCALE`, so that the order of genes stays as it is, and offset. 1 and 0 where nothing can
        be fitted: one class only, or log-odds that are not numbers.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    low, high = (target == 0).sum(), (target == 1).sum()
    if not low or not high or not np.isfinite(log_odds).all():
        return 1.0, 0.0
    goal = np.where(target == 1, (high + 1) / (high + 2), 1 / (low + 2))

    def loss(parameters):
        score = parameters[0] * log_odds + parameters[1]
        error = expit(score) - goal
        return np.mean(np.logaddexp(0, score) - goal * score), np.array([np.mean(error * log_odds), np.mean(error)])

    bounds, tight = [(LEAST_SCALE, None), (None, None)], {"ftol": 1e-14, "gtol": 1e-9}
    scale, offset = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds, options=tight).x
    return float(scale), float(offset)


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
