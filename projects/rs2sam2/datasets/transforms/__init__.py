"""Transforms from a data set's sample to the model's inputs; the order stands in docs/design.md."""

from rs2sam2.datasets.transforms.black_boxes import RandomBlackBoxes
from rs2sam2.datasets.transforms.formatting import PackRefSegInputs
from rs2sam2.datasets.transforms.loading import LoadReferringMask, LoadRGBImage
from rs2sam2.datasets.transforms.tokenize import TokenizeExpression
from rs2sam2.datasets.transforms.turning import RandomTurn, Turn
from rs2sam2.datasets.transforms.views import ResizeTwoViews, ResizeView

__all__ = [
    'LoadRGBImage',
    'LoadReferringMask',
    'PackRefSegInputs',
    'RandomBlackBoxes',
    'RandomTurn',
    'ResizeTwoViews',
    'ResizeView',
    'TokenizeExpression',
    'Turn',
]
