"""Many scenes into one folder: rasters a scene, one file of all polygons, an index; nothing is done twice."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rs2sam2.errors import DataError, RefSegError
from rs2sam2.geo.board import Board
from rs2sam2.geo.index import SCENES, SceneIndex
from rs2sam2.geo.job import SceneJob, check_expressions
from rs2sam2.geo.merging import Layer, merge_polygons
from rs2sam2.geo.options import SceneOptions
from rs2sam2.geo.predictor import WindowPredictor
from rs2sam2.geo.result import SceneResult
from rs2sam2.geo.run import SceneRun
from rs2sam2.geo.scene_list import ListedScene, list_scenes
from rs2sam2.geo.sources import is_local
from rs2sam2.geo.units import About, AboutUnit, Failed, SceneWorker, WorkerMaker
from rs2sam2.geo.vectors import vector_driver
from rs2sam2.locks import hold_folder, make_writable
from rs2sam2.terminal import plain
from rs2sam2.workers import Workers
from rs2sam2.workers.local import LocalWorker
from rs2sam2.workers.shared import token_in

BLOCKS = '.blocks'


@dataclass
class ScenesResult:
    """What was done with many scenes.

    Attributes:
        folder: where everything is.
        rows: of the index: one dict a finished scene and expression, those of earlier runs too.
        done: names of the scenes that this run finished.
        before: how many were finished before.
        replaced: names of those that were done again, because their file was replaced.
        failed: (scene, why) of the others.
        outdated: names of failed ones of which the results of an earlier file are still there.
        unnamed: names of finished scenes that this run was not told of; their results stay.
        lost: names of such whose files are not all there any more; they are left out of the index and the polygons.
        own: how many of the named rasters are results of this folder, and were left out.
        layers: of all polygons, where they were written anew.
        seconds: of the workers, all together, by stage; see `SceneResult`.
    """

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    before: int = 0
    replaced: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    own: int = 0
    layers: list[Layer] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)


def segment_scenes(
    scenes: Sequence[str | os.PathLike],
    expressions: Sequence[str],
    predictor: Callable[[], WindowPredictor],
    out: str | os.PathLike,
    *,
    options: SceneOptions | Callable[[About], SceneOptions] | None = None,
    polygons: str | os.PathLike | None = None,
    workers: Workers | None = None,
    progress: bool = True,
) -> ScenesResult:
    """Segments many scenes by several expressions into one folder.

    Started again with the same folder it does what is missing: scenes that failed, new ones, the missing blocks of the
    one that it was at. Its results do not depend on who works, and on how often it was stopped, to the last bit.

    Args:
        scenes: files, folders, patterns, lists, STAC item collections, addresses; see `list_scenes`.
        expressions: what to segment in each.
        predictor: makes the model, once in every worker; pickled where workers are other processes.
        out: the folder. `scenes/NAME.EXPRESSION.mask.tif` and `.probability.tif`, `scenes/NAME.gpkg`, `objects.gpkg`
            with the polygons of all scenes, `index.jsonl` with one line a scene and expression.
        options: how; or what says so when the model is known; None: as `SceneOptions` begins.
        polygons: file of all polygons, in place of `objects.gpkg`.
        workers: who works (see `open_workers`); None: this process.
        progress: whether a bar is shown on stderr.

    Raises:
        RefSegError: nothing can be done: no scene is there, the folder belongs to another run, a model cannot be used.
            What is wrong with one scene is in `failed`.
    """
    check_expressions(expressions)
    folder = Path(os.path.abspath(out))
    target = folder / 'objects.gpkg' if polygons is None else Path(os.path.abspath(polygons))
    vector_driver(target)
    listed = [
        one._replace(scene=os.path.abspath(one.scene)) if is_local(one.scene) else one
        for one in list_scenes([os.fspath(scene) for scene in scenes])
    ]
    # A pattern that reaches into the folder would find the rasters of the run before.
    given = [
        one for one in listed if Path(os.path.realpath(one.scene)).parent != Path(os.path.realpath(folder / SCENES))
    ]
    if not given:
        raise DataError(f'all rasters that are named are results in {folder / SCENES}; name scenes')
    workers = workers or LocalWorker()
    make_writable(folder)
    with hold_folder(folder, 'choose another --out'), ready(workers, predictor, folder) as own:
        about = ask_about(workers, expressions)
        settled = replace(options(about) if callable(options) else options or SceneOptions(), several=about.several)
        index = SceneIndex(folder, expressions, {'model': about.identity, 'options': vars(settled)})
        found = _Many(folder, index, workers, own, settled, expressions, progress).run(given, target)
    found.own = len(listed) - len(given)
    return found


@contextmanager
def ready(
    workers: Workers, predictor: Callable[[], WindowPredictor], folder: Path, name: str = 'run'
) -> Iterator[SceneWorker | None]:
    """Workers with a model each, which see the folder; the one of this process, if there is one.

    Args:
        workers: who works.
        predictor: makes the model.
        folder: of the outputs.
        name: of the run; no other of this name is in the folder at the same time.

    Raises:
        RefSegError: a worker has no model, or does not see the folder.
    """
    with token_in(folder, workers, name) as token:
        own = workers.start(WorkerMaker(predictor, token))
        yield own
    if own is not None:
        own.close()


def ask_about(workers: Workers, expressions: Sequence[str]) -> About:
    """What the model is, and what it says to expressions.

    Raises:
        RefSegError: one of them cannot be asked.
    """
    ((_, about),) = workers.run([AboutUnit(tuple(expressions))])
    if isinstance(about, Failed):
        raise about.error
    return about


class _Many:
    def __init__(
        self,
        folder: Path,
        index: SceneIndex,
        workers: Workers,
        own: SceneWorker | None,
        options: SceneOptions,
        expressions: Sequence[str],
        progress: bool,
    ) -> None:
        self._folder, self._index, self._workers, self._own = folder, index, workers, own
        self._options, self._expressions, self._progress = options, tuple(expressions), progress

    def run(self, listed: Sequence[ListedScene], target: Path) -> ScenesResult:
        index, found = self._index, ScenesResult(self._folder)
        named = index.names(listed)
        todo = [one for one in named if not index.is_finished(one)]
        found.before = len(named) - len(todo)
        replaced = [one.name for one in todo if index.was_replaced(one)]
        jobs = [SceneJob(one.scene, self._expressions, self._options, index.outputs(one.name)) for one in todo]
        with Board(self._progress) as board:
            if self._own is not None:
                self._own.seen = board.window

            def ended(number: int, outcome: list[SceneResult] | RefSegError) -> None:
                one = todo[number]
                if isinstance(outcome, RefSegError):
                    found.failed.append((one.scene, str(outcome)))
                    board.say(plain(f'failed: {_without(str(outcome), one.scene)}'))
                else:
                    index.add(one, outcome)
                    found.done.append(one.name)
                    found.seconds.update(outcome[0].seconds)

            blocks = {job.outputs: self._folder / BLOCKS / one.name for job, one in zip(jobs, todo, strict=True)}
            SceneRun(self._workers, board, lambda job: blocks[job.outputs], ended)(jobs)
        index.finish([one.name for one in named])
        found.rows = index.rows()
        found.replaced = [name for name in replaced if name in found.done]
        found.outdated = [name for name in replaced if name not in found.done]
        finished, told = {row['name'] for row in found.rows}, {one.name for one in named}
        found.unnamed = sorted(finished - told)
        found.lost = sorted(index.torn.keys() - finished - told)
        if not index.is_merged(target):
            parts = list(dict.fromkeys(self._folder / row['polygons'] for row in found.rows))
            found.layers = merge_polygons(parts, target)
            index.note_merged(target, found.layers)
        with suppress(OSError):  # it holds what the next run goes on with, or is not there
            (self._folder / BLOCKS).rmdir()
        return found


def _without(text: str, scene: str) -> str:
    return text if plain(scene) in plain(text) else f'{scene}: {text}'
