"""A scene as every process that works on it sees it: planned once, run block by block, exported at the end."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import rasterio

from rs2sam2.errors import DataError
from rs2sam2.files import digest
from rs2sam2.geo.aoi import read_aoi
from rs2sam2.geo.blend import Blend, blend_windows, predict_checked
from rs2sam2.geo.blocks import BlockFolder, Finding, cut_blocks
from rs2sam2.geo.candidates import CandidateFile
from rs2sam2.geo.clock import StageClock
from rs2sam2.geo.coarse import CoarseMap
from rs2sam2.geo.export import SceneExport
from rs2sam2.geo.job import SceneJob, ScenePlan
from rs2sam2.geo.meaning import Choice, ChosenObjects, choose_objects, find_objects
from rs2sam2.geo.outputs import StagedFiles, check_places
from rs2sam2.geo.predictor import (
    MEAN_PROBABILITY,
    WindowPredictor,
    predictor_identity,
    predictor_tags,
    scale_note,
    score_kind,
    window_scores,
)
from rs2sam2.geo.questions import Wish, all_questions, ask
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.result import SceneResult
from rs2sam2.geo.vectors import PolygonFile
from rs2sam2.geo.windows import WindowGrid, count_windows, tile_axis
from rs2sam2.text.doubts import names_winds

CACHE = 64 * 2**20  # bytes of decoded blocks that GDAL keeps
_MOST_WINDOWS = 2_000_000  # each takes memory from the start; a file of a few kilobytes can claim any size
_STRIP_CACHE = 512 * 2**20  # the most it keeps where rows are stored whole, so that no strip is decoded twice
_TURNED = 15.0  # degrees: north is the top of a picture up to here


@dataclass(frozen=True)
class Answer:
    """Where a wish's object is.

    Attributes:
        region: outside of which nothing is meant, or None.
        found: what was seen.
        choice: among the objects found, where the words' meaning decided.
        asked: how many questions windows were asked.
    """

    region: CoarseMap | ChosenObjects | None
    found: Finding
    choice: Choice | None = None
    asked: int = 1


class OpenedScene:
    """A scene with its windows, its blocks and what is asked of them; within `gdal_env`.

    Args:
        job: what is to be done.
        plan: what another process settled; None opens it for the first time.

    Attributes:
        wishes: one an expression.
        questions: of all wishes, each once.
        blocks: of the scene.

    Raises:
        DataError: the scene cannot be read.
        ConfigError: an option does not fit it.
    """

    def __init__(self, job: SceneJob, plan: ScenePlan | None = None) -> None:
        options = job.options
        self.job, self._options = job, options
        self._reader = SceneReader(
            job.scene, options.bands, options.nodata, options.stretch, options.gsd, plan.ends if plan else None
        )
        if options.aoi is not None:
            area, notes = read_aoi(options.aoi, self._reader.crs, self._reader.transform, self._reader.shape)
            self._reader.restrict(area)
            self._reader.notes += notes
        if plan is not None:
            self._reader.notes[:] = plan.notes
        self._grid = _plan_windows(self._reader, options.window, options.overlap, padded=options.gsd is not None)
        one_image = self._grid.size == self._reader.grid_shape
        self.wishes = [ask(expression, options.scope, one_image, options.several) for expression in job.expressions]
        self.questions = all_questions(self.wishes)
        self.blocks = cut_blocks(self._grid, options.block, self._reader.grid_shape)

    def use_cache(self) -> None:
        """Sets GDAL's cache for what follows in this `gdal_env`."""
        # Rows stored whole are decoded whole: they must stay in the cache until all windows of a row are read.
        rows = self._reader.bytes_for_rows(self._options.window)
        rasterio.env.setenv(GDAL_CACHEMAX=min(_STRIP_CACHE, max(CACHE, rows)))

    def plan(self, predictor: WindowPredictor) -> ScenePlan:
        """What all processes must go by.

        Raises:
            ConfigError: an output is a file of the scene, or no regular file.
        """
        reader, outputs = self._reader, self.job.outputs
        check_places(outputs.named(), reader.files)
        if outputs.polygons is not None:
            self._polygon_file(outputs.polygons, predictor)  # says whether the format and cleaning fit the CRS
        if outputs.candidates is not None:
            self._candidate_file(outputs.candidates, predictor)
        rasters = len(outputs.masks or ()) + len(outputs.probabilities or ())
        pixels = sum(block.height * block.width for block in self.blocks)
        about = {
            'scene': _facts(reader),
            'expressions': self.job.expressions,
            'options': vars(self._options),
            'model': predictor_identity(predictor),
            'aoi': None if self._options.aoi is None else digest(Path(self._options.aoi)),
            'rs2sam2': version('rs2sam2'),
        }
        windows = tuple(len(block.places) for block in self.blocks)
        # Where the whole scene says where, most windows are not run, and files are empty where nothing was written.
        sums = sum(not question.whole for question in self.questions)
        space = 4 * sums * pixels + 2 * min(rasters, 2) * math.prod(reader.shape)
        return ScenePlan(self.job, reader.ends, tuple(reader.notes), windows, space, about)

    def run_block(
        self, number: int, folder: Path, predictor: WindowPredictor, clock: StageClock, seen: Callable[[int], object]
    ) -> None:
        """Runs the windows of a block, and leaves it finished in the folder.

        Args:
            number: of the block.
            folder: where blocks are.
            predictor: the model.
            clock: counts stages.
            seen: is called with the number of windows that were dealt with.
        """
        block, files = self.blocks[number], self._files(folder)
        regions = [self._whole(index, files, predictor, clock)[0] for index in range(len(self.questions))]
        with files.sums(block) as sums:
            blends = []
            for index, (question, region) in enumerate(zip(self.questions, regions, strict=True)):
                places = {place for place in block.places if region is None or self._meets(region, place)}
                blends.append(Blend(question.text, places, sums, index * block.height - block.y, -block.x))
            for count in blend_windows(self._reader, self._grid, blends, predictor, self._options.batch_size, clock):
                seen(count)
        files.finish(block, [_finding(blend, predictor) for blend in blends])

    def export(self, folder: Path, predictor: WindowPredictor, clock: StageClock) -> list[SceneResult]:
        """Writes the outputs from finished blocks.

        Args:
            folder: where blocks are.
            predictor: the model.
            clock: counts stages.
        """
        files, outputs = self._files(folder), self.job.outputs
        results = []
        with StagedFiles(outputs.named()) as staged:
            polygons = candidates = None
            if outputs.polygons is not None:
                polygons = self._polygon_file(staged.staged(outputs.polygons), predictor)
            if outputs.candidates is not None:
                candidates = self._candidate_file(staged.staged(outputs.candidates), predictor)
            for index, wish in enumerate(self.wishes):
                with clock('choose'):
                    answer = self._answer(wish, files, predictor, clock)
                if candidates is not None and wish.reading is not None and answer.choice is not None:
                    candidates.add(wish.expression, wish.reading, answer.choice)
                results.append(self._export_one(index, answer, files, staged, polygons, predictor, clock))
            if polygons is not None:
                with clock('polygons'):
                    polygons.close()
                for place, result in enumerate(results):
                    notes = (*result.notes, *polygons.notes())
                    results[place] = replace(result, objects=polygons.counts[result.expression], notes=notes)
            if candidates is not None:
                candidates.close()
        return results

    def close(self) -> None:
        """Closes the scene."""
        self._reader.close()

    def _answer(self, wish: Wish, files: BlockFolder, predictor: WindowPredictor, clock: StageClock) -> Answer:
        """Where a wish's object is, and what is known of it."""
        findings = files.findings()
        asked = [self.questions.index(one) for one in (wish.question, wish.landmark) if one is not None]
        found = findings[asked[0]]
        if wish.reading is None:
            region, whole = self._whole(asked[0], files, predictor, clock)
            return Answer(region, Finding(found.windows, (whole or found).score, (whole or found).score_kind))
        reader = self._reader
        # On another grid data is where the scene's own pixels say, in the export.
        valid = {'valid': reader.valid} if reader.grid_shape == reader.shape else {}
        objects = [find_objects(files.log_odds(index), reader.grid_shape, **valid) for index in dict.fromkeys(asked)]
        choice = choose_objects(wish.reading, objects[0], objects[-1], len(objects) == 1, self._reader)
        chosen = ChosenObjects([one.polygon for one in choice.candidates if one.taken], self._reader.grid_shape)
        score = max((one.score for one in choice.candidates if one.taken), default=None)
        windows = sum(findings[index].windows for index in dict.fromkeys(asked))
        return Answer(chosen, Finding(windows, score, MEAN_PROBABILITY), choice, len(objects))

    def _export_one(
        self,
        index: int,
        answer: Answer,
        files: BlockFolder,
        staged: StagedFiles,
        polygons: PolygonFile | None,
        predictor: WindowPredictor,
        clock: StageClock,
    ) -> SceneResult:
        reader, outputs, wish, found = self._reader, self.job.outputs, self.wishes[index], answer.found
        limit = self._options.min_score
        rejected = limit is not None and found.score is not None and found.score < limit
        mask = outputs.masks[index] if outputs.masks else None
        probability = outputs.probabilities[index] if outputs.probabilities else None
        tags = {'expression': wish.expression, **predictor_tags(predictor)}
        log_odds = files.log_odds(self.questions.index(wish.question))
        export = SceneExport(
            reader, log_odds, answer.region, wish.expression, tags, staged, mask, probability, polygons, clock
        )
        export.run(rejected)
        notes = [*reader.notes, *([wish.note] if wish.note else []), *(answer.choice.notes if answer.choice else ())]
        if self._options.nodata_named() and not reader.nodata_found:
            notes.append(f'nodata {self._options.nodata} was named, and no pixel of {reader.path} has that value')
        if not export.valid_pixels:
            where = ' inside the area of interest' if self._options.aoi is not None else ''
            notes.append(f'{reader.path} holds no data{where}: nothing was looked at')
        if names_winds(wish.expression) and abs(bearing := reader.bearing() or 0.0) > _TURNED:
            notes.append(
                f'north is read as up, and up is {abs(bearing):.0f} degrees from north here: warp the scene north up'
            )
        if (far := scale_note(predictor, reader.metres())) is not None:
            notes.append(far)
        if outputs.candidates is not None and answer.choice is None:
            notes.append(f'{outputs.candidates.name} has no candidates of {wish.expression!r}: nothing was chosen')
        if rejected:
            notes.append(f'the score {found.score:.3f} is below {limit:g}: the mask is empty')
        return SceneResult(
            scene=reader.path,
            expression=wish.expression,
            scope=wish.scope,
            mask=mask,
            probability=probability,
            polygons=outputs.polygons,
            shape=reader.shape,
            grid_shape=reader.grid_shape,
            window=self._grid.size,
            windows_run=found.windows,
            windows_skipped=answer.asked * len(self._grid.places()) - found.windows,
            foreground_pixels=export.foreground_pixels,
            valid_pixels=export.valid_pixels,
            objects=export.objects,
            score=found.score,
            score_kind=found.score_kind or score_kind(predictor),
            rejected=rejected,
            seconds={},
            notes=tuple(notes),
            candidates=answer.choice.candidates if answer.choice else (),
            landmarks=answer.choice.landmarks if answer.choice else (),
            decision=answer.choice.how if answer.choice else None,
        )

    def _polygon_file(self, path: Path, predictor: WindowPredictor) -> PolygonFile:
        reader = self._reader
        centre = (reader.shape[1] / 2, reader.shape[0] / 2)
        model = predictor_tags(predictor).get('model') or type(predictor).__name__
        return PolygonFile(path, reader.crs, reader.transform, reader.path, model, self._options.cleaning, centre)

    def _candidate_file(self, path: Path, predictor: WindowPredictor) -> CandidateFile:
        reader = self._reader
        model = predictor_tags(predictor).get('model') or type(predictor).__name__
        return CandidateFile(path, reader.crs, reader.transform, reader.scale, reader.path, model)

    def _files(self, folder: Path) -> BlockFolder:
        return BlockFolder(folder, self.blocks, len(self.questions))

    def _whole(
        self, index: int, files: BlockFolder, predictor: WindowPredictor, clock: StageClock
    ) -> tuple[CoarseMap, Finding] | tuple[None, None]:
        """What the whole scene says to a question: asked once, by whoever comes first."""
        question = self.questions[index]
        if not question.whole:
            return None, None
        if (known := files.whole(index)) is None:
            with clock('whole scene'):
                log_odds = predict_checked(predictor, [self._reader.read_whole(self._options.window)], question.text)
                (score,) = window_scores(predictor, log_odds)
            known = files.keep_whole(index, log_odds[0], Finding(0, score, score_kind(predictor)))
        return known

    def _meets(self, region: CoarseMap, place: tuple[int, int]) -> bool:
        return region.touches(*self._grid.start(place), self._grid.size, self._reader.grid_shape)


