"""One scene's job, in a form that travels to other processes."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rs2sam2.errors import ConfigError
from rs2sam2.files import first_bytes
from rs2sam2.geo.options import SceneOptions
from rs2sam2.geo.reader import Ends
from rs2sam2.geo.sources import RasterSource
from rs2sam2.geo.vectors import vector_driver

_SLUG, _SLUG_BYTES = 40, 60  # letters and bytes of an expression in a file's name
_RASTERS = ('.tif', '.tiff')


@dataclass(frozen=True)
class SceneOutputs:
    """Files to write.

    Attributes:
        masks: one an expression, or None.
        probabilities: one an expression, or None.
        polygons: of all expressions, or None.
        candidates: every object that they were decided among, or None.
    """

    masks: tuple[Path, ...] | None = None
    probabilities: tuple[Path, ...] | None = None
    polygons: Path | None = None
    candidates: Path | None = None

    def absolute(self) -> 'SceneOutputs':
        """The same files, whatever folder a process is in."""
        masks, probabilities = (
            None if paths is None else tuple(path.absolute() for path in paths)
            for paths in (self.masks, self.probabilities)
        )
        polygons, candidates = (None if path is None else path.absolute() for path in (self.polygons, self.candidates))
        return SceneOutputs(masks, probabilities, polygons, candidates)

    def named(self) -> list[Path]:
        """All of them."""
        return [*(self.masks or ()), *(self.probabilities or ()), *self.vectors()]

    def vectors(self) -> list[Path]:
        """Those that hold polygons."""
        return [path for path in (self.polygons, self.candidates) if path is not None]


@dataclass(frozen=True)
class SceneJob:
    """What is to be done with a scene.

    Attributes:
        scene: path, address or part; see `geo.sources`.
        expressions: what to segment.
        options: how.
        outputs: where to.
    """

    scene: str | RasterSource
    expressions: tuple[str, ...]
    options: SceneOptions
    outputs: SceneOutputs

    def absolute(self) -> 'SceneJob':
        """The same, for processes that are in another folder."""
        scene = self.scene
        if isinstance(scene, str) and os.path.exists(scene):
            scene = os.path.abspath(scene)
        return replace(self, scene=scene, outputs=self.outputs.absolute())


@dataclass(frozen=True)
class ScenePlan:
    """What is settled about a scene before its blocks are run, so that all processes go by the same.

    Attributes:
        job: what is to be done.
        ends: of the stretch; see `SceneReader`.
        notes: what was noted when it was opened.
        blocks: how many windows each has.
        space: bytes on disk that it needs while it runs.
        about: everything that decides the numbers.
    """

    job: SceneJob
    ends: Ends | None
    notes: tuple[str, ...]
    blocks: tuple[int, ...]
    space: int
    about: dict


def make_job(
    scene: str | os.PathLike | RasterSource,
    expressions: Sequence[str],
    options: SceneOptions,
    mask: str | os.PathLike | None,
    probability: str | os.PathLike | None,
    polygons: str | os.PathLike | None,
    candidates: str | os.PathLike | None = None,
) -> SceneJob:
    """A job with outputs as a user names them; of several expressions each has its own rasters, named after it.

    Raises:
        ConfigError: an expression is empty or there twice, no output is named, or two are the same file.
    """
    check_expressions(expressions)
    suffixes = [''] if len(expressions) == 1 else [f'.{slug}' for slug in slugs(expressions)]

    def each(path: str | os.PathLike | None) -> tuple[Path, ...] | None:
        return None if path is None else tuple(_inserted(_raster(path), suffix) for suffix in suffixes)

    outputs = SceneOutputs(
        each(mask),
        each(probability),
        None if polygons is None else Path(polygons),
        None if candidates is None else Path(candidates),
    )
    if not outputs.named():
        raise ConfigError('no output is named; give at least one of mask, probability, polygons, candidates')
    for path in outputs.vectors():
        vector_driver(path)
    if len({path.resolve() for path in outputs.named()}) < len(outputs.named()):
        raise ConfigError('two outputs are the same file; name different ones')
    return SceneJob(
        scene if isinstance(scene, RasterSource) else os.fspath(scene), tuple(expressions), options, outputs
    )


def check_expressions(expressions: Sequence[str]) -> None:
    """Raises ConfigError where an expression is empty or named twice, or none is."""
    if not expressions:
        raise ConfigError('no expression is named; say what to segment')
    for expression in expressions:
        if not isinstance(expression, str) or not expression.strip():
            what = 'empty' if isinstance(expression, str) else f'{expression!r}, not text'
            raise ConfigError(f'the expression is {what}; say what to segment')
    if len(set(expressions)) < len(expressions):
        raise ConfigError('an expression is named twice; name each once')


def slugs(expressions: Sequence[str]) -> list[str]:
    """Short names of expressions for files, all different: 'the large white tank' is `the-large-white-tank`."""
    names = []
    for expression in expressions:
        name = first_bytes('-'.join(re.findall(r'\w+', expression.casefold()))[:_SLUG], _SLUG_BYTES).strip('-')
        if not name or name in names:
            name = f'{name}-{hashlib.sha256(expression.encode()).hexdigest()[:6]}'.strip('-')
        names.append(name)
    return names


def _raster(path: str | os.PathLike) -> Path:
    """Other names than a GeoTIFF's would hold one all the same, and other programs take them at their word."""
    path = Path(path)
    if path.suffix.lower() not in _RASTERS:
        raise ConfigError(f'{path}: masks and probabilities are written as GeoTIFF; choose the suffix .tif')
    return path


def _inserted(path: Path, suffix: str) -> Path:
    return path.with_name(f'{path.stem}{suffix}{path.suffix}')
