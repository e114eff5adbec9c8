"""Measures sentences of place over drawn mosaics: each window alone, the reduced scene, and by meaning.

python tools/analysis_tools/benchmark_meaning.py [--model demo] [--sizes 1024 2048 4096] [--sentences 40]

Every sentence means one object of its whole mosaic. It is segmented as a user segments a scene, once by each scope.
The table says how well by kinds of sentences, and for 'meaning' where it fails: the model, where no candidate is the
object, or where the right one is taken as soon as what the model found wrongly is left out; else the choosing. Single
drawn scenes are the model's own score: mIoU of so many sentences.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import shapely
from affine import Affine
from PIL import Image, ImageDraw
from rasterio.features import rasterize
from rasterio.transform import from_origin
from rich.table import Table
from scipy import ndimage

from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.geo.board import Board
from rs2sam2.geo.job import make_job
from rs2sam2.geo.meaning import Candidate, choose_objects
from rs2sam2.geo.options import SceneOptions
from rs2sam2.geo.polygons import TracedObject
from rs2sam2.geo.scene import SceneResult, run_one
from rs2sam2.geo.units import SceneWorker
from rs2sam2.inference import InferencerWindowPredictor, RefSegInferencer
from rs2sam2.inference.scene_defaults import scene_defaults
from rs2sam2.synthetic.mosaic import Mosaic, draw_mosaic
from rs2sam2.synthetic.scene import draw_scene
from rs2sam2.terminal import plain_console
from rs2sam2.text.grammar import ReferringExpression, describe_objects
from rs2sam2.text.reading import Thing, read_expression
from rs2sam2.visualization.overlay import FALSE, FOUND, HIT, MISSED, draw_regions
from rs2sam2.workers.local import LocalWorker

SCOPES = ('window', 'scene', 'meaning')
AT_ONCE = 10  # sentences in one pass
ENOUGH = 0.5  # intersection over union from which an object is found


class Row(NamedTuple):
    """One sentence over one mosaic.

    Attributes:
        size: of the mosaic.
        kind: of the sentence.
        ious: by scope.
        decided: what 'meaning' fell back to, or 'meaning'.
        best: IoU of the candidate that is the object, where there were candidates.
        freed: IoU of what is taken when all candidates are left out that are no whole object of their kind.
    """

    size: int
    kind: str
    ious: dict[str, float]
    decided: str
    best: float | None = None
    freed: float | None = None


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks; 0 where both are empty."""
    return float((first & second).sum() / max(1, (first | second).sum()))


def write_mosaic(path: Path, mosaic: Mosaic) -> None:
    """As a GeoTIFF with half a metre a pixel."""
    height, width = mosaic.labels.shape
    profile = dict(driver='GTiff', height=height, width=width, count=3, dtype='uint8', crs='EPSG:32632', tiled=True)
    with rasterio.open(path, 'w', **profile, transform=from_origin(4e5, 5.3e6, 0.5, 0.5)) as scene:
        scene.write(mosaic.image.transpose(2, 0, 1))


def kind_of(expression: ReferringExpression) -> str:
    """'place', 'place + look', 'relation' ... of what a sentence tells its object by."""
    first = [name for name in ('position', 'relation') if name in expression.kinds]
    look = ['look'] if expression.kinds & {'colour', 'shape'} else []
    return ' + '.join([*first, *(['size'] if 'size' in expression.kinds else []), *look]) or 'class'


def run(
    scene: Path, texts: Sequence[str], predictor: InferencerWindowPredictor, window: int, scope: str, folder: Path
) -> Iterator[tuple[np.ndarray, SceneResult]]:
    """The masks that a user gets, a few sentences in one pass."""
    options = SceneOptions(window=window, scope=scope, batch_size=8, several=predictor.several)
    worker = LocalWorker()
    with closing(worker.start(lambda: SceneWorker(predictor))):
        for first in range(0, len(texts), AT_ONCE):
            job = make_job(scene, texts[first : first + AT_ONCE], options, folder / 'mask.tif', None, None)
            for result in run_one(job, worker, Board(False)):
                with rasterio.open(result.mask) as mask:
                    yield mask.read(1) == 1, result


def measure(
    mosaic: Mosaic,
    expressions: Sequence[ReferringExpression],
    predictor: InferencerWindowPredictor,
    window: int,
    scopes: Sequence[str],
    folder: Path,
    pictures: Path | None,
    name: str,
) -> list[Row]:
    """All sentences over one mosaic, whose pictures are called after `name`."""
    scene = folder / 'scene.tif'
    write_mosaic(scene, mosaic)
    rows = [Row(mosaic.labels.shape[0], kind_of(one), {}, 'meaning') for one in expressions]
    for scope in scopes:
        found = run(scene, [one.text for one in expressions], predictor, window, scope, folder)
        for number, (one, (mask, result)) in enumerate(zip(expressions, found, strict=True)):
            truth = mosaic.labels == one.object_id + 1
            rows[number].ious[scope] = iou(mask, truth)
            if scope != 'meaning':
                continue
            rows[number] = rows[number]._replace(decided=result.scope)
            if result.scope == 'meaning':
                best = max((overlap(c, mosaic, one.object_id) for c in result.candidates), default=0.0)
                rows[number] = rows[number]._replace(best=best, freed=freed(one, result, mosaic))
            if pictures is not None and number < 12:
                shown = draw(mosaic, mask, truth, one.text, result)
                shown.save(pictures / f'{name}_{number:02d}_{rows[number].ious[scope]:.2f}.jpg', quality=88)
    return rows


