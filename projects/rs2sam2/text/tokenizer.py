"""BEiT-3's tokenizer: XLM-RoBERTa's numbering over a SentencePiece model.

SentencePiece itself, not transformers' `XLMRobertaTokenizer`: that one knows `<s>`, `<pad>` ... as pieces of its
vocabulary, so the text "<s>" in an expression would become a control token, with `split_special_tokens` too.
"""

from collections.abc import Iterable
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from rs2sam2.errors import TokenizerError

# Under these names the model is published: by transformers, and by BEiT-3.
_FILE_NAMES = ('sentencepiece.bpe.model', 'beit3.spm')


class RefSegTokenizer:
    """Text to token ids, `<s>` first and `</s>` last.

    `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, piece i >= 3 of the SentencePiece model i + 1, `<mask>` last. Expressions
    are never rewritten; the SentencePiece model normalises by its own rules.

    Args:
        path: The SentencePiece file, or a folder that holds it as `sentencepiece.bpe.model` or `beit3.spm`.
        num_pieces: Pieces that the model must have; BEiT-3's has 64,000.

    Raises:
        TokenizerError: The file is missing, is not a SentencePiece model, or has other pieces.
    """

    bos_id = 0
    pad_id = 1
    eos_id = 2
    unk_id = 3

    def __init__(self, path: str | Path, num_pieces: int = 64000) -> None:
        self.path = str(path)
        self.num_pieces = num_pieces
        self._processor: SentencePieceProcessor | None = self._load()

    @property
    def mask_id(self) -> int:
        """Id of `<mask>`, which no text gives."""
        return self.num_pieces + 1

    @property
    def vocab_size(self) -> int:
        """Number of ids; an embedding table may have more rows."""
        return self.num_pieces + 2

    def __call__(self, text: str) -> list[int]:
        """Tokenize one expression.

        Args:
            text: The expression.

        Returns:
            Its token ids.

        Raises:
            TokenizerError: The expression is empty, or is not text that can be written as UTF-8.
        """
        if self._processor is None:
            self._processor = self._load()
        try:
            pieces = self._processor.encode(text.encode('utf-8'))
        except UnicodeEncodeError as error:
            raise TokenizerError(f'the expression {text!r} is not valid Unicode text') from error
        if not pieces:
            raise TokenizerError(f'the expression {text!r} is empty: write what is meant')
        return [self.bos_id, *(piece + 1 if piece >= 3 else self.unk_id for piece in pieces), self.eos_id]

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The pieces of token ids, `▁` being a blank: what the model reads of a text."""
        if self._processor is None:
            self._processor = self._load()
        named = {
            self.bos_id: '<s>',
            self.pad_id: '<pad>',
            self.eos_id: '</s>',
            self.unk_id: '<unk>',
            self.mask_id: '<mask>',
        }
        return [named.get(one) or self._processor.id_to_piece(one - 1) for one in ids]

    def _file(self) -> Path:
        path = Path(self.path)
        if not path.is_dir():
            return path
        for name in _FILE_NAMES:
            if (path / name).is_file():
                return path / name
        raise TokenizerError(
            f'the folder {path} holds no {" or ".join(_FILE_NAMES)}; give the SentencePiece file itself'
        )

    def _load(self) -> SentencePieceProcessor:
        file = self._file()
        if not file.is_file():
            raise TokenizerError(f"the tokenizer file {file} is missing; set the path to BEiT-3's SentencePiece model")
        processor = SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(file.read_bytes())
        except (OSError, RuntimeError) as error:
            raise TokenizerError(f'{file} is not a whole SentencePiece model; fetch it again') from error
        found = processor.get_piece_size()
        if found != self.num_pieces:
            raise TokenizerError(f'{file} has {found} pieces where num_pieces={self.num_pieces}: the wrong tokenizer')
        control = (processor.unk_id(), processor.bos_id(), processor.eos_id())
        if control != (0, 1, 2):
            raise TokenizerError(
                f'{file} numbers <unk>, <s>, </s> as {control}, not (0, 1, 2): a tokenizer of another kind'
            )
        return processor

    def __getstate__(self) -> dict:
        # A worker loads the file itself, when it first needs it.
        return {**self.__dict__, '_processor': None}

    def __repr__(self) -> str:
        return f'{type(self).__name__}(path={self.path!r}, num_pieces={self.num_pieces})'


def cut_tokens(ids: list[int], max_length: int | None, keep_last: bool = True) -> list[int]:
    """At most `max_length` ids, None for all; `keep_last` keeps the last one (`</s>`) where others are cut."""
    if max_length is None or len(ids) <= max_length:
        return ids
    return [*ids[: max_length - 1], ids[-1]] if keep_last else ids[:max_length]
