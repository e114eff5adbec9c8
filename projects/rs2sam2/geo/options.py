"""How scenes are segmented: the same for every scene of a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import get_args

from rs2sam2.errors import ConfigError
from rs2sam2.geo.cleaning import Cleaning
from rs2sam2.geo.questions import Scope

BLOCK = 4096
"""Side of a block in pixels, the unit of work."""


@dataclass(frozen=True)
class SceneOptions:
    """How a scene is read, cut and decided.

    Attributes:
        window: side of a window in pixels of the model's grid.
        overlap: 0 to 0.5, the share of a window that its neighbour also sees.
        gsd: metres a pixel that the model is fed; None: the scene's own.
        bands: three band numbers from 1 on, or one; None: see `SceneReader`.
        nodata: value of pixels without data, in place of the scene's own.
        stretch: percentiles that become 0 and 255 unless the bands are of 8 bits.
        scope: 'window', 'scene', 'meaning' or 'auto'; see `questions`.
        batch_size: windows at a time.
        min_score: below this score the mask is left empty.
        block: side of a block in pixels of the model's grid.
        cleaning: of the polygons.
        aoi: file of polygons outside of which nothing is run, or None.
        several: whether the model has learned sentences that mean every object of a kind.

    Raises:
        ConfigError: one of them cannot be.
    """

    window: int = 1024
    overlap: float = 0.25
    gsd: float | None = None
    bands: Sequence[int] | None = None
    nodata: float | None = None
    stretch: tuple[float, float] = (2.0, 98.0)
    scope: Scope = 'auto'
    batch_size: int = 4
    min_score: float | None = None
    block: int = BLOCK
    cleaning: Cleaning = field(default_factory=Cleaning)
    aoi: str | None = None
    several: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.window, Integral) or self.window < 32:
            raise ConfigError(f'window is {self.window!r}; give at least 32 pixels')
        if not isinstance(self.overlap, Real) or not 0 <= self.overlap <= 0.5:
            raise ConfigError(f'overlap is {self.overlap!r}; give a share from 0 to 0.5')
        if not isinstance(self.batch_size, Integral) or self.batch_size < 1:
            raise ConfigError(f'batch_size is {self.batch_size!r}; give a whole number from 1 on')
        if self.min_score is not None and not (isinstance(self.min_score, Real) and 0 <= self.min_score <= 1):
            raise ConfigError(f'min_score is {self.min_score!r}; give a number from 0 to 1')
        if self.scope not in get_args(Scope):
            raise ConfigError(f"scope is {self.scope!r}; give 'auto', 'meaning', 'scene' or 'window'")
        if not isinstance(self.block, Integral) or self.block < 1:
            raise ConfigError(f'block is {self.block!r}; give a whole number of pixels')

    def nodata_named(self) -> bool:
        """Whether the user named a value that pixels can have."""
        return self.nodata is not None and not math.isnan(self.nodata)
