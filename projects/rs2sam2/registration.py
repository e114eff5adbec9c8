"""The one place where components enter mmseg's registries."""

from mmengine.registry import MODEL_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS, WEIGHT_INITIALIZERS
from mmseg.registry import (
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    RUNNERS,
    TRANSFORMS,
    VISUALIZERS,
)

from rs2sam2.datasets.jsonl import JSONLRefSegDataset
from rs2sam2.datasets.nwpu_refer import NWPUReferDataset
from rs2sam2.datasets.refsegrs import RefSegRSDataset
from rs2sam2.datasets.risbench import RISBenchDataset
from rs2sam2.datasets.rrsisd import RRSISDDataset
from rs2sam2.datasets.transforms import (
    LoadReferringMask,
    LoadRGBImage,
    PackRefSegInputs,
    RandomBlackBoxes,
    RandomTurn,
    ResizeTwoViews,
    ResizeView,
    TokenizeExpression,
    Turn,
)
from rs2sam2.engine.adafactor import adafactor
from rs2sam2.engine.checkpoint_hook import DurableCheckpointHook
from rs2sam2.engine.nonfinite_hook import StopAtNonfiniteHook
from rs2sam2.engine.optim_groups import RefSegOptimWrapperConstructor
from rs2sam2.engine.polynomial_lr import PolynomialLR
from rs2sam2.engine.runner import StrictRunner
from rs2sam2.engine.sharding import FullyShardedModel
from rs2sam2.engine.train_loop import ResumableTrainLoop
from rs2sam2.evaluation.generalized_metric import GeneralizedRRSISMetric
from rs2sam2.evaluation.rrsis_metric import RRSISMetric
from rs2sam2.models.averaging import TurnAveraging
from rs2sam2.models.common.losses import ReferringCrossEntropyLoss, ReferringDiceLoss
from rs2sam2.models.common.preprocessor import RefSegDataPreProcessor
from rs2sam2.models.lavt.head import LAVTHead
from rs2sam2.models.lavt.pixel_word import PixelWordFusion
from rs2sam2.models.lavt.segmentor import LAVT
from rs2sam2.models.lavt.swin import LanguageAwareSwin
from rs2sam2.models.lavt.text_encoder import BertTextEncoder
from rs2sam2.models.rmsin.cross_scale import CrossScaleInteraction
from rs2sam2.models.rmsin.receptive import VariousReceptiveBranch
from rs2sam2.models.rmsin.rotated_conv import AdaptiveRotatedConv2d
from rs2sam2.models.rmsin.segmentor import RMSIN
from rs2sam2.models.rs2sam2.beit3 import BEiT3UnionEncoder
from rs2sam2.models.rs2sam2.dual_encoder import DualUnionEncoder
from rs2sam2.models.rs2sam2.fusion import BidirectionalHierarchicalFusion
from rs2sam2.models.rs2sam2.grid_positions import GridPositions
from rs2sam2.models.rs2sam2.head import SAM2Head
from rs2sam2.models.rs2sam2.hiera import SAM2Hiera
from rs2sam2.models.rs2sam2.losses import IoUScoreLoss, PresenceLoss, PseudoMaskLoss, TextGuidedBoundaryLoss
from rs2sam2.models.rs2sam2.mask_prompt import MaskPromptGenerator
from rs2sam2.models.rs2sam2.segmentor import RS2SAM2
from rs2sam2.models.rs2sam2.text_gate import TextGate
from rs2sam2.text.hf_tokenizer import HFTokenizer
from rs2sam2.text.tokenizer import RefSegTokenizer
from rs2sam2.visualization.curves import CurvesHook
from rs2sam2.visualization.hook import RefSegVisualizationHook
from rs2sam2.visualization.visualizer import RefSegVisualizer
from rs2sam2.weights.loading import OfficialWeights

COMPONENTS = {
    DATASETS: (JSONLRefSegDataset, NWPUReferDataset, RISBenchDataset, RRSISDDataset, RefSegRSDataset),
    HOOKS: (CurvesHook, DurableCheckpointHook, RefSegVisualizationHook, StopAtNonfiniteHook),
    LOOPS: (ResumableTrainLoop,),
    METRICS: (GeneralizedRRSISMetric, RRSISMetric),
    MODELS: (
        AdaptiveRotatedConv2d,
        BEiT3UnionEncoder,
        BertTextEncoder,
        BidirectionalHierarchicalFusion,
        CrossScaleInteraction,
        DualUnionEncoder,
        IoUScoreLoss,
        LAVT,
        LAVTHead,
        LanguageAwareSwin,
        MaskPromptGenerator,
        PixelWordFusion,
        PresenceLoss,
        PseudoMaskLoss,
        RMSIN,
        RS2SAM2,
        RefSegDataPreProcessor,
        ReferringCrossEntropyLoss,
        ReferringDiceLoss,
        SAM2Head,
        SAM2Hiera,
        TextGate,
        TextGuidedBoundaryLoss,
        TurnAveraging,
        VariousReceptiveBranch,
    ),
    OPTIM_WRAPPER_CONSTRUCTORS: (RefSegOptimWrapperConstructor,),
    RUNNERS: (StrictRunner,),
    TRANSFORMS: (
        HFTokenizer,
        LoadRGBImage,
        LoadReferringMask,
        PackRefSegInputs,
        RandomBlackBoxes,
        RandomTurn,
        RefSegTokenizer,
        ResizeTwoViews,
        ResizeView,
        TokenizeExpression,
        Turn,
    ),
    VISUALIZERS: (RefSegVisualizer,),
    # mmengine's own registries: that is where `Runner` and `BaseModule` look.
    MODEL_WRAPPERS: (FullyShardedModel,),
    PARAM_SCHEDULERS: (PolynomialLR,),
    WEIGHT_INITIALIZERS: (GridPositions, OfficialWeights),
}

for registry, components in COMPONENTS.items():
    for component in components:
        registry.register_module(module=component)

# Where transformers was imported before, mmengine has registered it.
if 'Adafactor' not in OPTIMIZERS:
    OPTIMIZERS.register_module(name='Adafactor', module=adafactor)
