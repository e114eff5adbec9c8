"""Single components in other people's configs: mmseg's models with our parts, our data with mmseg's parts."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from PIL import Image
from torch import nn
from torch.nn import functional as F

from conftest import ROOT
from rs2sam2.scenes.dataset import build_demo_dataset
from tiny import SIZE, TINY_BEIT3, TINY_HIERA, UNION_SIZE

LOOPS = dict(
    train_cfg=dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2),
    optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
    val_cfg=dict(type='ValLoop'),
    default_hooks=dict(checkpoint=None, logger=dict(type='LoggerHook', interval=1)),
    custom_imports=dict(imports=['rs2sam2'], allow_failed_imports=False),
    default_scope='mmseg',
)


def train(tmp_path, name: str, **cfg) -> Runner:
    """Train two iterations, with a validation, from a config in a file outside the repository."""
    path = tmp_path / f'{name}.py'
    path.write_text(Config(dict(LOOPS, work_dir=str(tmp_path / name), experiment_name=name, **cfg)).pretty_text)
    runner = Runner.from_cfg(Config.fromfile(path))
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    runner.train()
    assert any(not torch.equal(value, before[key]) for key, value in runner.model.state_dict().items())
    return runner


def loader(dataset: dict, shuffle: bool) -> dict:
    return dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=shuffle), dataset=dataset)


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('mixing') / 'data'
    build_demo_dataset(folder, dict(train=2, val=1, test=1), size=96, no_target_share=0)
    return folder


def referring_data(folder) -> dict:
    """Our data sets, transforms and metric, for any referring model."""
    loaders = {}
    for split in ('train', 'val'):
        pipeline = [
            dict(type='LoadRGBImage'),
            dict(type='LoadReferringMask'),
            dict(type='ResizeTwoViews', size=SIZE, union_size=UNION_SIZE, resize_mask=split == 'train'),
            dict(
                type='TokenizeExpression',
                tokenizer=dict(type='RefSegTokenizer', path=f'{folder}/tokenizer', num_pieces=165),
            ),
            dict(type='PackRefSegInputs'),
        ]
        dataset = dict(type='RRSISDDataset', data_root=str(folder), split=split, pipeline=pipeline)
        loaders[f'{split}_dataloader'] = loader(dataset, split == 'train')
    return dict(loaders, val_evaluator=dict(type='RRSISMetric', protocol='native'))


@pytest.mark.parametrize(
    'head',
    [
        dict(type='FCNHead', in_channels=32, in_index=2, channels=16, num_convs=1),
        dict(
            type='UPerHead', in_channels=[32] * 3, in_index=[0, 1, 2], channels=16, pool_scales=(1, 2),
        ),
    ],
)  # fmt: skip
def test_sam2_hiera_under_mmsegs_heads_on_an_mmseg_data_set(tmp_path, head):
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for i in range(4):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f'images/{i}.jpg')
        Image.fromarray(rng.integers(0, 3, (64, 64), dtype=np.uint8)).save(tmp_path / f'masks/{i}.png')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    dataset = dict(
        type='BaseSegDataset', data_root=str(tmp_path), data_prefix=dict(img_path='images', seg_map_path='masks'),
        metainfo=dict(classes=('a', 'b', 'c')), pipeline=pipeline,
    )  # fmt: skip
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64)),
        backbone=dict(type='SAM2Hiera', arch=TINY_HIERA, out_channels=32),
        decode_head=dict(
            head, num_classes=3, norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0)
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )
    train(
        tmp_path, head['type'], model=model, train_dataloader=loader(dataset, True),
        val_dataloader=loader(dataset, False), val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
    )  # fmt: skip


@MODELS.register_module()
class ToyReferringSegmentor(BaseSegmentor):
    """A bag of words that scales the channels of one of mmseg's backbones."""

    def __init__(self, backbone, data_preprocessor, channels=64):
        super().__init__(data_preprocessor=data_preprocessor)
        self.backbone = MODELS.build(backbone)
        self.words = nn.EmbeddingBag(200, channels)
        self.score = nn.Conv2d(channels, 1, 1)

    def extract_feat(self, inputs):
        return self.backbone(inputs.image)[-1]

    def encode_decode(self, inputs, batch_data_samples=None):
        return self.score(self.extract_feat(inputs) * self.words(inputs.token_ids)[..., None, None])

    def loss(self, inputs, data_samples):
        target = torch.stack([sample.gt_sem_seg.data for sample in data_samples]).float()
        logits = F.interpolate(self.encode_decode(inputs), target.shape[-2:])
        return dict(loss=F.binary_cross_entropy_with_logits(logits, target))

    def predict(self, inputs, data_samples):
        for sample, logits in zip(data_samples, self.encode_decode(inputs), strict=True):
            sample.seg_logits = PixelData(data=logits)
        return data_samples

    def _forward(self, inputs, data_samples=None):
        return self.encode_decode(inputs)


