"""ReChecker's fragments: no body in two folds, and labels as the file has them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sansdata.reproduce import contracts
from sansdata.reproduce.experiments.contracts import f1

pytest.importorskip("tree_sitter_solidity")


@pytest.mark.skipif(
    not (Path(os.environ.get("SANSDATA_DATA", "")) / "solidity/rechecker").is_dir(),
    reason="SANSDATA_DATA has no solidity/",
)
def test_no_body_of_the_data_is_in_two_folds() -> None:
    whole = contracts.raw("reentrancy")
    assert (len(whole), int(whole.labels.sum())) == (2000, 523)
    bodies = contracts.distinct(whole)
    assert len(set(bodies.texts)) == len(bodies) < 200
    tests = [contracts.fold(bodies, number) for number in range(contracts.FOLDS)]
    assert sorted(text for _, test in tests for text in test.texts) == sorted(bodies.texts)
    for train, test in tests:
        assert not set(train.texts) & set(test.texts)
        assert 0.2 < test.labels.mean() < 0.4
    raw_train, raw_test = contracts.fold(whole, 0)
    assert np.mean([text in set(raw_train.texts) for text in raw_test.texts]) > 0.9  # what the raw split hides


def test_f1_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    truth, said = random.integers(0, 2, 50), random.integers(0, 2, 50)
    assert f1(truth, said) == pytest.approx(100 * f1_score(truth, said))
    assert f1(truth, np.zeros(50, int)) == 0
