"""BERT's published weights in Hugging Face form, such as bert-base-uncased (arXiv 1810.04805)."""

from rs2sam2.weights.adapters.adapter import Adapter
from rs2sam2.weights.adapters.names import NameTable

OURS = 'text_encoder.bert.'
LAYER = 'encoder.layer.{n}.'
PRE_TRAINING = 'head of the pre-training tasks'
ADAPTER = Adapter(
    source='bert',
    title='BERT',
    published='Hugging Face, google-bert/bert-base-uncased',
    table=NameTable(
        (
            ('embeddings.{rest}.{p}', f'{OURS}embeddings.{{rest}}.{{p}}'),
            (f'{LAYER}{{rest}}.{{p}}', f'{OURS}{LAYER}{{rest}}.{{p}}'),
            # The published files are older than transformers' names of a norm's weights.
            ('embeddings.LayerNorm.gamma', f'{OURS}embeddings.LayerNorm.weight'),
            ('embeddings.LayerNorm.beta', f'{OURS}embeddings.LayerNorm.bias'),
            (f'{LAYER}{{rest}}.LayerNorm.gamma', f'{OURS}{LAYER}{{rest}}.LayerNorm.weight'),
            (f'{LAYER}{{rest}}.LayerNorm.beta', f'{OURS}{LAYER}{{rest}}.LayerNorm.bias'),
        )
    ),
    components=('text_encoder.',),
    dropped=(
        ('pooler.dense.{p}', 'pooler of the first token, which nothing reads'),
        ('cls.{rest}', PRE_TRAINING),
        ('embeddings.position_ids', 'numbering of positions, no weight'),
    ),
    prefixes=('module.', 'bert.'),
)
