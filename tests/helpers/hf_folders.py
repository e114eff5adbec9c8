"""Folders in Hugging Face form, written by transformers itself: tiny random CLIP and SigLIP, and their tokenizers."""

import copy
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoConfig, AutoModel, BertTokenizer, CLIPTokenizer, SiglipTokenizer

from helpers.tiny import tiny_towers
from rs2sam2.synthetic.tokenizer import train_tokenizer

WORDS = ['the', 'red', 'ship', 'on', 'left', 'harbor', 'in', 'middle']


def make_tokenizer(model_type: str, folder: Path, words=WORDS):
    """Write a tokenizer of CLIP's kind (byte-level BPE) or SigLIP's (SentencePiece) and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    if model_type == 'siglip':
        (folder / 'spiece.model').write_bytes(train_tokenizer(words))
        tokenizer = SiglipTokenizer(str(folder / 'spiece.model'), model_max_length=30)
    else:
        letters = sorted(ByteLevel.alphabet())
        # Merges that spell 'red' and 'ship' as one piece each; other words are letters.
        merges = [('r', 'e'), ('re', 'd</w>'), ('s', 'h'), ('i', 'p</w>'), ('sh', 'ip</w>')]
        pieces = [*letters, *(letter + '</w>' for letter in letters), *(a + b for a, b in merges)]
        vocab = {piece: i for i, piece in enumerate([*pieces, '<|startoftext|>', '<|endoftext|>'])}
        tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=30)
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_hf_folder(model_type: str, folder: Path, words=WORDS, seed: int = 0):
    """Write config, weights and tokenizer; returns transformers' own model in eval mode."""
    tokenizer = make_tokenizer(model_type, folder, words)
    ends = dict(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    config = AutoConfig.for_model(**copy.deepcopy(tiny_towers(model_type, len(tokenizer), **ends)))
    torch.manual_seed(seed)
    model = AutoModel.from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    model.save_pretrained(folder)
    return model


def make_wordpiece(folder: Path, words=WORDS) -> BertTokenizer:
    """Write bert-base-uncased's kind of tokenizer, its control tokens numbered as there; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    control = {0: '[PAD]', 100: '[UNK]', 101: '[CLS]', 102: '[SEP]', 103: '[MASK]'}
    pieces = [control.get(i, f'[unused{i}]') for i in range(104)]
    letters = [chr(ord('a') + i) for i in range(26)]
    pieces += [*letters, *('##' + letter for letter in letters), *words]
    (folder / 'vocab.txt').write_text('\n'.join(pieces))
    tokenizer = BertTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer
