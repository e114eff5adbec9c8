"""Independent oracles at small width: torchscale's BEiT-3, and the sam2 package's own modules and image predictor."""

import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import save_file
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_image_predictor import SAM2ImagePredictor
from torch import Tensor, nn

from rs2sam2.models.rs2sam2.beit3 import BEiT3UnionEncoder
from rs2sam2.models.rs2sam2.head import SAM2Head
from rs2sam2.models.rs2sam2.hiera import ARCHITECTURES, SAM2Hiera
from rs2sam2.structures import Prompts, TextState
from rs2sam2.weights.adapters import ADAPTERS, detect, to_ours
from rs2sam2.weights.files import StateDictFile, open_state_dict
from rs2sam2.weights.loading import load_into
from rs2sam2.weights.targets import module_specs

SAM2_CONFIGS = Path(importlib.util.find_spec('sam2').submodule_search_locations[0]) / 'configs'
SIZES = {'tiny': 't', 'small': 's', 'base-plus': 'b+', 'large': 'l'}
IMAGE_SIZE, DIM = 256, 256
TEXT = TextState(torch.zeros(1, 1, DIM), torch.ones(1, 1, dtype=torch.bool))


@torch.no_grad()
def randomize(module: nn.Module, seed: int = 0) -> None:
    """Weights of a trained network's order of magnitude, so that no path is near zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if 'proj' not in name and ('embed' in name or 'token' in name):
            parameter.copy_(0.5 * noise)
        elif parameter.dim() > 1:
            parameter.copy_(noise * parameter[0].numel() ** -0.5)
        elif name.endswith('weight'):
            parameter.copy_(1 + 0.1 * noise)
        else:
            parameter.copy_(0.1 * noise)


def saved(state: dict[str, Tensor], folder: Path) -> StateDictFile:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / 'oracle.safetensors')
    return open_state_dict(folder / 'oracle.safetensors')


@pytest.fixture
def torchscale_beit3(monkeypatch: pytest.MonkeyPatch) -> type:
    """torchscale's BEiT3. It pins timm 0.4 and fairscale 0.4 for drop-path and sharding, which are off here."""
    if importlib.util.find_spec('torchscale') is None:
        pytest.skip('no torchscale (pip install --no-deps torchscale==0.2.0)')
    fairscale, timm = ModuleType('fairscale.nn'), ModuleType('timm.models.layers')
    fairscale.wrap = fairscale.checkpoint_wrapper = lambda module, *args, **kwargs: module
    timm.drop_path = None
    for name, module in {
        'fairscale': ModuleType('fairscale'), 'fairscale.nn': fairscale, 'timm': ModuleType('timm'),
        'timm.models': ModuleType('timm.models'), 'timm.models.layers': timm,
    }.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    from torchscale.model.BEiT3 import BEiT3

    return BEiT3