def _finding(blend: Blend, predictor: WindowPredictor) -> Finding:
    score = max((one for one in blend.scores if one is not None), default=None)
    return Finding(len(blend.scores), score, score_kind(predictor) if blend.scores else None)


def _facts(reader: SceneReader) -> dict:
    """What tells the scene from another that took its name."""
    known = [os.stat(file) for file in reader.files if os.path.isfile(file)]
    return {
        'name': os.path.abspath(reader.path) if os.path.exists(reader.path) else reader.path,
        'shape': reader.shape,
        'bytes': sum(one.st_size for one in known),
        'modified': max((one.st_mtime_ns for one in known), default=None),
    }


def _plan_windows(reader: SceneReader, window: int, overlap: float, padded: bool) -> WindowGrid:
    sides = (window, window)
    if not padded and max(reader.grid_shape) <= window:
        sides = reader.grid_shape
    count = math.prod(count_windows(n, side, overlap) for n, side in zip(reader.grid_shape, sides, strict=True))
    if count > _MOST_WINDOWS:
        height, width = reader.grid_shape
        raise DataError(
            f'{reader.path} has {count:,} windows of {window} pixels ({width:,} x {height:,} pixels for the model), '
            f'more than {_MOST_WINDOWS:,}: cut it, or take larger windows or more metres a pixel'
        )
    return WindowGrid(*(tile_axis(n, side, overlap) for n, side in zip(reader.grid_shape, sides, strict=True)))
