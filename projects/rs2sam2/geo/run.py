"""Scenes through workers: planned, run block by block, written out; what a stopped run finished is not done again."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from rs2sam2.errors import RefSegError
from rs2sam2.geo.blocks import any_finished, begin_folder, missing_blocks, remove_folder
from rs2sam2.geo.board import Board
from rs2sam2.geo.job import SceneJob, ScenePlan
from rs2sam2.geo.outputs import require_space, writing_to
from rs2sam2.geo.result import SceneResult
from rs2sam2.geo.units import BlockUnit, ExportUnit, Failed, PlanUnit
from rs2sam2.locks import hold_folder, scratch_folder
from rs2sam2.workers import Workers

_WAVE = 8  # blocks a worker, at least, before outputs are written: disk holds the sums of two such waves


class BlockPlace(AbstractContextManager):
    """The folder of a scene's blocks, held by this process.

    It is removed when the scene is done, and when nothing in it is finished or can be gone on with: where the predictor
    does not say what it is, nobody knows whose blocks they were.

    Args:
        plan: of the scene.
        folder: where; made if needed.

    Attributes:
        path: of the folder.
        done: whether its blocks are not needed any more.
    """

    def __init__(self, plan: ScenePlan, folder: Path) -> None:
        self._about, self.path, self.done = plan.about, folder, False
        self._stack: ExitStack | None = None

    def __enter__(self) -> 'BlockPlace':
        parent = self.path.parent
        with writing_to(parent), ExitStack() as stack:
            parent.mkdir(parents=True, exist_ok=True)
            if self._about['model'] is None:
                self.path = stack.enter_context(scratch_folder(parent, '.rs2sam2-', '.partial'))
            else:
                self.path.mkdir(exist_ok=True)
                stack.enter_context(hold_folder(self.path, 'name another output'))
                begin_folder(self.path, self._about)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of it; once more does nothing."""
        stack, self._stack = self._stack, None
        if stack is None:
            return
        with stack:
            if self.done or not any_finished(self.path):
                remove_folder(self.path)


class SceneRun:
    """Runs scenes.

    Args:
        workers: who works; they are started.
        board: what is shown.
        folder_of: where the blocks of a job lie.
        ended: is called with the index of a job and its results, one an expression, or why there are none.
    """

    def __init__(
        self,
        workers: Workers,
        board: Board,
        folder_of: Callable[[SceneJob], Path],
        ended: Callable[[int, list[SceneResult] | RefSegError], object],
    ) -> None:
        self._workers, self._board, self._folder_of, self._ended = workers, board, folder_of, ended
        self._failed: set[int] = set()
        self._seconds: dict[int, Counter] = {}

    def __call__(self, jobs: Sequence[SceneJob]) -> None:
        """Runs all, in waves: the outputs of one wave are written while the blocks of the next are run."""
        plans = self._plan(jobs)
        self._board.begin(sum(sum(plan.blocks) for plan in plans.values()), sum(len(p.blocks) for p in plans.values()))
        waiting = deque(plans)
        written: list[int] = []
        with ExitStack() as stack:
            places: dict[int, BlockPlace] = {}
            while waiting or written:
                units: list[tuple[int, Any]] = [(one, ExportUnit(plans[one], places[one].path)) for one in written]
                wave, blocks = [], 0
                while waiting and blocks < _WAVE * self._workers.count:
                    index = waiting.popleft()
                    try:
                        missing = self._begin(plans[index], index, places, stack)
                    except RefSegError as error:
                        self._fail(index, error, sum(plans[index].blocks), len(plans[index].blocks))
                        continue
                    units += [(index, BlockUnit(plans[index], places[index].path, number)) for number in missing]
                    wave.append(index)
                    blocks += len(missing)
                self._run(units, places)
                written = [index for index in wave if index not in self._failed]

    def _plan(self, jobs: Sequence[SceneJob]) -> dict[int, ScenePlan]:
        plans = {}
        for index, plan in self._workers.run([PlanUnit(job) for job in jobs]):
            if isinstance(plan, Failed):
                self._fail(index, plan.error)
            else:
                plans[index] = plan
        return dict(sorted(plans.items()))

    def _begin(self, plan: ScenePlan, index: int, places: dict[int, BlockPlace], stack: ExitStack) -> list[int]:
        """Opens the folder of a scene's blocks; the numbers of those that are missing."""
        places[index] = stack.enter_context(BlockPlace(plan, self._folder_of(plan.job)))
        missing = missing_blocks(places[index].path, len(plan.blocks))
        require_space(places[index].path.parent, plan.space * len(missing) // len(plan.blocks))
        for number in set(range(len(plan.blocks))) - set(missing):
            self._board.block(plan.blocks[number])
        return missing

    def _run(self, units: Sequence[tuple[int, Any]], places: dict[int, BlockPlace]) -> None:
        for number, outcome in self._workers.run([unit for _, unit in units]):
            index, unit = units[number]
            if isinstance(unit, BlockUnit):
                self._board.block(unit.plan.blocks[unit.number])
            else:
                self._board.write()
            if isinstance(outcome, Failed):
                self._fail(index, outcome.error)
            elif isinstance(unit, BlockUnit):
                self._seconds.setdefault(index, Counter()).update(outcome.seconds)
            else:
                seconds = self._seconds.pop(index, Counter())
                seconds.update(outcome[0].seconds)
                self._ended(index, [replace(one, seconds=dict(seconds)) for one in outcome])
                places[index].done = True
                places.pop(index).close()

    def _fail(self, index: int, error: RefSegError, windows: int = 0, blocks: int = 0) -> None:
        """A scene cannot be done; it is told once, whatever else of it fails.

        Args:
            index: of its job.
            error: why.
            windows: that will not be begun.
            blocks: as well.
        """
        if index not in self._failed:
            self._failed.add(index)
            self._board.fail(windows, blocks)
            self._ended(index, error)
