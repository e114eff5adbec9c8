"""RS2-SAM2 as an mmseg segmentor: encode, fuse, prompt, decode (AAAI 2026, https://arxiv.org/abs/2503.07266)."""

from typing import ClassVar, NamedTuple

from mmseg.registry import MODELS
from torch import Tensor, nn, stack

from rs2sam2.models.protocol import InputSpec, ReferringSegmentor, Stage
from rs2sam2.models.rs2sam2.fold import fold_for_inference, lay_out
from rs2sam2.structures import (
    MaskPrediction,
    PointPrompts,
    Prompts,
    ReferringBatch,
    RefSegDataSample,
    TextState,
    UnionFeatures,
)


class FusedFeatures(NamedTuple):
    """Encoded and fused inputs: union features, first text state, features at strides 4, 8 and 16."""

    union: UnionFeatures
    text: TextState
    pyramid: tuple[Tensor, Tensor, Tensor]


class RS2SAM2(ReferringSegmentor):
    """Segment what a referring expression means.

    Args:
        union_encoder: config of a module with a width `dim`, called with (view, token ids, text mask); it returns
            `UnionFeatures`. Its `freeze_text_output()` is called where nothing reads its text features.
        backbone: config of the image encoder, called with (image, fusion, text); `block_dims` sizes the neck.
        decode_head: config of the head; its `text_gate` and `losses` are configs too.
        neck: config of the fusion neck in the backbone's blocks; None for none.
        mask_prompt_generator: config of the dense prompt's generator; None for sparse prompts only.
        text_dim: width C of the text state and the prompts.
        data_preprocessor: config of the preprocessor.
        test_cfg: `precision` of inference, see `ReferringSegmentor`.
        init_cfg: mmengine's initialisation config.
    """

    # A fusion slot is none: the backbone's blocks call its two parts.
    shard_units: ClassVar[tuple[str, ...]] = (
        r'union_encoder\.text_embed',
        r'union_encoder\.layers\.\d+',
        r'backbone\.trunk\.blocks\.\d+',
        r'neck\.slots\.\d+\.(fusion|adapter)',
    )

    def __init__(
        self,
        union_encoder: dict,
        backbone: dict,
        decode_head: dict,
        neck: dict | None = None,
        mask_prompt_generator: dict | None = None,
        text_dim: int = 256,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, test_cfg, init_cfg)
        self.union_encoder = MODELS.build(union_encoder)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck, default_args=dict(block_dims=self.backbone.block_dims)) if neck else None
        dim = self.union_encoder.dim
        self.text_proj = nn.Linear(dim, text_dim)
        self.sparse_proj = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, text_dim))
        self.mask_prompt_generator = MODELS.build(mask_prompt_generator) if mask_prompt_generator else None
        head = dict(decode_head)
        head['text_gate'] = MODELS.build(head['text_gate']) if head.get('text_gate') else None
        head['losses'] = [MODELS.build(loss) for loss in head.get('losses') or ()]
        self.decode_head = MODELS.build(head)
        losses_read_text = any(loss.reads_text for loss in head['losses'])
        if self.neck is None and head['text_gate'] is None and not losses_read_text:
            self.text_proj.requires_grad_(False)
            self.union_encoder.freeze_text_output()

    def extract_feat(self, inputs: ReferringBatch) -> FusedFeatures:
        """Encode both views and the text, fusing text and image in every block of the backbone."""
        union = self.union_encoder(inputs.union_image, inputs.token_ids, inputs.text_mask)
        text = TextState(self.text_proj(union.text), inputs.text_mask)
        return FusedFeatures(union, text, self.backbone(inputs.image, fusion=self.neck, text=text))

    def prompt(self, union: UnionFeatures, points: PointPrompts | None = None) -> Prompts:
        """Turn the union features into SAM2's prompts; `points` go along."""
        generator = self.mask_prompt_generator
        return Prompts(
            sparse=self.sparse_proj(union.cls),
            pseudo_mask=None if generator is None else generator(union.cls, union.patches),
            points=points,
        )

    def encode_decode(
        self,
        inputs: ReferringBatch,
        batch_data_samples: list[RefSegDataSample] | None = None,
        points: PointPrompts | None = None,
    ) -> MaskPrediction:
        """Encode, fuse, prompt, decode; the data samples are not read."""
        features = self.extract_feat(inputs)
        return self.decode_head(features.pyramid, features.text, self.prompt(features.union, points))

    def loss(self, inputs: ReferringBatch, data_samples: list[RefSegDataSample]) -> dict[str, Tensor]:
        """Losses of a batch, by name; the ground truth must be at the view's size."""
        features = self.extract_feat(inputs)
        prediction = self.decode_head(features.pyramid, features.text, self.prompt(features.union))
        target = stack([sample.gt_sem_seg.data for sample in data_samples])
        return self.decode_head.loss(prediction, features.text, target)

    @property
    def input_spec(self) -> InputSpec:
        """Sizes of both views and of the text."""
        preprocessor = self.data_preprocessor
        return InputSpec(
            self.decode_head.image_size,
            self.union_encoder.image_size,
            preprocessor.vocab_size,
            preprocessor.max_text_length,
        )

    @property
    def takes_points(self) -> bool:
        """Whether the weights start from SAM2's, which alone have learned points and boxes."""
        return self.decode_head.point_prompts

    def scores(self, prediction: MaskPrediction) -> tuple[list[float] | None, list[float] | None]:
        """SAM2's IoU and object scores, where they were trained for these masks."""
        head, iou, presence = self.decode_head, prediction.iou, prediction.presence_logits
        return (
            iou.tolist() if iou is not None and head.iou_steps > 0 else None,
            presence.sigmoid().tolist() if presence is not None and head.presence_steps > 0 else None,
        )

    def lay_out(self) -> None:
        """See `fold.lay_out`."""
        lay_out(self)

    def fold(self) -> 'RS2SAM2':
        """See `fold_for_inference`."""
        return fold_for_inference(self)

    def stages(self) -> tuple[Stage, ...]:
        """The neck's parts are called inside the backbone's blocks."""
        slots = () if self.neck is None else getattr(self.neck, 'slots', ())
        adapters = tuple(slot.adapter for slot in slots if slot.adapter is not None)
        stages = (
            Stage('union_encoder', (self.union_encoder,)),
            Stage('backbone', (self.backbone,)),
            Stage('neck: fusion', tuple(slot.fusion for slot in slots), inside='backbone'),
            Stage('neck: adapters', adapters, inside='backbone'),
            Stage('projections', (self.text_proj, self.sparse_proj)),
            Stage('mask_prompt_generator', (self.mask_prompt_generator,) if self.mask_prompt_generator else ()),
            Stage('decode_head', (self.decode_head,)),
        )
        return tuple(stage for stage in stages if stage.modules)