def overlap(candidate: Candidate, mosaic: Mosaic, number: int) -> float:
    """Intersection over union of a candidate and an object."""
    left, top, right, bottom = (int(side) for side in candidate.polygon.bounds)
    if not candidate.polygon.intersects(shapely.box(*mosaic.objects[number].bbox)):
        return 0.0
    place = Affine.translation(left, top)
    covered = rasterize([candidate.polygon], (bottom - top, right - left), transform=place, dtype=np.uint8) > 0
    common = int((mosaic.labels[top:bottom, left:right][covered] == number + 1).sum())
    return common / (candidate.pixels + mosaic.objects[number].area - common)


def freed(one: ReferringExpression, result: SceneResult, mosaic: Mosaic) -> float:
    """IoU of what the same choosing takes of the candidates that are whole objects of the kind that was asked for."""
    reading = read_expression(one.text)

    def true(found: Sequence[Candidate], thing: Thing | None) -> list[TracedObject]:
        kin = [] if thing is None else [o for o in mosaic.objects if thing.asked.endswith(o.category)]
        kin = [o for o in kin if thing.colour is None or o.colour in (None, thing.colour)]
        return [
            TracedObject(c.polygon, c.pixels, c.score)
            for c in found
            if any(overlap(c, mosaic, o.object_id) >= ENOUGH for o in kin)
        ]

    targets, marks = true(result.candidates, reading.target), true(result.landmarks, reading.landmark)
    same = len(reading.questions) == 1
    choice = choose_objects(reading, targets, marks, same, Pixels(mosaic.image))
    return max((overlap(c, mosaic, one.object_id) for c in choice.candidates if c.taken), default=0.0)


class Pixels:
    """A mosaic's pixels as `geo.meaning.Pictures`."""

    def __init__(self, image: np.ndarray) -> None:
        self._image, self.grid_shape = image, image.shape[:2]

    def read(self, y: int, x: int, height: int, width: int) -> tuple[np.ndarray, None]:
        """See `Pictures`."""
        return self._image[y : y + height, x : x + width], None


def draw(mosaic: Mosaic, mask: np.ndarray, truth: np.ndarray, text: str, result: SceneResult) -> Image.Image:
    """The mosaic with what was rightly found, wrongly found and missed; in blue the candidates that were not taken."""
    others = [one.polygon for one in result.candidates if not one.taken]
    other = rasterize(others, truth.shape, dtype=np.uint8) > 0 if others else np.zeros(truth.shape, bool)
    regions = [(mask & truth, HIT), (mask & ~truth, FALSE), (truth & ~mask, MISSED), (other & ~mask & ~truth, FOUND)]
    picture = Image.fromarray(mosaic.image)
    picture.thumbnail((1024, 1024))
    picture = draw_regions(picture, regions)
    ImageDraw.Draw(picture).text(
        (8, 8), f'{text}\n{result.decision or result.notes}', 'white', stroke_width=2, stroke_fill='black'
    )
    return picture


