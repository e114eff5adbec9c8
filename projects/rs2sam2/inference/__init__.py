"""From an image and an expression to a mask, without a data set."""

from rs2sam2.inference.inferencer import RS2SAM2Inferencer
from rs2sam2.inference.predictor import InferencerWindowPredictor
from rs2sam2.inference.results import SegmentationResult

__all__ = ['InferencerWindowPredictor', 'RS2SAM2Inferencer', 'SegmentationResult']
