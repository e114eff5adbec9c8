"""A tiny model and random inputs, the same components as the full one."""

import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from helpers.paths import ROOT
from rs2sam2.structures import ReferringBatch

TINY_HIERA = dict(
    embed_dim=16, num_heads=1, stages=(1, 2, 1, 1), global_blocks=(2,), windows=(8, 4, 4, 2), background=7
)
TINY_BEIT3 = dict(dim=32, depth=2, num_heads=4)
TINY_SWIN = dict(embed_dims=16, depths=(1, 2, 1, 1), num_heads=(1, 2, 2, 4))
TINY_BERT = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
TINY_TOWER = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
SIZE, UNION_SIZE, VOCAB, TEXT_DIM = 64, 32, 50, 32


def shrink(model: dict) -> dict:
    """A full model config at tiny size: same components, same switches."""
    model = Config(dict(model=model)).model
    if model.type in ('LAVT', 'RMSIN'):
        return shrink_lavt(model)
    if model.union_encoder.type == 'DualUnionEncoder':
        # Set, not updated: an update would merge it into the full one.
        model.union_encoder.towers = tiny_towers(model.union_encoder.towers.model_type)
        model.union_encoder.update(dim=TINY_BEIT3['dim'], num_heads=4)
    else:
        encoder = dict(arch=TINY_BEIT3, image_size=UNION_SIZE, patch_size=8, vocab_size=VOCAB, max_text_length=30)
        model.union_encoder.update(encoder)
    model.data_preprocessor.update(vocab_size=VOCAB, max_text_length=30, pad_id=1)
    model.backbone.update(arch=TINY_HIERA, out_channels=TEXT_DIM)
    model.text_dim = TEXT_DIM
    model.init_cfg = None
    if model.get('neck'):
        model.neck.text_dim = TEXT_DIM
    if model.get('mask_prompt_generator'):
        model.mask_prompt_generator.dim = TINY_BEIT3['dim']
    model.decode_head.update(image_size=SIZE, dim=TEXT_DIM, mlp_dim=64)
    if model.decode_head.get('text_gate'):
        model.decode_head.text_gate.dim = TEXT_DIM
    for loss in model.decode_head.get('losses', ()):
        if loss.type == 'TextGuidedBoundaryLoss':
            loss.text_dim = TEXT_DIM
    return model


def shrink_lavt(model: dict) -> dict:
    """LAVT's or RMSIN's config at tiny size; as many of two layers of text learn as do not of twelve."""
    model.image_size = SIZE
    model.init_cfg = None
    model.data_preprocessor.update(vocab_size=VOCAB, max_text_length=30, pad_id=1)
    model.text_encoder.bert = dict(TINY_BERT, vocab_size=VOCAB, max_position_embeddings=30, pad_token_id=1)
    if model.text_encoder.get('learning_layers') is not None:
        model.text_encoder.learning_layers = 1
    model.backbone.update(arch=TINY_SWIN, window_size=4)
    model.decode_head.dim = 16
    return model


def tiny_towers(model_type: str, vocab_size: int = VOCAB, **text) -> dict:
    """A config of CLIP's or SigLIP's towers; the two differ in width, and `text` changes the text tower's."""
    text_config = dict(
        TINY_TOWER, hidden_size=24, vocab_size=vocab_size, max_position_embeddings=30, bos_token_id=None, eos_token_id=2
    )
    return dict(
        model_type=model_type,
        vision_config=dict(TINY_TOWER, image_size=UNION_SIZE, patch_size=8),
        text_config={**text_config, **text},
    )


def tiny_model(config: str = 'configs/rs2sam2_rrsisd.py', seed: int = 0, **options):
    """The model of a shipped config at tiny size, with random weights."""
    cfg = Config.fromfile(ROOT / config)
    cfg.merge_from_dict(options)
    torch.manual_seed(seed)
    return MODELS.build(shrink(cfg.model))


def random_batch(lengths=(5, 9, 3), seed: int = 0) -> ReferringBatch:
    """Random views and padded expressions of the given lengths."""
    generator = torch.Generator().manual_seed(seed)
    count, longest = len(lengths), max(lengths)
    ids = torch.randint(4, VOCAB, (count, longest), generator=generator)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return ReferringBatch(
        image=torch.randn(count, 3, SIZE, SIZE, generator=generator),
        union_image=torch.randn(count, 3, UNION_SIZE, UNION_SIZE, generator=generator),
        token_ids=torch.where(mask, ids, 1),
        text_mask=mask,
    )


def random_target(count: int, seed: int = 0) -> torch.Tensor:
    """Random rectangles, (B, 1, S, S) uint8."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.zeros(count, 1, SIZE, SIZE, dtype=torch.uint8)
    for one in target:
        y, x = torch.randint(0, SIZE - 20, (2,), generator=generator).tolist()
        one[0, y : y + 20, x : x + 15] = 1
    return target
