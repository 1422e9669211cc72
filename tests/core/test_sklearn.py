"""scikit-learn on bridge arrays: estimators that support the array API fit and agree with NumPy."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# SciPy decides at its import whether it listens to array namespaces, so each estimator runs in a process of its own.
CODE = """
import json, sys
import numpy as np
import bridge
import sklearn
from sklearn.datasets import load_iris

name, keywords, dtype = json.loads(sys.argv[1])
if name == "PCA":
    from sklearn.decomposition import PCA as Estimator
else:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as Estimator
x, y = load_iris(return_X_y=True)
x = x.astype(dtype)


def results(x, y):
    fitted = Estimator(**keywords).fit(x, y)
    if name == "PCA":
        moved = fitted.transform(x)
        return [moved, fitted.components_, fitted.explained_variance_ratio_, fitted.inverse_transform(moved)]
    return [fitted.predict(x), fitted.predict_proba(x), fitted.transform(x), fitted.means_]


with sklearn.config_context(array_api_dispatch=True):
    ours, theirs = results(bridge.asarray(x), bridge.asarray(y)), results(x, y)
assert all(type(one) is bridge.array for one in ours), [type(one) for one in ours]
print(json.dumps([float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in zip(ours, theirs)]))
"""

CASES = {
    "PCA, full": ("PCA", {"n_components": 2, "svd_solver": "full"}),
    "PCA, covariance": ("PCA", {"n_components": 3, "svd_solver": "covariance_eigh", "whiten": True}),
    "PCA, randomized": (
        "PCA",
        {"n_components": 2, "svd_solver": "randomized", "power_iteration_normalizer": "QR", "random_state": 0},
    ),
    "LDA": ("LDA", {"solver": "svd"}),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
def test_an_estimator_fits_on_bridge_arrays(case: str, dtype: str):
    """With array_api_dispatch=True it gives bridge arrays of the values that it gives for ndarrays."""
    name, keywords = CASES[case]
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    arguments = [sys.executable, "-c", CODE, json.dumps([name, keywords, dtype])]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    assert max(errors) < (1e-9 if dtype == "float64" else 1e-3), errors
