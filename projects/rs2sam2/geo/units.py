"""Units of work on scenes, and what does them in whatever process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rs2sam2.errors import RefSegError
from rs2sam2.geo.clock import StageClock
from rs2sam2.geo.job import SceneJob, ScenePlan
from rs2sam2.geo.opened import CACHE, OpenedScene
from rs2sam2.geo.predictor import WindowPredictor, predictor_identity
from rs2sam2.geo.sources import gdal_env
from rs2sam2.workers.shared import Token, check_token


@dataclass(frozen=True)
class AboutUnit:
    """Asks for the model: what it is, how it wants scenes cut, and what it says to expressions."""

    expressions: tuple[str, ...]


@dataclass(frozen=True)
class PlanUnit:
    """Asks for the plan of a scene."""

    job: SceneJob


@dataclass(frozen=True)
class BlockUnit:
    """Asks for one block of a scene, to be left in a folder."""

    plan: ScenePlan
    folder: Path
    number: int


@dataclass(frozen=True)
class ExportUnit:
    """Asks for the outputs of a scene whose blocks are all in a folder."""

    plan: ScenePlan
    folder: Path


@dataclass(frozen=True)
class About:
    """What a predictor says of itself.

    Attributes:
        identity: see `WindowPredictor`.
        several: as well.
        facts: what its `about` says, where it has one: `window`, `gsd`, `trained_on`, `notes`.
    """

    identity: dict | None
    several: bool
    facts: dict[str, Any]


@dataclass(frozen=True)
class BlockReport:
    """What a block took.

    Attributes:
        seconds: wall-clock by stage.
    """

    seconds: dict[str, float]


@dataclass(frozen=True)
class Failed:
    """A unit that could not be done.

    Attributes:
        error: why.
    """

    error: RefSegError


class SceneWorker:
    """Does units; holds the model, and the scene of the latest unit open.

    Args:
        predictor: the model.
    """

    def __init__(self, predictor: WindowPredictor) -> None:
        self._predictor = predictor
        self._scene: OpenedScene | None = None
        self.seen: Callable[[int], object] = lambda count: None

    def __call__(self, units: Iterator[Any]) -> Iterator[Any]:
        """One outcome a unit, `Failed` among them."""
        for unit in units:
            try:
                with gdal_env(GDAL_CACHEMAX=CACHE):
                    outcome = self._do(unit)
            except RefSegError as error:
                outcome = Failed(error)
            yield outcome

    def close(self) -> None:
        """Closes the scene that is open."""
        if self._scene is not None:
            self._scene.close()
            self._scene = None

    def _do(self, unit: Any) -> Any:
        clock = StageClock()
        match unit:
            case AboutUnit(expressions):
                about = getattr(self._predictor, 'about', None)
                several = bool(getattr(self._predictor, 'several', False))
                return About(predictor_identity(self._predictor), several, about(expressions) if about else {})
            case PlanUnit(job):
                return self._open(job, None).plan(self._predictor)
            case BlockUnit(plan, folder, number):
                scene = self._open(plan.job, plan)
                scene.run_block(number, folder, self._predictor, clock, self.seen)
                return BlockReport(dict(clock.seconds))
            case ExportUnit(plan, folder):
                results = self._open(plan.job, plan).export(folder, self._predictor, clock)
                self.close()
                return [replace(result, seconds=dict(clock.seconds)) for result in results]
        raise TypeError(f'no unit: {unit!r}')

    def _open(self, job: SceneJob, plan: ScenePlan | None) -> OpenedScene:
        if self._scene is None or self._scene.job != job:
            self.close()
            self._scene = OpenedScene(job, plan)
        self._scene.use_cache()
        return self._scene


@dataclass(frozen=True)
class WorkerMaker:
    """Makes a `SceneWorker` in a process of any machine.

    Attributes:
        predictor: makes the model.
        token: a file in the output folder that every worker must see; None: there is no other machine.
    """

    predictor: Callable[[], WindowPredictor]
    token: Token | None = None

    def __call__(self) -> SceneWorker:
        """See the class.

        Raises:
            ConfigError: the output folder is not the same on this machine.
        """
        check_token(self.token)
        return SceneWorker(self.predictor())
