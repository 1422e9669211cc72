"""What `import bridge` costs on top of `import numpy`: at most 60 ms, and no framework comes with it.

python -m benchmarks.import_time [--rounds N] [--json FILE] [--check]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from benchmarks.harness import Row, finish, parser

LIMIT = 0.060  # seconds

PROBE = """
import json, sys, time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import bridge
end = time.perf_counter()
loaded = [name for name in ("torch", "jax", "tensorflow", "mlx") if name in sys.modules]
print(json.dumps([middle - start, end - middle, loaded]))
"""


def main() -> None:
    options = parser(__doc__.partition("\n")[0], rounds=15).parse_args()
    runs = []
    for _ in range(options.rounds + 1):
        output = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, check=True, text=True).stdout
        runs.append(json.loads(output))
    numpy_times, bridge_times, loaded = zip(*runs[1:], strict=True)  # the first one fills the disk cache
    ours = statistics.median(bridge_times)
    row = Row(name="import bridge, numpy being there", ours=ours, peer_name="limit", peer=LIMIT, target=1.0)
    print(f"import numpy: {1e3 * statistics.median(numpy_times):.0f} ms; frameworks loaded by bridge: {loaded[0]}")
    finish([row], options)


if __name__ == "__main__":
    main()
