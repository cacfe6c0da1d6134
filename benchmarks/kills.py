"""Kill a training run, by seed, wherever it hurts, and prove that the rerun ends with the uninterrupted run's weights.

    python benchmarks/kills.py                    # 14 while stepping, 20 in the save, 6 in prepare or register
    python benchmarks/kills.py --plan worker:step,worker:checkpoint.commit.before,driver:step,driver:registry.copied

Each victim is a process of the run's own tree (driver, a worker, raylet, gcs_server, the dashboard's agent), killed by
SIGKILL while it steps, or by an armed fault point inside the save, prepare or register. When the driver is gone the
same command is run again at once. Printed for each kill: the victim, the steps lost (those after the last commit),
and the seconds from the kill to the next step. Fails (exit 1) when the weights differ, when more was lost than lay
after the last commit, when a kill could not be met, or when a run stood still for over 90 s after a kill.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

STILL_SECONDS = 90.0
UNDISTURBED_SECONDS = 25.0  # longer than Ray takes to act on the loss of one of its own processes
SAVE_POINTS = (
    "checkpoint.save.begin",
    "checkpoint.fragments.half",
    "checkpoint.fragments.written",
    "checkpoint.fragments.durable",
    "checkpoint.gathered",
    "checkpoint.commit.before",
    "checkpoint.commit.after",
    "checkpoint.prune.unmarked",
)
STAGE_POINTS = ("data.prepare.built", "registry.claimed", "data.prepare.published", "registry.copied")
VICTIMS = {
    "driver": None,
    "worker": r"RayTrainWorker",
    "controller": r"TrainController",
    "raylet": r"/raylet\b",
    "gcs_server": r"/gcs_server\b",
    "dashboard": r"(?i)dashboard",
}
MANIFEST = """\
apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata: {name: kills}
spec:
  objective: causal-lm
  model:
    architecture: llama
    config: {hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4}
    tokenizer: {train: {algorithm: bpe, vocabSize: 384}}
  data:
    train: [{name: words, path: words/*.jsonl, format: jsonl}]
    validation: {fraction: 0.1}
    sequenceLength: 64
  optimization:
    steps: %(steps)d
    globalBatchTokens: 512
    optimizer: {name: adamw, learningRate: 0.002}
  sharding: {zeroStage: 2}
  workers: {count: 2, resources: {cpu: "1", memory: 1Gi}}
  checkpoint: {everySteps: 10, keep: {last: 2}}
  faultTolerance: {maxRestarts: 3}
  register: {name: kills, aliases: [candidate]}
"""


@dataclass(frozen=True)
class Kill:
    """Who dies where: `place` is `step` or a fault point's name."""

    victim: str
    place: str


@dataclass(frozen=True)
class Outcome:
    """What a kill cost. `seconds` from the kill to the next step; `lost` steps had to be done again."""

    victim: str
    place: str
    pid: int
    at_step: int
    committed: int
    lost: int
    seconds: float
    driver_survived: bool


def plan_by_seed(kills: int, seed: int) -> list[Kill]:
    """35 % while stepping, 50 % inside the save, 15 % in prepare or register, in random order."""
    chance = random.Random(seed)
    stages, stepping = round(kills * 0.15), round(kills * 0.35)
    plan = [Kill(chance.choice(list(VICTIMS)), "step") for _ in range(stepping)]
    plan += [Kill("worker", SAVE_POINTS[i % len(SAVE_POINTS)]) for i in range(kills - stages - stepping)]
    chance.shuffle(plan)
    return plan + [Kill("driver", STAGE_POINTS[i % len(STAGE_POINTS)]) for i in range(stages)]


def runs_of(plan: list[Kill], most: int) -> list[list[Kill]]:
    """The plan cut into runs of at most `most` kills; one in prepare needs a run that has nothing yet."""
    runs: list[list[Kill]] = [[]]
    for kill in plan:
        if len(runs[-1]) == most or (kill.place.startswith("data.") and runs[-1]):
            runs.append([])
        runs[-1].append(kill)
    return runs


class Run:
    """One run in a folder of its own, started again whenever its driver is gone."""

    def __init__(self, root: Path, steps: int) -> None:
        self.root = root
        self.steps = steps
        words = root / "words"
        words.mkdir(parents=True)
        (words / "words.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents()))
        (root / "job.yaml").write_text(MANIFEST % {"steps": steps})
        self.driver: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def folder(self) -> Path:
        """The run's folder in the yard, once it exists."""
        return next(iter((self.root / "yard" / "runs").glob("kills-*")), self.root / "none")

    def start(self, fault: str = "") -> None:
        """Run the command again, with a fault point armed or none."""
        environment = {key: value for key, value in os.environ.items() if key != "MODELYARD_FAULT_POINT"}
        if fault:
            environment["MODELYARD_FAULT_POINT"] = fault
        self.starts += 1
        log = (self.root / f"driver-{self.starts}.out").open("wb")
        command = [sys.executable, "-m", "modelyard", "run", "-f", "job.yaml"]
        self.driver = subprocess.Popen(command, cwd=self.root, env=environment, stdout=log, stderr=log)
        log.close()

    def alive(self) -> bool:
        """Whether the driver runs."""
        return self.driver is not None and self.driver.poll() is None

    def rows(self) -> list[dict[str, float]]:
        """Step rows so far; a torn last line is not one."""
        path = self.folder / "train" / "metrics.jsonl"
        rows = []
        for line in path.read_bytes().splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if "stepSeconds" in row:
                rows.append(row)
        return rows

    def committed(self) -> int:
        """The newest committed step."""
        marks = (self.folder / "train" / "checkpoints").glob("step-*/COMMITTED.json")
        return max((int(re.findall(r"step-(\d+)", mark.parent.name)[0]) for mark in marks), default=0)

    def victim(self, kind: str, chance: random.Random) -> psutil.Process | None:
        """A process of the driver's tree of that kind."""
        assert self.driver is not None
        tree = psutil.Process(self.driver.pid)
        if kind == "driver":
            return tree
        found = [process for process in tree.children(recursive=True) if matches(process, VICTIMS[kind] or "")]
        return chance.choice(sorted(found, key=lambda process: process.pid)) if found else None

    def finish(self, timeout: float = 300.0) -> None:
        """Let it end by itself; raises when it does not end well."""
        if not self.alive() and (self.driver is None or self.driver.returncode != 0):
            self.start()
        assert self.driver is not None
        if self.driver.wait(timeout) != 0:
            raise SystemExit(f"the last run failed: {(self.root / f'driver-{self.starts}.out').read_text()}")

    def weights(self) -> str:
        """sha256 of the registered weights."""
        (record,) = (self.root / "yard" / "models" / "kills").glob("*/version.json")
        files = json.loads(record.read_text())["files"]
        return next(file["sha256"] for file in files if file["path"].endswith(".safetensors"))


def matches(process: psutil.Process, pattern: str) -> bool:
    """Whether a process's command line or title is of that kind."""
    try:
        return bool(re.search(pattern, " ".join(process.cmdline())))
    except psutil.Error:
        return False


def documents() -> list[str]:
    """The same 400 short texts on every machine."""
    chance = random.Random(7)
    words = ["the", "a", "model", "reads", "writes", "small", "large", "text", "and", "then", "stops", "goes", "on"]
    return [" ".join(chance.choices(words, k=chance.randint(20, 90))) for _ in range(400)]


def reach(run: Run, step: int) -> None:
    """Wait until the run has come to a step, starting it again when it is gone."""
    while max((row["step"] for row in run.rows()), default=0) < step or not run.alive():
        if not run.alive():
            if run.driver is not None and run.driver.returncode == 0:
                return
            run.start()
        time.sleep(0.02)


def strike(run: Run, kill: Kill, target: int, chance: random.Random) -> tuple[int, float, int]:
    """Bring the kill about; returns the victim's pid, the moment, and the number of rows before it."""
    if kill.place == "step":
        reach(run, target)
        time.sleep(chance.uniform(0.0, 0.3))
        victim = run.victim(kill.victim, chance) if run.alive() else None
        if victim is None:
            return 0, time.time(), len(run.rows())
        victim.kill()
        return victim.pid, time.time(), len(run.rows())
    if run.alive():
        assert run.driver is not None
        run.driver.terminate()
        run.driver.wait(120)
    marker = run.root / f"hit-{run.starts}"
    run.start(f"{kill.place}:1:kill:{marker}")
    while run.alive() and not marker.exists():
        time.sleep(0.02)
    return (run.driver.pid if run.driver else 0) if marker.exists() else 0, time.time(), len(run.rows())


def recover(run: Run, moment: float, attempt: int) -> tuple[float, bool]:
    """Wait for a step of a later attempt, running the command again when the driver is gone.

    Returns seconds, and whether the driver survived. A run that goes on undisturbed for a while took no harm: 0 s.
    """
    survived = True
    while time.time() - moment < STILL_SECONDS * 2:
        since = [row for row in run.rows() if row_time(row) > moment]
        later = [row for row in since if row["attempt"] > attempt]
        if later:
            return row_time(later[0]) - moment, survived
        if not run.alive():
            assert run.driver is not None
            if run.driver.returncode == 0:
                return time.time() - moment, survived
            survived = False
            run.start()
        elif since and row_time(since[-1]) - moment > UNDISTURBED_SECONDS:
            return 0.0, survived
        time.sleep(0.05)
    return float("inf"), survived


def row_time(row: dict[str, float]) -> float:
    """When a row was written, in seconds since the epoch."""
    from datetime import datetime

    return datetime.fromisoformat(str(row["time"])).timestamp()


def harass(run: Run, plan: list[Kill], seed: int) -> tuple[list[Outcome], list[Kill]]:
    """Carry the plan out on one run and let it end; returns also the kills that came too late for it."""
    chance = random.Random(seed)
    outcomes, missed = [], []
    for number, kill in enumerate(plan, 1):
        target = run.steps * number // (len(plan) + 2) + chance.randint(0, 5)
        pid, moment, count = strike(run, kill, target, chance)
        if pid == 0:
            print(f"  {kill.victim:10} {kill.place:28} came too late for this run", flush=True)
            missed.append(kill)
            continue
        before = run.rows()[:count]
        reached = int(max((row["step"] for row in before), default=0))
        attempt = int(max((row["attempt"] for row in before), default=0))
        committed = run.committed()
        seconds, survived = recover(run, moment, attempt)
        again = min((row["step"] for row in run.rows() if row["attempt"] > attempt), default=reached + 1)
        lost = int(max(0, reached - again + 1))
        outcome = Outcome(kill.victim, kill.place, pid, reached, committed, lost, seconds, survived)
        outcomes.append(outcome)
        print("  " + describe(outcome), flush=True)
    run.finish()
    return outcomes, missed


def describe(outcome: Outcome) -> str:
    """One line for people."""
    return (
        f"{outcome.victim:10} {outcome.place:28} pid {outcome.pid:<8} at step {outcome.at_step:<5} "
        f"last commit {outcome.committed:<5} lost {outcome.lost:<3} {outcome.seconds:6.1f} s to the next step"
        + ("" if outcome.driver_survived else ", run again")
    )


def main() -> None:
    """Run the reference, then the harassed runs; print and judge."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=40)
    arguments.add_argument("--per-run", type=int, default=10, help="kills that one run must survive")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--steps", type=int, default=2000)
    arguments.add_argument("--plan", default="", help="victim:place,… instead of a plan by seed")
    arguments.add_argument("--json", type=Path, help="write the outcomes to this file too")
    chosen = arguments.parse_args()
    plan = (
        [Kill(*item.split(":", 1)) for item in chosen.plan.split(",")]
        if chosen.plan
        else plan_by_seed(chosen.kills, chosen.seed)
    )
    with tempfile.TemporaryDirectory(prefix="modelyard-kills-") as folder:
        reference = Run(Path(folder) / "reference", chosen.steps)
        reference.finish()
        wanted = reference.weights()
        print(f"uninterrupted weights {wanted}", flush=True)
        outcomes, same = [], True
        runs, again = runs_of(plan, chosen.per_run), 0
        for number, part in enumerate(runs):  # grows by what came too late, three times at most
            run = Run(Path(folder) / f"run-{number}", chosen.steps)
            met, missed = harass(run, part, chosen.seed + number)
            outcomes += met
            if missed and again < 3:
                runs.append(missed)
                again += 1
            same &= run.weights() == wanted
            print(f"  weights {'the same' if run.weights() == wanted else 'DIFFER'}", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes]))
    sys.exit(judge(outcomes, same, len(plan)))


def judge(outcomes: list[Outcome], same: bool, planned: int) -> int:
    """Print the sums; 0 when every promise held."""
    seconds = [outcome.seconds for outcome in outcomes]
    lost_more = [o for o in outcomes if o.lost > max(0, o.at_step - o.committed)]
    still = [o for o in outcomes if o.seconds > STILL_SECONDS]
    print(
        f"{len(outcomes)} of {planned} kills met; weights {'the same every time' if same else 'DIFFER'}; "
        f"seconds to the next step: median {statistics.median(seconds):.1f}, worst {max(seconds):.1f}; "
        f"steps lost at most {max(o.lost for o in outcomes)}; lost more than lay after the commit: {len(lost_more)}; "
        f"stood still over {STILL_SECONDS:.0f} s: {len(still)}"
    )
    return 0 if same and not lost_more and not still and len(outcomes) == planned else 1


if __name__ == "__main__":
    main()
