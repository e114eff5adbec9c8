"""The whole model at tiny size: padding, batches, gradients, scores, freezing."""

import pytest
import torch
from mmengine.structures import PixelData

from helpers.tiny import random_batch, random_target, tiny_model
from rs2sam2.errors import ConfigError
from rs2sam2.structures import ReferringBatch, RefSegDataSample

CONFIGS = ['configs/rs2sam2_rrsisd.py', 'configs/rs2sam2_rrsisd_released.py', 'configs/rs2sam2_tiny_demo.py']


def rows(batch: ReferringBatch, index: list[int]) -> ReferringBatch:
    """Some samples of a batch, padded to the longest of them only."""
    longest = int(batch.text_mask[index].sum(1).max())
    picked = ReferringBatch(*(field[index] for field in batch))
    return picked._replace(token_ids=picked.token_ids[:, :longest], text_mask=picked.text_mask[:, :longest])


def losses(model, batch, target):
    samples = [RefSegDataSample(gt_sem_seg=PixelData(data=one)) for one in target]
    return model.loss(batch, samples)


@pytest.mark.parametrize('order', [[0], [1], [2], [2, 0, 1], [0, 2]])
def test_batched_equals_one_by_one(order):
    model = tiny_model().eval()
    batch = random_batch()
    with torch.no_grad():
        whole, part = model(batch, mode='tensor'), model(rows(batch, order), mode='tensor')
    for name in ('mask_logits', 'iou', 'presence_logits', 'pseudo_mask'):
        torch.testing.assert_close(getattr(whole, name)[order], getattr(part, name), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('config', CONFIGS)
def test_loss_of_a_batch_is_the_mean_over_its_samples(config):
    model = tiny_model(config)
    batch, target = random_batch(), random_target(3)
    whole = losses(model, batch, target)
    parts = [losses(model, rows(batch, [i]), target[i : i + 1]) for i in range(3)]
    for name, value in whole.items():
        torch.testing.assert_close(value, sum(part[name] for part in parts) / 3, atol=1e-5, rtol=1e-5)


def test_padding_ids_do_not_matter():
    model = tiny_model(**{'model.union_encoder.mask_unknown': False}).eval()
    batch = random_batch()
    other = batch._replace(token_ids=torch.where(batch.text_mask, batch.token_ids, 7))
    with torch.no_grad():
        torch.testing.assert_close(model(batch, mode='tensor').mask_logits, model(other, mode='tensor').mask_logits)


def test_unknown_word_is_masked_in_the_encoder_as_the_release_does():
    batch = random_batch((6,))
    batch.token_ids[0, 3] = 3
    changed = batch._replace(token_ids=batch.token_ids.clone())
    model = tiny_model().eval()
    keep = tiny_model(**{'model.union_encoder.mask_unknown': False}).eval()
    with torch.no_grad():
        for one in (model, keep):
            one.union_encoder.text_embed.weight[3] += 5  # must not be seen where unknown words are masked
        masked, kept = (one.union_encoder(*changed[1:]).cls for one in (model, keep))
        for one in (model, keep):
            one.union_encoder.text_embed.weight[3] -= 5
        torch.testing.assert_close(model.union_encoder(*changed[1:]).cls, masked)
        assert not torch.allclose(keep.union_encoder(*changed[1:]).cls, kept)


@pytest.mark.parametrize('config', CONFIGS)
def test_requires_grad_exactly_where_a_gradient_arrives(config):
    model = tiny_model(config).train()
    sum(losses(model, random_batch(), random_target(3)).values()).backward()
    wrong = [name for name, p in model.named_parameters() if p.requires_grad != (p.grad is not None)]
    assert not wrong


def test_frozen_backbone_stays_in_eval_mode_and_passes_gradients_through():
    model = tiny_model().train()
    assert not any(module.training for module in model.backbone.modules())
    assert model.neck.training
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert all(p.requires_grad for p in model.neck.slots[0].parameters())


def test_scores_are_none_until_their_heads_have_trained():
    model = tiny_model('configs/rs2sam2_tiny_demo.py').eval()
    batch = random_batch()
    assert all(sample.pred_iou is None and sample.presence is None for sample in model.predict(batch))
    losses(model, batch, random_target(3))
    again = tiny_model('configs/rs2sam2_tiny_demo.py', seed=1).eval()
    again.load_state_dict(model.state_dict())
    for sample in again.predict(batch):
        assert 0 <= sample.pred_iou <= 1
        assert 0 <= sample.presence <= 1


def test_prediction_is_at_the_size_of_the_original():
    model = tiny_model().eval()
    samples = [RefSegDataSample(metainfo=dict(ori_shape=(40, 70))) for _ in range(3)]
    with torch.no_grad():
        predicted = model.predict(random_batch(), samples)
    assert predicted[0].pred_sem_seg.data.shape == (1, 40, 70)
    assert predicted[0].seg_logits.data.shape == (1, 16, 16)
    assert predicted[0].pseudo_mask.data.shape == (1, 4, 4)


def test_last_text_update_is_left_out_and_frozen():
    slots = tiny_model().neck.slots
    assert not any(p.requires_grad for p in slots[-1].fusion.text_out.parameters())
    assert all(p.requires_grad for p in slots[-2].fusion.text_out.parameters())


def test_a_dense_prompt_without_its_generator_is_refused():
    model = tiny_model(**{'model.mask_prompt_generator': None})
    with pytest.raises(ConfigError, match='dense_prompt=True reads what mask_prompt_generator=None'):
        model(random_batch(), mode='tensor')
