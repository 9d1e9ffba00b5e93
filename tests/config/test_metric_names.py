"""Which way a metric is better."""

from __future__ import annotations

from gan_cli.config.metric_names import find_metric, is_better


def test_which_way_is_better() -> None:
    assert is_better("frechet-random", 1, than=2)
    assert is_better("modes/covered", 2, than=1)
    assert not is_better("recall-classifier", 1, than=1)
    values = {"step": 3, "recall-classifier": 0.5, "loss/generator": 1.0}
    assert find_metric(values, "recall") == ("recall-classifier", 0.5)
    assert find_metric(values, "loss/generator") is None  # no figure of samples
