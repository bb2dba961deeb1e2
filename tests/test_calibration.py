"""Scale and offset of log-odds: those that the genes were drawn with, in the file of the network, order kept."""

import numpy as np
import pytest
from builders import write

from benchmarks import calibration as measured
from lcre.calibration import USUAL_SCALE, fit_calibration, fold_into, weigh_branches


def draw(scale: float, offset: float, genes: int = 20_000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds as a network may give them, and classes drawn with these times `scale` plus `offset`."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(0.2, 1.5, genes)
    return log_odds, (random.random(genes) < 1 / (1 + np.exp(-scale * log_odds - offset))).astype(int)


@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (2.5, 0.7), (0.4, -0.5)])
def test_what_the_classes_were_drawn_with_is_found(scale, offset):
    log_odds, target = draw(scale, offset)
    assert fit_calibration(log_odds, target, target.mean()) == pytest.approx((scale, offset), rel=0.05, abs=0.05)


def test_probabilities_are_meant_for_another_share_of_high_genes():
    """Of the high genes here a third is taken: the offset is that of all of them all the same."""
    log_odds, target = draw(1.5, 0)
    kept = (target == 0) | (np.arange(len(target)) % 3 == 0)
    scale, offset = fit_calibration(log_odds[kept], target[kept], target.mean())
    assert (scale, offset) == pytest.approx((1.5, 0), rel=0.05, abs=0.06)
    _, there = fit_calibration(log_odds[kept], target[kept], target[kept].mean())
    assert there == pytest.approx(-np.log(3), abs=0.08)


def test_branches_get_the_weight_that_orders_the_genes():
    """Two branches and a regression that read a base each; the classes are those of 0.5 times their mean and 1."""
    import keras
    from keras import layers

    def reads(column: int, values: list[float]):
        layer = layers.Dense(1, use_bias=False)
        logit = layer(layers.Flatten()(layers.Cropping1D((column, 2 - column))(windows)))
        layer.set_weights([np.array(values)[:, None]])
        return logit

    windows = layers.Input((3, 4))
    logits = [reads(0, [0, 1, 2, 3]), reads(1, [0, 0.5, 1, 1.5]), reads(2, [0, 0.4, 0.8, 1.2])]
    total = layers.Dense(1, "sigmoid", use_bias=False)
    model = keras.Model(windows, total(layers.Concatenate()(logits)))
    codes = np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3).astype(np.uint8)
    one, two, regression = codes[:, 0], codes[:, 1] / 2, codes[:, 2] * 0.4
    target = (0.5 * (one + two) / 2 + regression > 1.01).astype(int)
    assert weigh_branches(model, codes, target, (0.1, 0.2, 0.5, 1.0)) == 0.5
    assert total.get_weights()[0].ravel() == pytest.approx([0.25, 0.25, 1])
    assert weigh_branches(model, codes, np.zeros(64, int), (0.1, 1.0)) is None  # one class
    assert total.get_weights()[0].ravel() == pytest.approx([0.25, 0.25, 1])


def test_few_genes_leave_it_at_the_usual_scale():
    log_odds, target = draw(1, 0, 20)
    scale, offset = fit_calibration(log_odds, target, 0.5)
    assert USUAL_SCALE / 1.5 < scale < USUAL_SCALE * 1.5
    assert abs(offset) < 0.5


def test_the_order_of_genes_is_never_turned_round():
    log_odds, target = draw(-2, 0, 500)
    scale, _ = fit_calibration(log_odds, target, 0.5)
    assert 0 < scale < 0.2
    for huge in (1e3, -1e3):
        assert 0 < fit_calibration(log_odds * huge, target, 0.5)[0] < 1


@pytest.mark.parametrize(
    ("log_odds", "target"), [([1.0, 2.0], [1, 1]), ([np.nan, 2.0], [0, 1]), ([np.inf, 0.0], [0, 1]), ([], [])]
)
def test_what_cannot_be_fitted_stays_as_it_is(log_odds, target):
    assert fit_calibration(np.array(log_odds), np.array(target, int), 0.5) == (1.0, 0.0)


@pytest.mark.parametrize("bias", [True, False])
def test_scale_and_offset_are_in_the_file_that_any_loader_reads(tmp_path, bias):
    import keras

    head = keras.layers.Dense(1, "sigmoid", use_bias=bias, dtype="float32")
    model = keras.Sequential([keras.layers.Input((3, 4)), keras.layers.Flatten(), head])
    weights = np.linspace(-1, 1, 12, dtype=np.float32)[:, None]
    model.set_weights([weights, np.array([0.25])] if bias else [weights])
    fold_into(model, 1.5, -0.5).save(tmp_path / "calibrated.keras")
    windows = np.random.default_rng(1).random((5, 3, 4)).astype(np.float32)
    log_odds = windows.reshape(5, 12) @ weights[:, 0] + (0.25 if bias else 0)
    probability = keras.models.load_model(tmp_path / "calibrated.keras")(windows).numpy()[:, 0]
    assert probability == pytest.approx(1 / (1 + np.exp(-1.5 * log_odds + 0.5)), abs=1e-6)
    assert model(windows).numpy()[:, 0] == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-6)  # left as it was


def test_error_that_sampling_gives():
    """A hundred genes of probability .5 in one bin: the mean distance of a binomial share from .5 is .0398."""
    errors = measured.simulate_errors(np.full(100, 0.5), 2000)
    assert errors.mean() == pytest.approx(0.0398, abs=0.002)
    few = np.array([0.05, 0.3, 0.31, 0.9999])  # as the page's bins: the two in the middle are one
    drawn = np.random.default_rng(1).random(4) < few
    assert measured.simulate_errors(few, 1)[0] == pytest.approx(measured.measure_error(drawn, few))


def test_table_of_a_run(tmp_path, capsys):
    (tmp_path / "toy_model_1").mkdir()
    write(tmp_path / "toy_run.json", '{"folds": ["1"], "settings": {}, "inputs": {}}')
    write(tmp_path / "toy_predictions.csv", "gene_id,target,probability\na,0,0.2\nb,1,0.8\nc,2,0.5\n")
    rows = "gene_id,probability,kmer,gc,uncalibrated\na,0.2,0.1,0.1,0.4\nb,0.8,0.1,0.1,0.6\nc,0.5,,,0.5\n"
    write(tmp_path / "toy_model_1/predictions.csv", rows)
    assert measured.main([str(tmp_path / "toy")]) == 0
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[:5] == ["toy", "2", "1.000", "0.400", "0.200"]
    write(tmp_path / "toy_model_1/predictions.csv", rows.replace("uncalibrated", "other"))
    assert measured.main([str(tmp_path / "toy")]) == 2
    assert "has no column uncalibrated" in capsys.readouterr().err
