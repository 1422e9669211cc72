"""Measurements of the claims, side by side with peers in one run, as scripts: `python -m benchmarks.costs`.

They need the `demo` extra and, as a peer, mlx (`pip install mlx` on macOS, `pip install "mlx[cpu]"` on Linux). A peer
that is not installed is named in the table and its row has no ratio.
"""
