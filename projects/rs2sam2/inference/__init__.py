"""From an image and an expression to a mask, without a data set."""

from rs2sam2.inference.inferencer import RefSegInferencer
from rs2sam2.inference.predictor import InferencerWindowPredictor
from rs2sam2.inference.results import SegmentationResult
from rs2sam2.inference.several import SegmentationResults

RS2SAM2Inferencer = RefSegInferencer
"""Its first name."""

__all__ = [
    'InferencerWindowPredictor',
    'RS2SAM2Inferencer',
    'RefSegInferencer',
    'SegmentationResult',
    'SegmentationResults',
]
