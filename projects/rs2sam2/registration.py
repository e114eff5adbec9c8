"""The one place where components enter mmseg's registries."""

from mmseg.registry import MODELS

from rs2sam2.models.beit3 import BEiT3UnionEncoder
from rs2sam2.models.fusion import BidirectionalHierarchicalFusion
from rs2sam2.models.hiera import SAM2Hiera
from rs2sam2.models.losses import (
    IoUScoreLoss,
    PresenceLoss,
    ReferringCrossEntropyLoss,
    ReferringDiceLoss,
    TextGuidedBoundaryLoss,
)
from rs2sam2.models.mask_prompt import MaskPromptGenerator
from rs2sam2.models.preprocessor import RefSegDataPreProcessor
from rs2sam2.models.sam2_head import SAM2Head
from rs2sam2.models.segmentor import RS2SAM2
from rs2sam2.models.text_gate import TextGate

COMPONENTS = {
    MODELS: (
        BEiT3UnionEncoder,
        BidirectionalHierarchicalFusion,
        IoUScoreLoss,
        MaskPromptGenerator,
        PresenceLoss,
        RS2SAM2,
        RefSegDataPreProcessor,
        ReferringCrossEntropyLoss,
        ReferringDiceLoss,
        SAM2Head,
        SAM2Hiera,
        TextGate,
        TextGuidedBoundaryLoss,
    ),
}

for registry, components in COMPONENTS.items():
    for component in components:
        # A second import under another name (a config's custom_imports, a test) must not fail.
        registry.register_module(module=component, force=True)
