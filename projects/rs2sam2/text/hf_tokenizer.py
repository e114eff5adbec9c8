"""Any tokenizer of transformers from a local folder, such as CLIP's (byte-level BPE) or SigLIP's (SentencePiece)."""

import os
from collections.abc import Iterable
from pathlib import Path

from rs2sam2.errors import TokenizerError


class HFTokenizer:
    """Text to token ids, as the model's own tokenizer gives them, with its control tokens around.

    Nothing is padded or cut: the preprocessor pads, `TokenizeExpression(max_length=...)` cuts. transformers reads a
    control token that is written in a text as the token itself; such a text is refused.

    Args:
        path: local folder with the tokenizer's files (`tokenizer.json`, or `vocab.json` and `merges.txt`, or
            `spiece.model`, and `tokenizer_config.json`).
        vocab_size: rows of the model's token table; a tokenizer with more ids is refused.
        pad_id: id that the model takes for padding; a tokenizer with another one is refused.

    Raises:
        TokenizerError: the folder is missing, holds no whole tokenizer, or that of another model.
    """

    def __init__(self, path: str | Path, vocab_size: int | None = None, pad_id: int | None = None) -> None:
        self.path = str(path)
        self._tokenizer = self._load()
        if vocab_size is not None and len(self._tokenizer) > vocab_size:
            raise TokenizerError(
                f"{path} has {len(self._tokenizer)} ids where vocab_size={vocab_size}: another model's tokenizer"
            )
        if pad_id is not None and self.pad_id != pad_id:
            raise TokenizerError(f"{path} pads with {self.pad_id} where pad_id={pad_id}: another model's tokenizer")

    @property
    def vocab_size(self) -> int:
        """Number of ids; an embedding table may have more rows."""
        return len(self._loaded())

    @property
    def pad_id(self) -> int | None:
        """Id of padding."""
        return self._loaded().pad_token_id

    @property
    def unk_id(self) -> int | None:
        """Id of an unknown piece; None where every text has pieces, as in byte-level BPE."""
        tokenizer = self._loaded()
        taken = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
        return None if tokenizer.unk_token_id in taken else tokenizer.unk_token_id

    @property
    def max_length(self) -> int:
        """Longest sequence that the tokenizer's model takes; huge where its files do not say."""
        return self._loaded().model_max_length

    def __call__(self, text: str) -> list[int]:
        """Tokenize one expression.

        Args:
            text: the expression.

        Returns:
            Its token ids.

        Raises:
            TokenizerError: the expression is empty, no valid Unicode, or holds a control token.
        """
        tokenizer = self._loaded()
        try:
            text.encode('utf-8')
        except UnicodeEncodeError as error:
            raise TokenizerError(f'the expression {text!r} is not valid Unicode text') from error
        pieces = tokenizer(text, add_special_tokens=False, verbose=False)['input_ids']
        if not pieces or not text.strip():
            raise TokenizerError(f'the expression {text!r} is empty: write what is meant')
        if control := set(pieces) & (set(tokenizer.all_special_ids) - {self.unk_id}):
            token = tokenizer.convert_ids_to_tokens(min(control))
            raise TokenizerError(f'the expression {text!r} holds the control token {token}: leave it out')
        return tokenizer(text, verbose=False)['input_ids']

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The pieces of token ids: what the model reads of a text."""
        return self._loaded().convert_ids_to_tokens([int(one) for one in ids])

    def _loaded(self):
        if self._tokenizer is None:
            self._tokenizer = self._load()
        return self._tokenizer

    def _load(self):
        from transformers import AutoTokenizer
        from transformers.utils import logging

        if not os.path.isdir(self.path):
            raise TokenizerError(
                f'{self.path} is no local folder with a tokenizer: nothing is downloaded, fetch its files into a '
                'folder and set path to it'
            )
        verbosity = logging.get_verbosity()
        # It warns of SigLIP's own published config each time.
        logging.set_verbosity_error()
        try:
            return AutoTokenizer.from_pretrained(self.path, local_files_only=True, trust_remote_code=False)
        # What transformers raises for missing or damaged files is of many kinds, down to bare Exceptions of Rust.
        except Exception as error:
            reason = ' '.join(str(error).split())
            raise TokenizerError(f'{self.path} holds no whole tokenizer ({reason[:160]}): fetch it anew') from error
        finally:
            logging.set_verbosity(verbosity)

    def __getstate__(self) -> dict:
        # A worker loads the files itself, when it first needs them.
        return {**self.__dict__, '_tokenizer': None}

    def __repr__(self) -> str:
        return f'{type(self).__name__}(path={self.path!r})'