def test_mmsegs_backbone_with_our_data_and_metric(tmp_path, scenes):
    model = dict(
        type='ToyReferringSegmentor',
        data_preprocessor=dict(type='RefSegDataPreProcessor'),
        backbone=dict(type='ResNet', depth=18, base_channels=8, out_indices=(3,), strides=(1, 2, 1, 1)),
    )
    train(tmp_path, 'toy', model=model, **referring_data(scenes))


@MODELS.register_module()
class AveragingUnionEncoder(nn.Module):
    """Another union encoder: patches by a convolution, the text's mean as the CLS token."""

    def __init__(self, dim=32):
        super().__init__()
        self.dim = dim
        self.patches = nn.Conv2d(3, dim, 8, 8)
        self.words = nn.Embedding(200, dim)

    def freeze_text_output(self):
        raise AssertionError('the text is read in this test')

    def forward(self, image, token_ids, text_mask):
        from rs2sam2.structures import UnionFeatures

        text = self.words(token_ids) * text_mask.unsqueeze(-1)
        cls = text.sum(1, keepdim=True) / text_mask.sum(1)[:, None, None]
        return UnionFeatures(cls, self.patches(image).flatten(2).transpose(1, 2) + cls, text)


def test_rs2sam2_with_another_union_encoder(tmp_path, scenes):
    cfg = tiny_model_config('configs/rs2sam2_rrsisd.py')
    cfg['union_encoder'] = dict(type='AveragingUnionEncoder', dim=TINY_BEIT3['dim'])
    cfg['data_preprocessor'] = dict(type='RefSegDataPreProcessor')
    train(tmp_path, 'other', model=cfg, **referring_data(scenes))


@MODELS.register_module()
class PseudoMaskSegmentor(ToyReferringSegmentor):
    """The mask prompt generator alone: its pseudo-mask is the prediction."""

    def __init__(self, backbone, generator, data_preprocessor):
        super().__init__(backbone, data_preprocessor)
        self.generator = MODELS.build(generator)

    def encode_decode(self, inputs, batch_data_samples=None):
        feature = self.extract_feat(inputs)
        cls = self.words(inputs.token_ids).unsqueeze(1)
        return self.generator(cls, feature.flatten(2).transpose(1, 2)).logit(eps=1e-4)


def test_mask_prompt_generator_alone(tmp_path, scenes):
    model = dict(
        type='PseudoMaskSegmentor',
        data_preprocessor=dict(type='RefSegDataPreProcessor'),
        backbone=dict(type='ResNet', depth=18, base_channels=8, out_indices=(3,), strides=(1, 2, 1, 1)),
        generator=dict(type='MaskPromptGenerator', dim=64),
    )
    train(tmp_path, 'pseudo', model=model, **referring_data(scenes))


def tiny_model_config(config: str) -> dict:
    """The model section of a shipped config at tiny size."""
    from tiny import shrink

    return shrink(Config.fromfile(ROOT / config).model).to_dict()
