"""BERT as a text encoder (arXiv 1810.04805): transformers' own model, without its pooler."""

from inspect import signature

import torch
from mmengine.model import BaseModule, initialize
from torch import Tensor

from rs2sam2.errors import ConfigError
from rs2sam2.models.common.hf_config import one_line, read_hf_config

# Whatever precision a config was saved with; and the attention that takes a mask of booleans.
FORM = dict(dtype='float32', attn_implementation='sdpa')


class BertTextEncoder(BaseModule):
    """Encode an expression; the last hidden state of every token.

    Args:
        bert: values of transformers' `BertConfig` that differ from bert-base-uncased's; or a local folder in Hugging
            Face form, whose config is taken, and its weights too where `init_cfg` is None.
        learning_layers: how many layers learn, counted from the first; the embeddings and the layers after them stay
            as they are, though gradients pass. None: everything learns. LAVT's and RMSIN's releases train 10 of 12.
        init_cfg: mmengine's initialisation config.

    Attributes:
        dim: width D of the result.
        vocab_size: rows of the token table.
        max_text_length: longest text, in tokens.

    Raises:
        ConfigError: `bert` cannot be used, or has fewer layers than are to learn.
    """

    def __init__(
        self,
        bert: str | dict | None = None,
        learning_layers: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if isinstance(bert, str) and init_cfg is None:
            init_cfg = dict(type='OfficialWeights', source='bert', checkpoint=bert)
        super().__init__(init_cfg)
        self.bert = _build_bert(bert)
        config = self.bert.config
        self.dim = config.hidden_size
        self.vocab_size = config.vocab_size
        self.max_text_length = config.max_position_embeddings
        if learning_layers is not None:
            if not 0 <= learning_layers <= config.num_hidden_layers:
                raise ConfigError(f'learning_layers={learning_layers}: the text encoder has {config.num_hidden_layers}')
            self.bert.embeddings.requires_grad_(False)
            self.bert.encoder.layer[learning_layers:].requires_grad_(False)

    def init_weights(self) -> None:
        """Apply `init_cfg`. Not to children: transformers' `init_weights` would draw anew what was loaded."""
        if self.init_cfg:
            initialize(self, self.init_cfg)

    def forward(self, token_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Encode expressions.

        Args:
            token_ids: padded token ids, (B, L) int64.
            text_mask: True where a token counts, (B, L) bool.

        Returns:
            (B, L, D). Padded positions are computed and mean nothing.

        Raises:
            ValueError: the text is longer than the table of positions.
        """
        if token_ids.shape[1] > self.max_text_length:
            raise ValueError(f'{token_ids.shape[1]} tokens, the text table has room for {self.max_text_length}')
        # Of two dimensions, transformers would first look whether the mask hides anything, which stops a GPU.
        return self.bert(input_ids=token_ids, attention_mask=text_mask[:, None, None]).last_hidden_state


def _build_bert(bert: str | dict | None) -> torch.nn.Module:
    """transformers' `BertModel` with random weights in fp32."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import BertConfig, BertModel

    values = read_hf_config(bert) if isinstance(bert, str) else dict(bert or {})
    if (kind := values.get('model_type', 'bert')) != 'bert':
        raise ConfigError(f'{bert}: model_type is {kind!r}, not bert')
    # transformers takes any key; a misspelt one would leave its default in place.
    unknown = set(values) - set(signature(BertConfig).parameters) if not isinstance(bert, str) else ()
    if unknown:
        raise ConfigError(f'text_encoder.bert has {", ".join(sorted(unknown))}, which transformers does not know')
    try:
        return BertModel(BertConfig(**{**values, **FORM}), add_pooling_layer=False)
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise ConfigError(f'text_encoder.bert is no usable config: {one_line(error)}') from error
