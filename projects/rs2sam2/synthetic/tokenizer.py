"""A small SentencePiece model for the sentences of the scenes, in the scheme of BEiT-3's own."""

import io
import string
import tempfile
from collections.abc import Iterable
from pathlib import Path

import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]  # protobuf makes it at import


def train_tokenizer(words: Iterable[str]) -> bytes:
    """Trains a unigram model with BEiT-3's special pieces: `<unk>` 0, `<s>` 1, `</s>` 2.

    Args:
        words: the words to know as one piece each, all equally likely, so that equal words give equal bytes whatever
            the sentences. Other words are spelled: all ASCII letters, digits and marks are pieces too.

    Returns:
        The model as the content of a `sentencepiece.bpe.model` file.
    """
    words = sorted(set(words))
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        # Without seeds the trainer takes only strings that occur in two different words.
        seeds = Path(folder, 'seeds.tsv')
        seeds.write_text(''.join(f'\u2581{word}\t1\n' for word in words))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(words),
            model_writer=model,
            model_type='unigram',
            vocab_size=8000,
            hard_vocab_limit=False,
            seed_sentencepieces_file=str(seeds),
            required_chars=string.ascii_letters + string.digits + string.punctuation,
            character_coverage=1.0,
            num_threads=1,
            minloglevel=2,
        )
    proto = ModelProto.FromString(model.getvalue())
    proto.trainer_spec.ClearField('seed_sentencepieces_file')  # the temporary folder's name, never the same twice
    return proto.SerializeToString(deterministic=True)
