"""LAVT's released weights (arXiv 2112.02244), of both its models: `lavt_one`, and `lavt` with BERT's beside them."""

from dataclasses import replace

from rs2sam2.weights.adapters import swin
from rs2sam2.weights.adapters.adapter import Adapter
from rs2sam2.weights.adapters.names import NameTable

FUSION = 'backbone.layers.{n}.fusion.'
OURS = 'backbone.stages.{n}.'
PIXEL_WORD = (
    (f'{FUSION}vis_project.0.{{p}}', f'{OURS}fusion.visual.{{p}}'),
    (f'{FUSION}image_lang_att.f_query.0.{{p}}', f'{OURS}fusion.attention.query.{{p}}'),
    (f'{FUSION}image_lang_att.f_key.0.{{p}}', f'{OURS}fusion.attention.key.{{p}}'),
    (f'{FUSION}image_lang_att.f_value.0.{{p}}', f'{OURS}fusion.attention.value.{{p}}'),
    (f'{FUSION}image_lang_att.W.0.{{p}}', f'{OURS}fusion.attention.out.{{p}}'),
    (f'{FUSION}project_mm.0.{{p}}', f'{OURS}fusion.mix.{{p}}'),
    ('backbone.layers.{n}.res_gate.{m}.weight', f'{OURS}language_gate.{{m}}.weight'),
    ('backbone.norm{n}.{p}', 'backbone.norms.{n}.{p}'),
)
# The decoder's levels are numbered from the deepest stage, 4, down.
DECODER = (
    *(
        row
        for i, level in enumerate((4, 3, 2))
        for row in (
            (f'classifier.conv1_{level}.weight', f'decode_head.levels.{i}.0.weight'),
            (f'classifier.bn1_{level}.{{rest}}', f'decode_head.levels.{i}.1.{{rest}}'),
            (f'classifier.conv2_{level}.weight', f'decode_head.levels.{i}.3.weight'),
            (f'classifier.bn2_{level}.{{rest}}', f'decode_head.levels.{i}.4.{{rest}}'),
        )
    ),
    ('classifier.conv1_1.{p}', 'decode_head.score.{p}'),
)


def _bert(prefix: str) -> tuple[tuple[str, str], ...]:
    parts = ('embeddings.{rest}', 'encoder.{rest}')
    return tuple((prefix + part, f'text_encoder.bert.{part}') for part in parts)


INSIDE = _bert('text_encoder.')
# `weights/files.py` puts the entry's name before the names in it; a state dict that was taken from a wrapper of
# several GPUs has one more word there.
BESIDE = _bert('bert_model.')
WRAPPED = _bert('bert_model.module.')
PREFIXES = ('text_encoder.', 'bert_model.', 'bert_model.module.')
POOLER = 'pooler of the first token, which nothing reads'
DROPPED = tuple(
    (prefix + name, reason)
    for prefix in PREFIXES
    for name, reason in (('pooler.dense.{p}', POOLER), ('embeddings.position_ids', swin.NUMBERING))
)
ROWS = (*swin.rows('backbone.', 'backbone.'), *PIXEL_WORD, *DECODER)

LAVT_ONE = Adapter(
    source='lavt-one',
    title='LAVT',
    published='github.com/yz93/LAVT-RIS, README (RefCOCO, RefCOCO+, G-Ref; --model lavt_one)',
    table=NameTable((*ROWS, *INSIDE)),
    components=('text_encoder.', 'backbone.', 'decode_head.'),
    whole=True,
    dropped=DROPPED,
    computed=swin.COMPUTED,
    prefixes=('module.',),
    wrapper='model',
)
LAVT = replace(
    LAVT_ONE,
    source='lavt',
    published='github.com/yz93/LAVT-RIS, README (RefCOCO, RefCOCO+, G-Ref; --model lavt)',
    table=NameTable((*ROWS, *BESIDE, *WRAPPED)),
)
