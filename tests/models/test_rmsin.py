"""LAVT's and RMSIN's parts at tiny size: formulas written out, sizes, what a batch may not change."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS

from helpers.paths import ROOT
from helpers.tiny import TINY_BERT, VOCAB, random_batch, random_target, shrink, tiny_model
from rs2sam2.errors import ConfigError
from rs2sam2.models.common.losses import LossInputs, ReferringCrossEntropyLoss, ReferringDiceLoss
from rs2sam2.models.lavt.pixel_word import PixelWordFusion
from rs2sam2.models.lavt.text_encoder import BertTextEncoder
from rs2sam2.models.rmsin.cross_scale import CrossScaleInteraction
from rs2sam2.models.rmsin.receptive import VariousReceptiveBranch
from rs2sam2.models.rmsin.rotated_conv import MAX_ANGLE, AdaptiveRotatedConv2d, rotation
from rs2sam2.structures import RefSegDataSample, TextState

LAVT, RMSIN = 'configs/lavt_rrsisd.py', 'configs/rmsin_rrsisd.py'


def sampled(kernel: torch.Tensor, theta: float) -> torch.Tensor:
    """A 3 x 3 kernel turned as section 7 of the specification says, entry by entry."""
    turned = torch.empty_like(kernel)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            y = min(max(j * math.sin(theta) + i * math.cos(theta), -1), 1) + 1
            x = min(max(j * math.cos(theta) - i * math.sin(theta), -1), 1) + 1
            y0, x0 = min(int(y), 1), min(int(x), 1)
            dy, dx = y - y0, x - x0
            turned[i + 1, j + 1] = (
                kernel[y0, x0] * (1 - dy) * (1 - dx) + kernel[y0, x0 + 1] * (1 - dy) * dx
                + kernel[y0 + 1, x0] * dy * (1 - dx) + kernel[y0 + 1, x0 + 1] * dy * dx
            )  # fmt: skip
    return turned


@pytest.mark.parametrize('degrees', [0, 7, -7, 23.5, 40, -40, 45])
def test_a_kernel_is_turned_as_the_formula_says(degrees):
    kernel, theta = torch.randn(3, 3, dtype=torch.float64), math.radians(degrees)
    turned = (kernel.flatten() @ rotation(torch.tensor([theta], dtype=torch.float64), 3)[0]).view(3, 3)
    torch.testing.assert_close(turned, sampled(kernel, theta), atol=1e-14, rtol=0)


@pytest.mark.parametrize(
    'options',
    [dict(), dict(num_kernels=4), dict(kernel_size=5, padding=2), dict(stride=2, dilation=2, groups=2, padding=1)],
)
def test_each_sample_is_convolved_with_its_own_kernels(options):
    torch.manual_seed(0)
    conv = AdaptiveRotatedConv2d(4, 6, **{'padding': 1, **options}).double().eval()
    torch.nn.init.normal_(conv.routing.theta.weight, std=3)
    x = torch.randn(3, 4, 9, 11, dtype=torch.float64)
    alpha, theta = conv.routing(x)
    assert ((alpha > 0) & (alpha < 1)).all()
    assert (theta.abs() < MAX_ANGLE).all()
    assert theta.abs().max() > 0.05
    out = conv(x)
    # As an exported graph computes it, whose batch is of any size.
    torch.testing.assert_close(conv._convolve_any(x, conv.turned(alpha, theta)), out, atol=1e-12, rtol=0)
    for b in range(3):
        kernel = sum(
            a * torch.einsum('oik,kl->oil', w.flatten(2), rotation(t[None], w.shape[-1])[0]).view_as(w)
            for a, t, w in zip(alpha[b], theta[b], conv.weight, strict=True)
        )
        alone = F.conv2d(x[b : b + 1], kernel, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
        torch.testing.assert_close(out[b : b + 1], alone, atol=1e-12, rtol=0)
        torch.testing.assert_close(conv(x[b : b + 1]), alone, atol=1e-12, rtol=0)


def test_the_angle_learns():
    conv = AdaptiveRotatedConv2d(2, 2, padding=1).double().eval()
    torch.nn.init.normal_(conv.routing.theta.weight)
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda w: torch.func.functional_call(conv, {'routing.theta.weight': w}, (x,)), conv.routing.theta.weight
    )


@pytest.mark.parametrize('size', [2, (3, 5)])
def test_a_kernel_that_cannot_be_turned_is_refused(size):
    with pytest.raises(ValueError, match='only square kernels with an odd side'):
        AdaptiveRotatedConv2d(2, 2, size)


@pytest.mark.parametrize('num_heads', [1, 2])
def test_pixel_word_fusion_as_the_formula_says(num_heads):
    torch.manual_seed(0)
    dim, count = 8, 11
    fusion = PixelWordFusion(dim, text_dim=6, num_heads=num_heads).double()
    x, tokens = torch.randn(2, count, dim).double(), torch.randn(2, 5, 6).double()
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])

    def conv(layer, values):
        return values @ layer.weight[..., 0].T + layer.bias

    def norm(values):
        mean, var = values.mean(1, keepdim=True), values.var(1, keepdim=True, unbiased=False)
        return (values - mean) / (var + 1e-5).sqrt()

    attention, real = fusion.attention, mask[..., None].double()
    q, k, v = (
        norm(conv(attention.query, x)), real * conv(attention.key, tokens), real * conv(attention.value, tokens)
    )  # fmt: skip
    read = []
    for h in range(num_heads):
        own = slice(h * dim // num_heads, (h + 1) * dim // num_heads)
        scores = dim**-0.5 * q[..., own] @ k[..., own].transpose(1, 2) + 10000 * (real.transpose(1, 2) - 1)
        read.append(scores.softmax(-1) @ v[..., own])
    lang = norm(conv(attention.out, torch.cat(read, -1)))
    expected = F.gelu(conv(fusion.mix, F.gelu(conv(fusion.visual, x)) * lang))
    torch.testing.assert_close(fusion(x, TextState(tokens, mask)), expected, atol=1e-12, rtol=0)


def test_branch_weighs_pixels_of_any_map():
    branch = VariousReceptiveBranch().eval()
    assert sum(p.numel() for p in branch.parameters()) == 38  # 22 weights and 8 batch norms of one channel
    x = torch.randn(2, 15, 4)
    weight = branch(x, (3, 5)) / x
    torch.testing.assert_close(weight, weight[..., :1].expand_as(weight))
    assert ((weight > 0) & (weight < 1)).all()


@pytest.mark.parametrize('config', [LAVT, RMSIN])
def test_neither_batch_nor_padding_changes_a_prediction(config):
    model = tiny_model(config).double().eval()
    batch = random_batch((5, 9, 3))
    batch = batch._replace(image=batch.image.double(), union_image=None)
    together = model.encode_decode(batch).mask_logits
    assert together.shape == batch.image[:, :1].shape
    for i, length in enumerate((5, 9, 3)):
        alone = batch._replace(
            image=batch.image[i : i + 1],
            token_ids=batch.token_ids[i : i + 1, :length],
            text_mask=batch.text_mask[i : i + 1, :length],
        )
        torch.testing.assert_close(model.encode_decode(alone).mask_logits, together[i : i + 1], atol=1e-9, rtol=0)
    # The words matter.
    other = batch._replace(token_ids=batch.token_ids.flip(0), text_mask=batch.text_mask.flip(0))
    assert (model.encode_decode(other).mask_logits - together).abs().max() > 1e-6


def test_lavt_takes_any_size_and_rmsin_one():
    batch = random_batch((4,))._replace(image=torch.randn(1, 3, 50, 101))
    assert tiny_model(LAVT).eval().encode_decode(batch).mask_logits.shape == (1, 1, 50, 101)
    with pytest.raises(ValueError, match='the weights are for an input of 64 x 64'):
        tiny_model(RMSIN).eval().encode_decode(batch)
    with pytest.raises(ValueError, match='must be a multiple of 32'):
        CrossScaleInteraction(image_size=500)


@pytest.mark.parametrize(
    ('config', 'side', 'gather'), [(RMSIN, 480, (225, 314)), ('configs/remotesam.py', 896, (784, 1080))]
)
def test_full_size_shapes(config, side, gather):
    """On the meta device: the published forms, 480 and 896 pixels."""
    init_default_scope('mmseg')
    with torch.device('meta'):
        model = MODELS.build(Config.fromfile(ROOT / config).model).eval()
        assert model.input_spec.image_size == side
        ids = torch.ones(1, 20, dtype=torch.int64)
        batch = random_batch((4,))._replace(image=torch.empty(1, 3, side, side), token_ids=ids, text_mask=ids.bool())
        maps = model.extract_feat(batch)
    assert [tuple(one.shape[1:]) for one in maps] == [
        (128 * 2**i, side // 4 // 2**i, side // 4 // 2**i) for i in range(4)
    ]
    for block in (0, 2):
        assert tuple(model.neck.blocks[0][block].module.attention.gather.weight.shape) == gather
    if side == 480:
        assert sum(p.numel() for p in model.parameters()) == 240_037_163


def test_losses_over_the_batch():
    torch.manual_seed(0)
    logits, target = (
        torch.randn(3, 2, 7, 9),
        (torch.rand(3, 7, 9) > torch.tensor([0.1, 0.5, 0.97]).view(3, 1, 1)).long(),
    )
    inputs = LossInputs(logits[:, 1:] - logits[:, :1], target[:, None].float())
    expected = F.cross_entropy(logits, target, torch.tensor([0.9, 1.1]))
    torch.testing.assert_close(ReferringCrossEntropyLoss(loss_weight=1.0, whole_batch=True)(inputs), expected)
    mean = ReferringDiceLoss(loss_weight=1.0)(inputs)
    torch.testing.assert_close(ReferringDiceLoss(loss_weight=1.0, reduction='sum')(inputs), 3 * mean)
    with pytest.raises(ConfigError, match="reduction='none'"):
        ReferringDiceLoss(reduction='none')


def test_what_follows_the_last_stage_neither_learns_nor_matters():
    model = tiny_model(RMSIN)
    last = model.backbone.stages[-1]
    for part in (last.language_gate, last.visual_branch, last.visual_gate):
        assert not any(p.requires_grad for p in part.parameters())
    assert all(p.requires_grad for p in model.backbone.stages[-2].parameters())
    # Its batch norms follow the batches, as the release's do.
    before = last.visual_branch.weigh[0].same.running_mean.clone()
    samples = [RefSegDataSample(gt_sem_seg=PixelData(data=one)) for one in random_target(3)]
    model.train().loss(random_batch(), samples)
    assert not torch.equal(last.visual_branch.weigh[0].same.running_mean, before)


def test_text_encoder_learns_as_many_layers_as_asked():
    encoder = BertTextEncoder(dict(TINY_BERT, vocab_size=VOCAB), learning_layers=1)
    learning = {name.split('.')[3] for name, p in encoder.named_parameters() if p.requires_grad}
    assert learning == {'0'}
    assert all(p.requires_grad for p in BertTextEncoder(dict(TINY_BERT, vocab_size=VOCAB)).parameters())


@pytest.mark.parametrize(
    ('bert', 'options', 'message'),
    [
        (dict(hidden_sise=32), {}, 'text_encoder.bert has hidden_sise'),
        (dict(TINY_BERT, hidden_size=30), {}, 'is no usable config'),
        (dict(TINY_BERT), dict(learning_layers=3), 'learning_layers=3: the text encoder has 2'),
        ('nowhere/bert', {}, 'is no local folder'),
    ],
)
def test_text_encoder_refuses(bert, options, message):
    with pytest.raises(ConfigError, match=message):
        BertTextEncoder(bert, **options)


def test_starting_values():
    model = MODELS.build(shrink(Config.fromfile(ROOT / RMSIN).model))
    backbone = model.backbone
    for weight in (
        backbone.stages[1].blocks[0].attn.w_msa.qkv.weight,
        backbone.stages[0].language_gate[0].weight,
        backbone.stages[2].blocks[0].attn.w_msa.relative_position_bias_table,
        model.neck.blocks[0][0].module.attention.qkv.weight,
    ):
        assert weight.std().item() == pytest.approx(0.02, rel=0.25)
    kernel = model.decode_head.levels[0][3].weight
    assert kernel.std().item() == pytest.approx(math.sqrt(2 / (16 * 9)), rel=0.1)
    assert not backbone.stages[1].blocks[0].attn.w_msa.qkv.bias.any()
