"""What an exported model carries beside its graph, so that its file is all that is needed.

It stands as JSON in the file's metadata. Nothing of it is run, and no name of it is looked up anywhere: sizes, a
tokenizer of one of two kinds with its files, and what is known of the model.
"""

import base64
import binascii
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rs2sam2.errors import CheckpointError

KEY = 'rs2sam2'
FORMAT = 1
INPUTS = ('image', 'token_ids', 'text_mask', 'union_image')
OUTPUTS = ('mask_logits', 'pseudo_mask', 'predicted_iou', 'presence')
TOKENIZERS = ('RefSegTokenizer', 'HFTokenizer')
MOST = 1 << 20


def data_of(path: Path) -> Path:
    """Where the weights of a large exported model lie."""
    return path.with_name(f'{path.name}.data')


class InputSizes(NamedTuple):
    """What the graph takes; see `rs2sam2.models.protocol.InputSpec`.

    Attributes:
        image_size: side of the view that is segmented, in pixels.
        union_size: side of the union encoder's view, or None.
        vocab_size: rows of the token table.
        max_text_length: longest expression, in tokens.
    """

    image_size: int
    union_size: int | None
    vocab_size: int
    max_text_length: int


@dataclass(frozen=True)
class Exported:
    """The metadata of an exported model.

    Attributes:
        sizes: of the graph's inputs.
        pad_id: token id that fills shorter expressions of a batch.
        tokenizer: `type` (one of `TOKENIZERS`), `options`, and `files`, names to base64.
        max_length: expressions are cut to as many tokens; None: longer ones are refused.
        keep_last: whether a cut expression keeps its last token.
        precision: what the weights are stored in: 'fp32', 'fp16' or 'int8'.
        trained_on: see `RefSegInferencer`.
        scene: the config's `scene`.
        tta: the config's `tta`.
        check: what was measured against PyTorch before the file got its name.
        made: by which versions, and when.
    """

    sizes: InputSizes
    pad_id: int
    tokenizer: dict[str, Any]
    max_length: int | None
    keep_last: bool
    precision: str
    trained_on: str | None
    scene: dict[str, Any]
    tta: dict[str, Any]
    check: dict[str, Any] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """For the file."""
        return json.dumps({'format': FORMAT, **asdict(self), 'sizes': self.sizes._asdict()})

    @classmethod
    def read(cls, text: str | None, name: str) -> 'Exported':
        """From a file's metadata.

        Raises:
            CheckpointError: the file was not written by `rs2sam2 export`, or by a newer one, or is damaged.
        """
        if text is None:
            raise CheckpointError(f'{name} was not written by rs2sam2 export: it says nothing of tokenizer and views')
        try:
            known = json.loads(text)
            if known.pop('format') != FORMAT:
                raise CheckpointError(f'{name} has another format than this version reads: update rs2sam2')
            exported = cls(**{**known, 'sizes': InputSizes(**known['sizes'])})
            exported._check()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(f'the metadata of {name} is damaged ({error}): export it again') from error
        return exported

    def make_tokenizer(self, name: str) -> Callable[[str], list[int]]:
        """The tokenizer that travelled along.

        Args:
            name: of the model, for messages.

        Raises:
            CheckpointError: its files are damaged.
            TokenizerError: they hold no whole tokenizer.
        """
        with tempfile.TemporaryDirectory(prefix='rs2sam2-tokenizer-') as folder:
            for file, content in self.tokenizer['files'].items():
                if Path(file).name != file:
                    raise CheckpointError(f'{name}: the tokenizer file {file!r} is no plain name')
                try:
                    Path(folder, file).write_bytes(base64.b64decode(content, validate=True))
                except (binascii.Error, TypeError) as error:
                    raise CheckpointError(f'{name}: the tokenizer file {file} is damaged: export it again') from error
            if self.tokenizer['type'] == 'RefSegTokenizer':
                from rs2sam2.text.tokenizer import RefSegTokenizer

                return RefSegTokenizer(folder, **self.tokenizer['options'])
            from rs2sam2.text.hf_tokenizer import HFTokenizer

            return HFTokenizer(folder, **self.tokenizer['options'])

    def _check(self) -> None:
        numbers = [number for number in (*self.sizes, self.pad_id + 1, self.max_length) if number is not None]
        if not all(isinstance(number, int) and 0 < number <= MOST for number in numbers):
            raise ValueError('a size is no whole number, or out of range')
        if self.tokenizer['type'] not in TOKENIZERS:
            raise ValueError(f'no tokenizer {self.tokenizer["type"]!r}')
        if not isinstance(self.scene, dict) or not isinstance(self.tta, dict):
            raise ValueError('scene or tta is no object')