@pytest.mark.parametrize(('dim', 'depth', 'heads', 'image_size'), [(48, 3, 4, 64), (96, 2, 12, 224)])
def test_beit3(torchscale_beit3: type, dim: int, depth: int, heads: int, image_size: int, tmp_path: Path) -> None:
    from torchscale.architecture.config import EncoderConfig

    config = EncoderConfig(
        encoder_embed_dim=dim, encoder_attention_heads=heads, encoder_ffn_embed_dim=4 * dim, encoder_layers=depth,
        multiway=True, vocab_size=100, img_size=image_size, no_output_layer=True,
    )  # fmt: skip
    oracle = torchscale_beit3(config).eval()
    randomize(oracle)
    ours = BEiT3UnionEncoder(dict(dim=dim, depth=depth, num_heads=heads), image_size, vocab_size=100).eval()
    state = {'beit3.' + name: tensor for name, tensor in oracle.state_dict().items()}
    plan = load_into(ours, ADAPTERS['beit3'], saved(state, tmp_path))
    assert list(plan.dropped) == ['beit3.vision_embed.mask_token']

    generator = torch.Generator().manual_seed(1)
    image = torch.randn(3, 3, image_size, image_size, generator=generator)
    ids = torch.randint(4, 100, (3, 12), generator=generator)
    mask = torch.arange(12) < torch.tensor([12, 5, 1])[:, None]
    with torch.no_grad():
        expected = oracle(textual_tokens=ids, visual_tokens=image, text_padding_position=~mask)['encoder_out']
        union = ours.eval()(image, ids, mask)
    split = union.cls.shape[1] + union.patches.shape[1]
    spread = expected.std()
    torch.testing.assert_close(
        torch.cat((union.cls, union.patches), 1) / spread, expected[:, :split] / spread, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(union.text[mask] / spread, expected[:, split:][mask] / spread, atol=1e-5, rtol=0)


def published_trunk(size: str) -> dict:
    """The trunk's numbers in the sam2 package's own yaml."""
    config = yaml.safe_load((SAM2_CONFIGS / f'sam2.1/sam2.1_hiera_{SIZES[size]}.yaml').read_text())
    return {key: value for key, value in config['model']['image_encoder']['trunk'].items() if key != '_target_'}


def narrow_sam2(size: str) -> SAM2Base:
    """SAM2 with a size's layout of blocks, narrow and for small images, without its memory modules."""
    numbers = published_trunk(size)
    trunk = Hiera(**{**numbers, 'embed_dim': 16 * numbers['num_heads']})
    neck = FpnNeck(
        PositionEmbeddingSine(DIM, normalize=True, scale=None, temperature=10000), DIM, trunk.channel_list,
        fpn_top_down_levels=[2, 3], fpn_interp_model='nearest',
    )  # fmt: skip
    model = SAM2Base(
        ImageEncoder(trunk, neck, scalp=1), nn.Identity(), nn.Identity(), image_size=IMAGE_SIZE,
        directly_add_no_mem_embed=True, use_high_res_features_in_sam=True, iou_prediction_use_sigmoid=True,
        pred_obj_scores=True, pred_obj_scores_mlp=True,
    )  # fmt: skip
    randomize(model)
    return model.eval()


class Case:
    """One size: the package's predictor with an image set, and our backbone and heads with its weights."""

    def __init__(self, size: str, folder: Path) -> None:
        self.oracle = narrow_sam2(size)
        self.predictor = SAM2ImagePredictor(self.oracle)
        self.predictor._bb_feat_sizes = [(IMAGE_SIZE // s,) * 2 for s in (4, 8, 16)]
        image = np.random.default_rng(0).integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
        self.predictor.set_image(image)
        self.image = self.predictor._transforms(image)[None]
        self.file = saved(self.oracle.state_dict(), folder)
        self.backbone = SAM2Hiera({**ARCHITECTURES[size], 'embed_dim': 16 * ARCHITECTURES[size]['num_heads']}).eval()
        load_into(self.backbone, ADAPTERS['sam2'], self.file)

    def head(self, **options: bool) -> SAM2Head:
        head = SAM2Head(image_size=IMAGE_SIZE, two_channel=False, **options).eval()
        load_into(head, ADAPTERS['sam2'], self.file)
        return head


@pytest.fixture(scope='module', params=list(SIZES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp('sam2'))


def assert_near(ours: Tensor, expected: Tensor) -> None:
    spread = expected.std()
    torch.testing.assert_close(ours / spread, expected / spread, atol=1e-5, rtol=0)


@torch.no_grad()
def test_backbone(case: Case) -> None:
    expected = case.oracle.image_encoder(case.image)['backbone_fpn']
    pyramid = case.backbone(case.image)
    assert len(pyramid) == len(expected) == 3
    for ours, theirs in zip(pyramid, expected, strict=True):
        assert_near(ours, theirs)


@torch.no_grad()
def test_head_on_the_image_predictor_s_path(case: Case) -> None:
    pyramid = case.backbone(case.image)
    no_sparse = torch.zeros(1, 0, DIM)
    mask = torch.rand(1, 1, IMAGE_SIZE // 4, IMAGE_SIZE // 4, generator=torch.Generator().manual_seed(2))
    for options, pseudo_mask in (
        (dict(dense_prompt=False), None),
        (dict(dense_prompt=True), mask),
        (dict(dense_prompt=False, multimask=True), None),
        (dict(dense_prompt=True, multimask=True), mask),
    ):
        multimask = options.get('multimask', False)
        expected, iou, _ = case.predictor._predict(
            None, None, mask_input=pseudo_mask, multimask_output=multimask, return_logits=True
        )
        best = iou[0].argmax() if multimask else 0
        prediction = case.head(**options)(pyramid, TEXT, Prompts(no_sparse, pseudo_mask))
        logits = nn.functional.interpolate(prediction.mask_logits, size=(IMAGE_SIZE, IMAGE_SIZE), mode='bilinear')
        assert_near(logits, expected[:, best : best + 1])
        torch.testing.assert_close(prediction.iou, iou[:, best], atol=1e-5, rtol=0)


@torch.no_grad()
def test_decoder_with_text_prompts(case: Case) -> None:
    """Sparse prompts that no point gives, and two images at a time."""
    sparse = torch.randn(2, 3, DIM, generator=torch.Generator().manual_seed(3))
    images = torch.cat((case.image, case.image.flip(-1)))
    oracle = case.oracle
    features = oracle.forward_image(images)['backbone_fpn']
    dense = oracle.sam_prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1).expand_as(features[-1])
    expected, iou, _, presence = oracle.sam_mask_decoder(
        image_embeddings=features[-1] + oracle.no_mem_embed.view(1, -1, 1, 1),
        image_pe=oracle.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
        repeat_image=False,
        high_res_features=features[:-1],
    )
    prediction = case.head(dense_prompt=False)(case.backbone(images), TEXT, Prompts(sparse, None))
    assert_near(prediction.mask_logits, expected)
    torch.testing.assert_close(prediction.iou, iou.flatten(), atol=1e-5, rtol=0)
    torch.testing.assert_close(prediction.presence_logits, presence.flatten(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('size', list(SIZES))
def test_sizes_are_those_of_the_package(size: str) -> None:
    trunk, ours = Hiera(**published_trunk(size)), ARCHITECTURES[size]
    assert trunk.patch_embed.proj.out_channels == ours['embed_dim']
    assert tuple(block.window_size for block in trunk.blocks) == tuple(
        block.window for block in SAM2Hiera(dict(ours, embed_dim=ours['num_heads'] * 4)).trunk.blocks
    )
    assert trunk.stage_ends == [sum(ours['stages'][: i + 1]) - 1 for i in range(4)]
    assert trunk.pos_embed.shape[-1] == ours['background']


@pytest.mark.parametrize('version', ['sam2', 'sam2.1'])
@pytest.mark.parametrize('size', list(SIZES))
def test_every_published_name_at_full_size(version: str, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry of the eight published models is filled or dropped with a reason; nothing is allocated."""
    config = OmegaConf.load(SAM2_CONFIGS / version / f'{version}_hiera_{SIZES[size]}.yaml')
    # Hiera asks its drop-path rates for their values.
    monkeypatch.setattr(torch, 'linspace', partial(torch.linspace, device='cpu'))
    with torch.device('meta'):
        published = instantiate(config.model, _recursive_=True)
        ours = nn.ModuleDict(dict(backbone=SAM2Hiera(size), decode_head=SAM2Head()))
    specs, adapter = module_specs(published), ADAPTERS['sam2']
    plan = to_ours(adapter, SimpleNamespace(path='sam2.pt', specs=specs), module_specs(ours))
    assert len(plan.mapped) + len(plan.dropped) == len(specs)
    assert set(plan.new) == {'decode_head.iou_steps', 'decode_head.presence_steps'}
    extra = {'no_obj_embed_spatial', 'obj_ptr_tpos_proj.weight', 'obj_ptr_tpos_proj.bias'}
    assert extra & set(plan.dropped) == (extra if version == 'sam2.1' else set())
    assert detect(ADAPTERS, specs) is adapter
