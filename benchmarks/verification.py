"""What it costs to verify every file of a finished scale: CPU seconds, beside those of the jobs that made it.

    python benchmarks/verification.py [--scale default]

Run it where the scale was run: it reads results/<scale>, and from logs/ what each job has cost.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from pathlib import Path

from boundcheck.manifests import CHECK_PROVENANCE, MEASURE_PROVENANCE, PROVENANCE, Stage, verify_all

NAMES: dict[str, Stage] = {PROVENANCE: "train", MEASURE_PROVENANCE: "measure", CHECK_PROVENANCE: "check"}

COST = re.compile(r"^done: .* ([\d.]+) s of CPU", re.MULTILINE)


def verify_seconds(manifests: list[tuple[Path, Stage]]) -> float:
    """CPU seconds to verify all files that the manifests list."""
    start = time.process_time()
    for manifest, stage in manifests:
        verify_all(manifest, stage)
    return time.process_time() - start


def main() -> None:
    """Print the number and size of the files, the seconds and their share."""
    parser = argparse.ArgumentParser(prog="verification", description=__doc__)
    parser.add_argument("--scale", default="default", help="the folder below results/")
    parser.add_argument("--rounds", type=int, default=5, help="how often all is verified")
    options = parser.parse_args()
    results = Path("results", options.scale)
    manifests = [(path, stage) for name, stage in NAMES.items() for path in sorted(results.rglob(name))]
    size = sum(path.stat().st_size for path in results.rglob("*") if path.is_file())
    logs = [*Path("logs").glob(f"*/{options.scale}/**/*.log"), *Path("logs").glob(f"*/{options.scale}.log")]
    costs = [float(cost) for log in logs for cost in COST.findall(log.read_text(encoding="utf-8", errors="replace"))]
    seconds = statistics.median(verify_seconds(manifests) for _ in range(options.rounds))
    share = seconds / sum(costs) if costs else float("nan")
    print(
        f"{len(manifests)} manifests, {size / 1e6:.0f} MB: {seconds:.2f} s of CPU once, {share:.2%} of"
        f" {sum(costs):.0f} s of the jobs"
    )


if __name__ == "__main__":
    main()
