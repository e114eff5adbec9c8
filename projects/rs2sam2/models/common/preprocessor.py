"""From collated uint8 views and token ids to the model's input."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from rs2sam2.errors import ConfigError, TokenizerError
from rs2sam2.structures import ReferringBatch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class RefSegDataPreProcessor(BaseDataPreprocessor):
    """Move to the device, scale to [0, 1], normalise the views, pad the token ids, stack.

    Args:
        mean: RGB mean of the view that is segmented, of values in [0, 1].
        std: RGB standard deviation of it.
        union_mean: the same for the union encoder's view, where there is one.
        union_std: the same for the union encoder's view.
        pad_id: token id that fills shorter expressions.
        vocab_size: rows of the model's token table.
        max_text_length: longest text of the model, in tokens.
        non_blocking: overlap the copy to the device with computation.
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        union_mean: Sequence[float] = IMAGENET_MEAN,
        union_std: Sequence[float] = IMAGENET_STD,
        pad_id: int = 1,
        vocab_size: int = 64010,
        max_text_length: int = 1022,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        self.pad_id = pad_id
        self.vocab_size = vocab_size
        self.max_text_length = max_text_length
        for name, values in dict(mean=mean, std=std, union_mean=union_mean, union_std=union_std).items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: `inputs`, a `ReferringSample` of lists, and `data_samples`, as the data loader collates them.
            training: unused; mmengine passes it.

        Returns:
            `inputs`, a `ReferringBatch` on the device, and `data_samples`.

        Raises:
            ConfigError: the data set's pipeline gives no `inputs`.
            TokenizerError: an expression is longer than the text table, or a token id lies outside it.
        """
        if 'inputs' not in data:
            raise ConfigError('the pipeline of the data set gives no inputs: end it with PackRefSegInputs')
        inputs = data['inputs']
        token_ids, text_mask = self.pad(inputs.token_ids, data.get('data_samples'))
        one_view = inputs.union_image[0] is None
        image, union_image, token_ids, text_mask = self.cast_data(
            (torch.stack(inputs.image), None if one_view else torch.stack(inputs.union_image), token_ids, text_mask)
        )
        batch = ReferringBatch(
            image=(image.float() / 255 - self.mean) / self.std,
            union_image=None if one_view else (union_image.float() / 255 - self.union_mean) / self.union_std,
            token_ids=token_ids,
            text_mask=text_mask,
        )
        return dict(inputs=batch, data_samples=self.cast_data(data.get('data_samples')))

    def pad(self, expressions: Sequence[Tensor], data_samples: Sequence | None) -> tuple[Tensor, Tensor]:
        """Pad token ids to the longest of the batch: ids (B, L) int64 and the mask of real tokens (B, L) bool."""
        for i, ids in enumerate(expressions):
            name = 'an expression' if data_samples is None else f'the expression of sample {data_samples[i].sample_id}'
            if len(ids) > self.max_text_length:
                raise TokenizerError(
                    f'{name} has {len(ids)} tokens, the text table has room for {self.max_text_length}: shorten it, '
                    'or set max_length in TokenizeExpression'
                )
            if int(ids.max()) >= self.vocab_size:
                raise TokenizerError(
                    f"{name} has the token id {int(ids.max())}, the model's table has {self.vocab_size} rows: "
                    'the tokenizer belongs to another model'
                )
        token_ids = torch.nn.utils.rnn.pad_sequence(list(expressions), batch_first=True, padding_value=self.pad_id)
        lengths = torch.tensor([len(ids) for ids in expressions])
        return token_ids, torch.arange(token_ids.shape[1]) < lengths[:, None]
