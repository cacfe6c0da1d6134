"""How long `modelyard run` takes to its first training step, warm, and what the time goes to.

    python benchmarks/time_to_first_step.py [--runs 5]

Runs the quickstart's manifest in a folder of its own: once to prepare the data (not counted), then `--fresh` again and
again, each stopped after its first steps. The peer in the same run is Ray alone: `ray.init`, and a worker group of the
same size that imports torch, DeepSpeed and the model's code and returns. What is left is ours.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PEER = """
import time, os
began = time.time()
os.environ.update(RAY_USAGE_STATS_ENABLED="0", DS_ACCELERATOR="cpu", RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.5")
import logging, ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
def work():
    import deepspeed, torch
    from transformers.models.llama import modeling_llama
    return time.time()
result = TorchTrainer(
    work, scaling_config=ScalingConfig(num_workers=2), run_config=RunConfig(storage_path=FOLDER)
).fit()
print("SECONDS", result.return_value - began)
"""


def peer_seconds(folder: Path) -> float:
    """From process start to the training function with its imports done, with Ray Train alone."""
    began = time.time()
    program = PEER.replace("FOLDER", repr(str(folder / "peer")))
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=folder)
    inside = float(result.stdout.split("SECONDS")[1])
    return min(inside + 1.0, time.time() - began)


def our_seconds(folder: Path) -> dict[str, float]:
    """From process start to the first step, and what the time went to."""
    began = time.time()
    command = [sys.executable, "-m", "modelyard", "run", "-f", "examples/quickstart.yaml", "--fresh"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (run,) = (folder / "yard/runs").iterdir()
    while not (row := first_row(run, began)):
        if process.poll() is not None:
            raise SystemExit(f"the run ended: {(run / 'driver.log').read_text()[-2000:]}")
        time.sleep(0.02)
    seen = datetime.fromisoformat(str(row["time"])).timestamp()
    process.send_signal(signal.SIGTERM)
    process.wait(120)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    started = next(event for event in reversed(events) if event["event"] == "TrainingStarted")
    return {"total": seen - began, **started["startSeconds"]}


def first_row(run: Path, began: float) -> dict[str, object] | None:
    """The first step row written since `began`."""
    metrics = run / "train" / "metrics.jsonl"
    for line in metrics.read_text().splitlines() if metrics.exists() else []:
        row = json.loads(line)
        if datetime.fromisoformat(row["time"]).timestamp() >= began:
            return dict(row)
    return None


def main() -> None:
    """Measure, interleaved, and print medians."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=5)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="modelyard-start-") as name:
        folder = Path(name)
        shutil.copytree(REPOSITORY / "examples", folder / "examples")
        subprocess.run([sys.executable, "examples/collect_corpus.py"], cwd=folder, check=True, capture_output=True)
        prepare(folder)
        ours, peers = [], []
        for _ in range(chosen.runs):
            peers.append(peer_seconds(folder))
            ours.append(our_seconds(folder))
            print(f"ray alone {peers[-1]:.1f} s; modelyard {ours[-1]}", flush=True)
    phases = {name: statistics.median(one[name] for one in ours) for name in ours[0]}
    alone = statistics.median(peers)
    print("median seconds of each phase: " + ", ".join(f"{name} {value:.2f}" for name, value in phases.items()))
    print(f"modelyard / ray alone: {phases['total']:.1f} / {alone:.1f} s = {phases['total'] / alone:.2f}")


def prepare(folder: Path) -> None:
    """Make the dataset, and warm the disk's cache: a run that is stopped after its first steps."""
    command = [sys.executable, "-m", "modelyard", "run", "-f", "examples/quickstart.yaml"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((folder / "yard/runs").glob("*/train/metrics.jsonl")):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.wait(120)


if __name__ == "__main__":
    main()
