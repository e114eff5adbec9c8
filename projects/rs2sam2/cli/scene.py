"""The command `rs2sam2 scene`: one scene into files that are named, or many into a folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from rs2sam2.allocator import keep_memory
from rs2sam2.errors import ConfigError
from rs2sam2.geo.board import Board
from rs2sam2.geo.job import SceneJob, make_job
from rs2sam2.geo.many import ScenesResult, ask_about, ready, segment_scenes
from rs2sam2.geo.options import SceneOptions
from rs2sam2.geo.result import SceneResult
from rs2sam2.geo.scene import run_one
from rs2sam2.geo.units import About
from rs2sam2.inference import InferencerWindowPredictor, RefSegInferencer
from rs2sam2.inference.inferencer import trained_on_note
from rs2sam2.locks import make_writable
from rs2sam2.terminal import counted, plain, plain_console
from rs2sam2.workers import Workers, open_workers, own_device

_ROWS = 40  # scenes that the table at the end names
_NAMED = 10  # that a note names


@dataclass(frozen=True)
class ModelMaker:
    """Makes the model of a worker, in whatever process.

    Attributes:
        model: as `RefSegInferencer` takes it.
        weights: checkpoint, or None.
        device: or None for the process's own GPU, or the CPU.
        precision: or None.
        compile: compile it.
        tta: symmetries, or None.
    """

    model: str
    weights: str | None = None
    device: str | None = None
    precision: str | None = None
    compile: bool = False
    tta: str | None = None

    def __call__(self) -> InferencerWindowPredictor:
        """See the class."""
        inferencer = RefSegInferencer(
            self.model,
            self.weights,
            self.device or own_device(),
            precision=self.precision,
            compile=self.compile,
            tta=self.tta,
            identified=True,
        )
        keep_memory(inferencer.device_name)
        return InferencerWindowPredictor(inferencer)


class Where(NamedTuple):
    """Where outputs go: files for one scene, or a folder.

    Attributes:
        mask: file, or None.
        probability: file, or None.
        polygons: file, or None; with `out` that of all scenes.
        candidates: file, or None.
        out: folder, or None.
    """

    mask: Path | None
    probability: Path | None
    polygons: Path | None
    candidates: Path | None
    out: Path | None


class Cluster(NamedTuple):
    """Who works.

    Attributes:
        ray: address, or None.
        workers: how many of Ray's, or None.
    """

    ray: str | None
    workers: int | None


def run_scenes(
    scenes: Sequence[str], expressions: Sequence[str], model: ModelMaker, where: Where, options: dict, cluster: Cluster
) -> int:
    """Segment, and say what came of it.

    Args:
        scenes: as they are named.
        expressions: what to segment.
        model: makes the model.
        where: outputs go.
        options: of `SceneOptions`; `window` and `gsd` may be None for the model's own.
        cluster: who works.

    Returns:
        How many scenes failed.

    Raises:
        RefSegError: nothing can be done.
    """
    if cluster.workers is not None and cluster.ray is None:
        raise ConfigError('--workers is of --ray; with torchrun say --nproc-per-node')
    if where.out is not None and (where.mask or where.probability):
        raise ConfigError('--out names the rasters itself: leave out --mask and --probability')
    if where.out is not None and where.candidates:
        raise ConfigError('--candidates is of one scene: name --mask, --probability or --polygons in place of --out')
    if where.out is None and len(scenes) > 1:
        raise ConfigError('several scenes need --out, a folder for all of them')
    if where.out is None and os.path.isdir(scenes[0]) and not Path(scenes[0]).suffix:
        raise ConfigError(f'{scenes[0]} is a folder: name --out, a folder for the results of all its scenes')
    SceneOptions(**{key: value for key, value in options.items() if value is not None})
    with open_workers(cluster.ray, cluster.workers) as workers:
        if where.out is not None:
            return _many(scenes, expressions, model, where.out, where.polygons, options, workers)
        _one(make_job(scenes[0], expressions, SceneOptions(), *where[:4]), model, options, workers)
        return 0


def _settled(options: dict, about: About) -> SceneOptions:
    """The options, with the model's own window and ground resolution where none is named."""
    own = {key: about.facts[key] for key in ('window', 'gsd') if options[key] is None}
    return SceneOptions(**(options | own), several=about.several)


