"""Turns the expression into token ids."""

from collections.abc import Callable

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from rs2sam2.errors import ConfigError, TokenizerError
from rs2sam2.text.tokenizer import cut_tokens


class TokenizeExpression(BaseTransform):
    """Tokenize `expression`.

    Adds `token_ids` (L,) int64, with the tokenizer's first and last token around.

    Args:
        tokenizer: A tokenizer (text to ids), or its config, such as `dict(type='RefSegTokenizer', path=...)`.
        max_length: Longest sequence, first and last token included; what is longer loses its end. None cuts nothing.
        keep_last: Whether a sequence that is cut keeps its last token (`</s>`); LAVT and RMSIN cut it off ([SEP]).

    Raises:
        ConfigError: `max_length` leaves no room for a word.
        TokenizerError: The tokenizer file or the expression cannot be used.
    """

    def __init__(
        self, tokenizer: dict | Callable[[str], list[int]], max_length: int | None = None, keep_last: bool = True
    ) -> None:
        if max_length is not None and max_length < 3:
            raise ConfigError(f'TokenizeExpression: max_length={max_length} leaves no room for a word')
        self.tokenizer = TRANSFORMS.build(tokenizer) if isinstance(tokenizer, dict) else tokenizer
        self.max_length = max_length
        self.keep_last = keep_last

    def transform(self, results: dict) -> dict:
        """Tokenize; see the class."""
        try:
            ids = self.tokenizer(results['expression'])
        except TokenizerError as error:
            raise TokenizerError(f'sample {results.get("sample_id")}: {error}') from error
        results['token_ids'] = np.array(cut_tokens(ids, self.max_length, self.keep_last), dtype=np.int64)
        return results

    def cut_note(self, expression: str) -> str | None:
        """What the user should know where an expression loses its end; None where it does not."""
        length = len(self.tokenizer(expression))
        if self.max_length is None or length <= self.max_length:
            return None
        return f'the model reads {self.max_length} of its {length} tokens: the end of the expression does not count'

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(tokenizer={self.tokenizer!r}, max_length={self.max_length}, '
            f'keep_last={self.keep_last})'
        )
