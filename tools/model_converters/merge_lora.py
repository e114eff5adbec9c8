"""Merge the low-rank updates of a checkpoint trained with union_encoder.train='lora' into plain weights.

python tools/model_converters/merge_lora.py CONFIG CHECKPOINT DST
"""

import argparse
from pathlib import Path

from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import load_config, one_line_errors
from rs2sam2.errors import CheckpointError, ConfigError
from rs2sam2.models.common.lora import merge_lora
from rs2sam2.terminal import plain
from rs2sam2.weights.adapters.adapter import OWN, is_finite
from rs2sam2.weights.files import open_state_dict, save_state_dict
from rs2sam2.weights.loading import load_into


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', help="the config of the training, with union_encoder.train='lora'")
    parser.add_argument('checkpoint', type=Path, help='what the training wrote')
    parser.add_argument(
        'dst', type=Path, help="file to write, .pth or .safetensors, for train='full' and everything else"
    )
    return parser.parse_args()


def main() -> None:
    """Load, merge, write."""
    args = parse_args()
    cfg = load_config(args.config, None, 'none', None)
    if cfg.model.union_encoder.get('train') != 'lora':
        raise ConfigError(f"{args.config} has no union_encoder.train='lora': there is nothing to merge")
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    load_into(model, OWN, open_state_dict(args.checkpoint))
    updates = [name for name in model.state_dict() if '.lora_' in name]
    merge_lora(model.union_encoder)
    for name, tensor in model.state_dict().items():
        if not is_finite(tensor):
            raise CheckpointError(f'{args.checkpoint}: {name} would be infinite once its update is merged')
    meta = dict(merged_from=args.checkpoint.name)
    save_state_dict(args.dst, model.state_dict(), meta, wrapper='state_dict')
    print(plain(f'{args.checkpoint} -> {args.dst}: {len(updates) // 2} low-rank updates merged'))


if __name__ == '__main__':
    with one_line_errors():
        main()
