"""Random weights at tiny size in the names of every published source, spoiled ones, and folders of shards."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from helpers.tiny import tiny_model
from rs2sam2.weights.adapters import ADAPTERS

# A config whose model holds what the source fills.
CONFIGS = {
    'rs2sam2': 'configs/rs2sam2_rrsisd.py',
    'beit3': 'configs/rs2sam2_rrsisd.py',
    'sam2': 'configs/rs2sam2_rrsisd.py',
    'evf-sam2': 'configs/evf_sam2_l.py',
    'clip': 'configs/rs2sam2_clip_rrsisd.py',
    'siglip': 'configs/rs2sam2_siglip_rrsisd.py',
    'swin': 'configs/rmsin_rrsisd.py',
    'bert': 'configs/lavt_rrsisd.py',
    'lavt-one': 'configs/lavt_rrsisd.py',
    'lavt': 'configs/lavt_rrsisd.py',
    'rmsin': 'configs/rmsin_rrsisd.py',
}
# One entry of every kind that is dropped.
DROPPED = {
    'rs2sam2': [
        'visual_model.memory_attention.layers.0.self_attn.q_proj.weight',
        'visual_model.memory_encoder.fuser.layers.1.gamma',
        'visual_model.obj_ptr_proj.layers.2.bias',
        'mm_extractor.beit3.vision_embed.mask_token',
        'meo_linear.weight',
    ],
    'beit3': ['beit3.vision_embed.mask_token', 'mlm_head.weight', 'mim_head.bias'],
    'sam2': ['maskmem_tpos_enc', 'no_obj_embed_spatial', 'obj_ptr_tpos_proj.bias', 'memory_attention.norm.weight'],
    'evf-sam2': ['visual_model.memory_encoder.fuser.layers.0.weight', 'visual_model.no_obj_ptr'],
    'clip': ['logit_scale', 'visual_projection.weight', 'text_model.embeddings.position_ids'],
    'siglip': ['logit_scale', 'logit_bias'],
    'swin': ['norm.weight', 'head.bias', 'layers.0.blocks.1.attn_mask'],
    'bert': ['bert.pooler.dense.bias', 'cls.predictions.transform.LayerNorm.gamma', 'embeddings.position_ids'],
    'lavt-one': ['text_encoder.pooler.dense.weight'],
    'lavt': ['bert_model.pooler.dense.weight', 'bert_model.embeddings.position_ids'],
    'rmsin': ['text_encoder.pooler.dense.bias'],
}


def random_state(source: str) -> dict[str, Tensor]:
    """Our names at tiny size, every tensor random."""
    generator = torch.Generator().manual_seed(1)
    state = tiny_model(CONFIGS[source]).state_dict()
    return {
        name: torch.randn(t.shape, generator=generator) if t.is_floating_point() else t for name, t in state.items()
    }


def official_state(source: str) -> dict[str, Tensor]:
    """A published state dict at tiny size, with entries that are dropped."""
    adapter = ADAPTERS[source]
    ours = {name: t for name, t in random_state(source).items() if adapter.fills(name) and not adapter.why_new(name)}
    state = {adapter.table.to_official(name): t for name, t in ours.items()}
    assert None not in state
    assert len(state) == len(ours)
    return {**state, **{name: torch.ones(3) for name in DROPPED[source]}}


def save(state: dict[str, Tensor], path: Path, wrapper: str | None = None) -> Path:
    """Write in the format that the suffix says, a `.pth` within a wrapper if asked; returns the path."""
    if path.suffix == '.safetensors':
        save_file(state, path)
    else:
        torch.save({wrapper: state} if wrapper else state, path)
    return path


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """The same names, types and numbers, to the bit."""
    assert set(a) == set(b)
    wrong = [name for name in a if a[name].dtype != b[name].dtype or not torch.equal(a[name], b[name])]
    assert not wrong


def spoil(state: dict[str, Tensor], how: str, name: str) -> str:
    """Spoil one entry; returns what the error must name."""
    tensor = state.pop(name)
    if how == 'missing':
        return name
    if how == 'renamed':
        state[name + '_'] = tensor
        return name + '_'
    if how == 'extra':
        state.update({name: tensor, 'decoder.extra': torch.ones(2)})
        return 'decoder.extra'
    if how == 'shape':
        state[name] = torch.ones(*tensor.shape, 1)
    elif how == 'transposed':
        state[name] = torch.cat((tensor, tensor))
    elif how == 'integer':
        state[name] = tensor.long()
    else:
        state[name] = tensor.clone()
        state[name].view(-1)[-1] = float(how)
    return name


def write_shards(state: dict[str, Tensor], folder: Path, suffix: str) -> None:
    """Two shards and their index, as the hub has them."""
    names = list(state)
    weight_map = {}
    for i in range(2):
        shard = f'{"model" if suffix == ".safetensors" else "pytorch_model"}-0000{i + 1}-of-00002{suffix}'
        save({name: state[name] for name in names[i::2]}, folder / shard)
        weight_map.update(dict.fromkeys(names[i::2], shard))
    index = {'.safetensors': 'model.safetensors.index.json', '.bin': 'pytorch_model.bin.index.json'}[suffix]
    (folder / index).write_text(json.dumps(dict(metadata={}, weight_map=weight_map)))
