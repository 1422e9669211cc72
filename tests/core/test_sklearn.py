"""scikit-learn on bridge arrays: estimators that support the array API fit and agree with NumPy."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# SciPy decides at its import whether it listens to array namespaces, so the estimators run in a process of their own.
CODE = """
import json, sys, traceback
import numpy as np
import bridge
import sklearn
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as LDA


def results(name, keywords, x, y):
    fitted = {"PCA": PCA, "LDA": LDA}[name](**keywords).fit(x, y)
    if name == "PCA":
        moved = fitted.transform(x)
        return [moved, fitted.components_, fitted.explained_variance_ratio_, fitted.inverse_transform(moved)]
    return [fitted.predict(x), fitted.predict_proba(x), fitted.transform(x), fitted.means_]


def error(name, keywords, dtype):
    x, y = load_iris(return_X_y=True)
    x = x.astype(dtype)
    with sklearn.config_context(array_api_dispatch=True):
        ours = results(name, keywords, bridge.asarray(x), bridge.asarray(y))
        theirs = results(name, keywords, x, y)
    assert all(type(one) is bridge.array for one in ours), [type(one) for one in ours]
    return max(float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in zip(ours, theirs))


def outcome(case):
    try:
        return error(*case)
    except Exception:
        return traceback.format_exc()


print(json.dumps([outcome(case) for case in json.loads(sys.argv[1])]))
"""

RANDOMIZED = {"svd_solver": "randomized", "power_iteration_normalizer": "QR", "random_state": 0}
ESTIMATORS = {
    "PCA": ("PCA", {"n_components": 2, "svd_solver": "full"}),
    "PCA by covariance": ("PCA", {"n_components": 3, "svd_solver": "covariance_eigh", "whiten": True}),
    "PCA by random projection": ("PCA", {"n_components": 2, **RANDOMIZED}),
    "LDA": ("LDA", {"solver": "svd"}),
}
CASES = [(name, dtype) for name in ESTIMATORS for dtype in ("float64", "float32")]


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], float | str]:
    """Of every case the largest relative difference from NumPy, or the traceback."""
    arguments = json.dumps([(*ESTIMATORS[name], dtype) for name, dtype in CASES])
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-c", CODE, arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_an_estimator_fits_on_bridge_arrays(name: str, dtype: str, outcomes: dict[tuple[str, str], float | str]):
    """With array_api_dispatch=True it gives bridge arrays of the values that it gives for ndarrays."""
    error = outcomes[name, dtype]
    assert not isinstance(error, str), error
    assert error < (1e-9 if dtype == "float64" else 1e-3)
