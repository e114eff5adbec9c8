"""A work dir as training leaves it, with a tiny random model, and pictures to run it on."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image
from sentencepiece import SentencePieceProcessor

from helpers.paths import ROOT
from helpers.tiny import SIZE, UNION_SIZE, shrink
from rs2sam2.synthetic.tokenizer import train_tokenizer
from rs2sam2.text.tokenizer import RefSegTokenizer

# A model this small is faster on one thread, and tests share the machine.
torch.set_num_threads(1)

WORDS = ['the', 'red', 'ship', 'on', 'left', 'harbor', 'in', 'middle']


def make_work_dir(folder: Path, **head_options) -> Path:
    """Config, `best_*.pth` and tokenizer of a tiny model with random weights.

    Args:
        folder: to be made.
        head_options: what the decode head's config has more.
    """
    (folder / 'tokenizer').mkdir(parents=True)
    proto = train_tokenizer(WORDS)
    (folder / 'tokenizer/sentencepiece.bpe.model').write_bytes(proto)
    pieces = SentencePieceProcessor(model_proto=proto).get_piece_size()
    cfg = Config.fromfile(ROOT / 'configs/rs2sam2_tiny_demo.py')
    cfg.model = shrink(cfg.model)
    vocab = pieces + 2
    cfg.model.union_encoder.vocab_size = cfg.model.data_preprocessor.vocab_size = vocab
    cfg.model.decode_head.update(head_options)
    for step in cfg.test_dataloader.dataset.pipeline:
        if step.type == 'ResizeTwoViews':
            step.update(size=SIZE, union_size=UNION_SIZE)
        if step.type == 'TokenizeExpression':
            step.tokenizer.update(path='data/nowhere/tokenizer', num_pieces=pieces)
    cfg.dump(folder / 'tiny.py')
    assert RefSegTokenizer.eos_id < vocab
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    # Random logits have one sign all over the image; centred ones make masks that are neither empty nor full.
    with torch.no_grad():
        for mlp in model.decode_head.mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].bias.mul_(8)
            mlp.layers[-1].weight.mul_(8)
    torch.save({'state_dict': model.state_dict()}, folder / 'best_rrsis_mIoU_epoch_1.pth')
    return folder


def make_image(path: Path, size=(40, 30), seed: int = 0) -> Path:
    """A noisy picture of (width, height)."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    small.resize(size).save(path)
    return path
