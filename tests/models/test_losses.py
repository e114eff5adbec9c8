"""Losses against a straightforward computation on the two channels [1 - p, p]."""

import pytest
import torch
import torch.nn.functional as F

from rs2sam2.errors import ConfigError
from rs2sam2.models.common.losses import LossInputs, ReferringCrossEntropyLoss, ReferringDiceLoss
from rs2sam2.models.rs2sam2.losses import IoUScoreLoss, PresenceLoss, PseudoMaskLoss, TextGuidedBoundaryLoss


@pytest.fixture
def inputs() -> LossInputs:
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(3, 1, 12, 12, generator=generator)
    target = (torch.rand(3, 1, 12, 12, generator=generator) > 0.7).float()
    target[2] = 0
    return LossInputs(
        mask_logits=2 * p - 1,
        target=target,
        text=torch.randn(3, 8, generator=generator),
        iou=torch.rand(3, generator=generator),
        presence_logits=torch.randn(3, generator=generator),
        pseudo_mask=torch.rand(3, 1, 4, 4, generator=generator),
    )


def channels(inputs: LossInputs) -> torch.Tensor:
    p = (inputs.mask_logits + 1) / 2
    return torch.cat([1 - p, p], dim=1)


def test_cross_entropy_is_that_of_the_two_channels(inputs):
    weight = torch.tensor([0.9, 1.1])
    expected = [
        F.cross_entropy(x[None], t.long(), weight) for x, t in zip(channels(inputs), inputs.target, strict=True)
    ]
    torch.testing.assert_close(ReferringCrossEntropyLoss(loss_weight=1)(inputs), sum(expected) / 3)


def test_dice_is_that_of_the_two_channels(inputs):
    soft, hot = channels(inputs).softmax(1), torch.cat([1 - inputs.target, inputs.target], 1)
    total = 0
    for i in range(3):
        for c in range(2):
            overlap = (soft[i, c] * hot[i, c]).sum()
            total += 1 - (2 * overlap + 1e-6) / (soft[i, c].sum() + hot[i, c].sum() + 1e-6)
    torch.testing.assert_close(ReferringDiceLoss(loss_weight=1)(inputs), total / 3)


@pytest.mark.parametrize('hard', [True, False])
def test_boundary_loss_by_loops(inputs, hard):
    loss = TextGuidedBoundaryLoss(text_dim=8, hard=hard, loss_weight=1)
    p = (inputs.mask_logits + 1) / 2
    mask = (p.sigmoid() > 0.5).float() if hard else channels(inputs).softmax(1)[:, 1:]

    def edges(m):
        out = torch.zeros_like(m)
        for y in range(12):
            for x in range(12):
                if y:
                    out[y, x] += (m[y, x] - m[y - 1, x]).abs()
                if x:
                    out[y, x] += (m[y, x] - m[y, x - 1]).abs()
        return out

    expected = 0
    for i in range(3):
        w = loss.weight_from_text(inputs.text[i])
        expected += (w * (edges(mask[i, 0]) - edges(inputs.target[i, 0]))).square().mean()
    torch.testing.assert_close(loss(inputs), expected / 3)


def test_hard_boundary_teaches_the_text_only_and_soft_the_mask_too(inputs):
    for hard in (True, False):
        leaf = inputs.mask_logits.clone().requires_grad_()
        loss = TextGuidedBoundaryLoss(text_dim=8, hard=hard)
        loss(inputs._replace(mask_logits=leaf)).backward()
        assert loss.weight_from_text.weight.grad.abs().sum() > 0
        assert (leaf.grad is None) == hard


def test_iou_loss_leaves_out_empty_targets(inputs):
    errors = []
    for i in range(2):
        mask, target = inputs.mask_logits[i] > 0, inputs.target[i] > 0
        errors.append((inputs.iou[i] - (mask & target).sum() / (mask | target).sum()) ** 2)
    torch.testing.assert_close(IoUScoreLoss(loss_weight=1)(inputs), sum(errors) / 2)
    empty = inputs._replace(target=torch.zeros_like(inputs.target))
    assert IoUScoreLoss()(empty) == 0


def test_presence_loss(inputs):
    expected = F.binary_cross_entropy_with_logits(inputs.presence_logits, torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(PresenceLoss(loss_weight=1)(inputs), expected)


def test_pseudo_mask_loss_is_smallest_at_the_share_of_foreground(inputs):
    share = F.avg_pool2d(inputs.target, 3)
    loss = PseudoMaskLoss()
    best = loss(
        inputs._replace(pseudo_mask=(share > 0.5).float(), target=F.interpolate((share > 0.5).float(), size=12))
    )
    assert best < 1e-3
    assert loss(inputs) > 1


@pytest.mark.parametrize('loss', [IoUScoreLoss(), PresenceLoss(), PseudoMaskLoss(), TextGuidedBoundaryLoss(8)])
def test_a_loss_of_another_model_is_refused(inputs, loss):
    bare = LossInputs(inputs.mask_logits, inputs.target)
    with pytest.raises(ConfigError, match=f'decode_head.losses: {loss.name} reads .* leave it out'):
        loss(bare)
