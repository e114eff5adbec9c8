"""What was done with a scene, and where it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rs2sam2.geo.meaning import Candidate


@dataclass(frozen=True)
class SceneResult:
    """What was done, and where it is.

    Attributes:
        scene: path of the scene.
        expression: what was segmented.
        scope: 'window': each window alone; 'scene': the whole scene said where (or is one window); 'meaning': the
            words' meaning among the objects of the whole scene.
        mask: path of the mask raster, or None.
        probability: path of the probability raster, or None.
        polygons: path of the polygons, or None.
        shape: (rows, columns) of the scene.
        grid_shape: (rows, columns) at the model's ground resolution.
        window: (height, width) of a window, in pixels of that grid.
        windows_run: windows that the model saw, without the pass over the whole scene.
        windows_skipped: windows without data, or where the whole scene said that nothing is.
        foreground_pixels: of the mask.
        valid_pixels: pixels of the scene that hold data.
        objects: number of polygons, or None when none were asked for.
        score: 0 to 1: of the whole scene where that decided, else the best window's; None: nothing is foreground.
        score_kind: 'presence' from the model, or 'mean foreground probability' where it has none.
        rejected: the score is below `min_score`, so the mask was left empty.
        seconds: wall-clock by stage. 'read' runs beside the others; 'wait' is what they waited for it.
        notes: what the user should know, one sentence each.
        candidates: where meaning decided, the objects that were found for what the thing is.
        landmarks: likewise, those that were found for what it is related to.
        decision: how it was decided among them, in one sentence.
    """

    scene: str
    expression: str
    scope: Literal['scene', 'window', 'meaning']
    mask: Path | None
    probability: Path | None
    polygons: Path | None
    shape: tuple[int, int]
    grid_shape: tuple[int, int]
    window: tuple[int, int]
    windows_run: int
    windows_skipped: int
    foreground_pixels: int
    valid_pixels: int
    objects: int | None
    score: float | None
    score_kind: str
    rejected: bool
    seconds: dict[str, float]
    notes: tuple[str, ...]
    candidates: tuple[Candidate, ...] = ()
    landmarks: tuple[Candidate, ...] = ()
    decision: str | None = None
