"""Every fault at every point of a scenario, one at a time.

A disturbed run that has come back to the very state of the undisturbed one (see `verdicts.state`) is as good as a new
one: the next fault befalls it from there on. So one run tries as many faults as it has moves, and none together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from support.crashes.faults import Fault, Faults, Point
from support.crashes.stages import Saved, Scenario, Stage
from support.crashes.verdicts import State, differences, state


@dataclass(frozen=True)
class Trial:
    """A fault at a point, in the `move` of the course in which the undisturbed run comes by it."""

    point: Point
    number: int
    move: int
    fault: Fault

    def __str__(self) -> str:
        return f"{self.fault.value}, at point {self.number} in move {self.move}: {self.point}"


@dataclass
class Track:
    """The undisturbed run: how many points it had passed before each move, state and world after each.

    `worlds` has only those in which an operator that starts anew comes to the same state.
    """

    scenario: Scenario
    stage: Stage
    passed: list[int] = field(default_factory=list)
    states: list[State | None] = field(default_factory=list)
    worlds: dict[int, Saved] = field(default_factory=dict)

    def trials(self) -> Iterator[Trial]:
        """Every fault at every point, but in moves that are another scenario's."""
        bounds = [*self.passed, len(self.stage.faults.points)]
        for move in range(self.scenario.shared + 1, len(self.passed)):
            for number in range(bounds[move], bounds[move + 1]):
                point = self.stage.faults.points[number]
                yield from (Trial(point, number, move, fault) for fault in point.faults())

    def is_at(self, move: int, stage: Stage) -> bool:
        """Whether a run is in the state of the undisturbed one after that move."""
        return self.states[move] is not None and state(stage) == self.states[move]

    def before(self, move: int) -> Stage:
        """A run in the state of the undisturbed one before that move, or earlier, with no fault planted."""
        at = max((world for world in self.worlds if world < move), default=None)
        stage = Stage(self.scenario, Faults())
        if at is not None:
            stage.restore(self.worlds[at])
        stage.faults.points = self.stage.faults.points[: self.passed[stage.moves]]
        return stage


@dataclass
class Report:
    """What came of all trials. `num_rejoined` of them came back to the undisturbed run's state before the end."""

    tried: Counter[Fault] = field(default_factory=Counter)
    num_runs: int = 0
    num_rejoined: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def num_trials(self) -> int:
        """All faults that were planted."""
        return self.tried.total()


def undisturbed(scenario: Scenario) -> Track:
    """Play a scenario without faults. The stage of the result is at its end, and closed."""
    worlds = []
    with Stage(scenario) as stage:
        track = Track(scenario, stage)
        while stage.moves < stage.num_moves:
            track.passed.append(len(stage.faults.points))
            stage.move()
            track.states.append(state(stage))
            worlds.append(stage.save())
    for move, world in enumerate(worlds[:-1]):
        with Stage(scenario) as fresh:
            fresh.restore(world)
            if track.is_at(move, fresh):
                track.worlds[move] = world
    return track


def try_all(scenario: Scenario) -> Report:
    """Every fault at every point of the scenario."""
    track, report = undisturbed(scenario), Report()
    waiting: list[list[Trial]] = [[] for _ in track.states]
    for trial in track.trials():
        waiting[trial.move].append(trial)
        report.tried[trial.fault] += 1
    while any(waiting):
        report.num_runs += 1
        _run(track, waiting, report)
    return report


def _run(track: Track, waiting: list[list[Trial]], report: Report) -> None:
    """One run, with one trial after the other as long as each comes back to the undisturbed run."""
    trial: Trial | None = None
    first = next(move for move, trials in enumerate(waiting) if trials)
    with track.before(first) as stage:
        while stage.moves < stage.num_moves:
            move = stage.moves
            if trial is None:
                if move > first and not any(waiting[move : move + 2]):
                    return  # a new run gets there sooner
                stage.faults.points = track.stage.faults.points[: track.passed[move]]
                if waiting[move]:
                    trial = waiting[move].pop()
                    stage.faults.plant(trial.fault, trial.number)
            stage.move()
            if trial is not None and stage.faults.struck and track.is_at(move, stage):
                stage.faults.fault, trial = None, None
                report.num_rejoined += 1
        if trial is not None:
            if not stage.faults.struck:
                report.faults.append(f"{trial}: the run never came by this point")
            report.faults += [f"{trial}: {words}" for words in differences(track.stage, stage)]