def _one(job: SceneJob, model: ModelMaker, options: dict, workers: Workers) -> None:
    folder = job.outputs.named()[0].absolute().parent
    if workers.apart:
        make_writable(folder)
        job = job.absolute()
    with ready(workers, model, folder, job.outputs.named()[0].name) as own:
        about = ask_about(workers, job.expressions)
        job = SceneJob(job.scene, job.expressions, _settled(options, about), job.outputs)
        board = Board(True)
        if own is not None:
            own.seen = board.window
        results = run_one(job, workers, board)
    for result in results:
        if len(results) > 1:
            print(plain(f'{result.expression}:'))
        print(_facts(result))
    notes = [note for result in results for note in result.notes]
    for note in dict.fromkeys((*notes, *about.facts['notes'], trained_on_note(about.facts['trained_on']))):
        print(plain(f'note: {note}'))


def _many(
    scenes: Sequence[str],
    expressions: Sequence[str],
    model: ModelMaker,
    out: Path,
    polygons: Path | None,
    options: dict,
    workers: Workers,
) -> int:
    facts = {}

    def settle(about: About) -> SceneOptions:
        facts.update(about.facts)
        return _settled(options, about)

    found = segment_scenes(scenes, expressions, model, out, options=settle, polygons=polygons, workers=workers)
    _print_table(found)
    count = len(found.done)
    line = f'{counted(count, "scene")} done, {found.before} finished before, {len(found.failed)} failed'
    print(plain(f'{line}: {out}/index.jsonl'))
    for layer in found.layers:
        print(plain(f'{counted(layer.polygons, "polygon")}, {layer.crs or "no CRS"}: {layer.path}, layer {layer.name}'))
    if len(found.layers) > 1:
        print('note: the scenes have different CRS, so each has its own layer; nothing was reprojected')
    for what, names in (
        ('done again, because their files were replaced', found.replaced),
        ('failed, and what is there of them is of their earlier files', found.outdated),
        ('finished before and not named now, they stay in index and polygons', found.unnamed),
        ('left out of index and polygons, because files of theirs are gone (name the scenes to make them)', found.lost),
    ):
        if names:
            more = f' and {len(names) - _NAMED:,} more' if len(names) > _NAMED else ''
            print(plain(f'note: {what}: {", ".join(names[:_NAMED])}{more}'))
    if found.own:
        print(plain(f'note: {found.own:,} rasters in {out}/scenes are results of this command, and no scenes'))
    for note in (*facts['notes'], trained_on_note(facts['trained_on'])):
        print(plain(f'note: {note}'))
    return len(found.failed)


def _print_table(found: ScenesResult) -> None:
    done = set(found.done)
    rows = [row for row in found.rows if row['name'] in done]
    table = Table('scene', 'expression', 'objects', 'pixels', 'score')
    for row in rows[:_ROWS]:
        score = '' if row['score'] is None else f'{row["score"]:.3f}'
        table.add_row(row['name'], row['expression'], f'{row["objects"]:,}', f'{row["foreground_pixels"]:,}', score)
    if rows:
        plain_console().print(table)
    if len(rows) > _ROWS:
        print(f'... and {len(rows) - _ROWS:,} more rows in index.jsonl')


def _facts(result: SceneResult) -> str:
    score = 'no score' if result.score is None else f'{result.score_kind} {result.score:.3f}'
    objects = '' if result.objects is None else f'{counted(result.objects, "object")}, '
    return (
        f'{objects}{result.foreground_pixels:,} of {result.valid_pixels:,} pixels, {score}; '
        f'{counted(result.windows_run, "window")} of {result.window[1]}x{result.window[0]}, scope {result.scope}'
    )