def alike(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union; 1 where both are empty."""
    return iou(first, second) if first.any() or second.any() else 1.0


def agreement(
    mosaic: Mosaic, texts: Sequence[str], predictor: InferencerWindowPredictor, windows: Sequence[int], folder: Path
) -> Table:
    """How much the masks of other windows, and of a grid moved by a third of a window, have in common."""
    scene, masks, counts = folder / 'scene.tif', {}, {}
    moved = windows[0] // 3
    for name, window, first in [(str(one), one, 0) for one in windows] + [(f'{windows[0]} moved', windows[0], moved)]:
        part = Mosaic(mosaic.image[first:, first:], mosaic.labels[first:, first:], mosaic.objects)
        write_mosaic(scene, part)
        found = list(run(scene, texts, predictor, window, 'auto', folder))
        masks[name] = [mask[moved - first :, moved - first :] for mask, _ in found]
        counts[name] = sum(ndimage.label(mask)[1] for mask in masks[name])
    table = Table(title='mean IoU of the masks with each other', title_justify='left')
    for name in ('window', *masks, 'polygons'):
        table.add_column(name, justify='right')
    for name, mine in masks.items():
        each = [np.mean([alike(*pair) for pair in zip(mine, other, strict=True)]) for other in masks.values()]
        table.add_row(name, *(f'{value:.2f}' for value in each), str(counts[name]))
    return table


def own_score(predictor: InferencerWindowPredictor, number: int, view: int) -> dict[str, list[float]]:
    """IoU on single drawn scenes by kind of sentence, with the same grammar."""
    rng, values = np.random.default_rng(77), defaultdict(list)
    for _ in range(number):
        scene = draw_scene(rng, view)
        for one in describe_objects(scene.objects, scene.image.shape[:2], rng, per_object=1):
            (log_odds,) = predictor.predict([scene.image], one.text)
            values[kind_of(one)].append(iou(log_odds > 0, scene.masks[one.object_id]))
    return values


def tables(rows: Sequence[Row], scopes: Sequence[str], own: dict[str, list[float]]) -> list[Table]:
    """By kind of sentence and by size of the mosaic."""
    out, own = [], own | {'all': [value for values in own.values() for value in values]}
    for title, key in (('by kind of sentence', lambda row: row.kind), ('by size', lambda row: str(row.size))):
        groups = defaultdict(list)
        for row in rows:
            groups[key(row)].append(row)
        table = Table(title=f'{title}: mIoU (share with IoU of {ENOUGH} or more)', title_justify='left')
        columns = ('candidate there', 'of those chosen', 'without false finds', 'not by meaning', 'single scenes')
        for name in ('', 'sentences', *scopes, *columns):
            table.add_column(name, justify='left' if not name else 'right')
        for name, group in [*sorted(groups.items(), key=lambda item: -len(item[1])), ('all', list(rows))]:
            cells = []
            for scope in scopes:
                values = np.array([row.ious[scope] for row in group])
                cells.append(f'{100 * values.mean():.1f} ({(values >= ENOUGH).mean():.0%})')
            read = [row for row in group if row.best is not None]
            there = [row for row in read if row.best >= ENOUGH]
            chosen = [row for row in there if row.ious['meaning'] >= ENOUGH]
            cells.append(f'{len(there)} of {len(read)}' if read else '')
            cells.append(f'{len(chosen)} of {len(there)}' if there else '')
            rid = [row for row in there if row.freed >= ENOUGH]
            cells.append(f'{len(rid)} of {len(there)}' if there else '')
            alone = f'{100 * np.mean(own[name]):.1f} of {len(own[name])}' if name in own else ''
            table.add_row(name, str(len(group)), *cells, str(sum(row.decided != 'meaning' for row in group)), alone)
        out.append(table)
    return out


def main() -> None:
    """Draws, segments, tells."""
    parser = make_parser(__doc__)
    parser.add_argument('--model', default='demo')
    parser.add_argument('--weights', help="checkpoint, else the model's own")
    parser.add_argument('--sizes', type=int, nargs='+', default=[1024, 2048, 4096], help='sides of mosaics in pixels')
    parser.add_argument('--sentences', type=int, default=40, help='for each mosaic (default: %(default)s)')
    parser.add_argument('--scopes', nargs='+', default=list(SCOPES), choices=SCOPES)
    parser.add_argument('--kinds', nargs='+', help='only sentences of these kinds: position, relation, size ...')
    parser.add_argument('--view', type=int, default=160, help='side of the scenes that the model was trained on')
    parser.add_argument('--windows', type=int, nargs='+', help='compare these sides of windows, and nothing else')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='a mosaic of each size for every seed')
    parser.add_argument('--pictures', type=Path, help='folder for pictures')
    args = parser.parse_args()
    inferencer = RefSegInferencer(args.model, args.weights)
    predictor = InferencerWindowPredictor(inferencer)
    window = scene_defaults(inferencer).window
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    console, rows = plain_console(), []
    with tempfile.TemporaryDirectory() as name:
        for size, seed in product(args.sizes, args.seeds):
            rng = np.random.default_rng([seed, size])
            mosaic = draw_mosaic(rng, size, view=args.view)
            said = describe_objects(mosaic.objects, (size, size), rng, per_object=2)
            said = [one for one in said if one.kinds & set(args.kinds or one.kinds)]
            said = list({one.text: one for one in said}.values())
            said = [said[index] for index in sorted(rng.permutation(len(said))[: args.sentences])]
            if args.windows:
                texts = [one.text for one in said]
                console.print(agreement(mosaic, texts, predictor, args.windows, Path(name)))
                continue
            about = f'{size}_{seed}'
            rows += measure(mosaic, said, predictor, window, args.scopes, Path(name), args.pictures, about)
            console.print(f'{size} px, seed {seed}: {len(mosaic.objects)} objects, {len(said)} sentences')
    for table in () if args.windows else tables(rows, args.scopes, own_score(predictor, 60, args.view)):
        console.print(table)


if __name__ == '__main__':
    with one_line_errors():
        main()
