"""Derived quantities of the assay model against sums written out."""

from __future__ import annotations

import numpy as np
import xarray as xr

from her2bayes.transition import draws as assay

CLASSES = ["a", "b"]


def draws() -> tuple[xr.Dataset, np.ndarray, np.ndarray, np.ndarray]:
    share = np.array([0.7, 0.3])
    rows = np.array([[0.9, 0.1], [0.4, 0.6]])
    reads = np.array([[0.8, 0.2], [0.05, 0.95]])
    flow = share[:, None] * rows
    observed = reads.T @ flow @ reads
    unchanged = reads.T @ np.diag(np.diag(flow)) @ reads
    data = xr.Dataset(
        {
            "primary_share": (("stratum", "her2_primary"), share[None]),
            "transition": (("stratum", "her2_primary", "her2"), rows[None]),
            "misclassification": (("her2", "read"), reads),
            "observed_flow": (("stratum", "read_primary", "read"), observed[None]),
            "unchanged_flow": (("stratum", "read_primary", "read"), unchanged[None]),
        },
        coords=dict.fromkeys(("her2_primary", "her2", "read", "read_primary"), CLASSES),
    )
    return data, share, rows, reads


def test_discordance_true_and_observed() -> None:
    data, share, rows, reads = draws()
    np.testing.assert_allclose(assay.true_discordance(data), [0.7 * 0.1 + 0.3 * 0.4])
    differ = 0.0
    same = 0.0
    for t1, t2, o1, o2 in np.ndindex(2, 2, 2, 2):
        p = share[t1] * rows[t1, t2] * reads[t1, o1] * reads[t2, o2]
        differ += p * (o1 != o2)
        same += p * (o1 != o2) * (t1 == t2)
    np.testing.assert_allclose(assay.observed_discordance(data), [differ])
    np.testing.assert_allclose(assay.unchanged_given_observed_change(data), [same / differ])


def test_accuracy_is_over_both_samples() -> None:
    data, share, rows, reads = draws()
    second = share @ rows
    expected = ((share + second) / 2) @ np.diag(reads)
    np.testing.assert_allclose(assay.accuracy(data), [expected])
