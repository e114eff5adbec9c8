"""RMSIN's weights as its release writes them (arXiv 2312.12470), and RemoteSAM's of the same network (2505.18022)."""

from rs2sam2.weights.adapters import lavt, swin
from rs2sam2.weights.adapters.adapter import Adapter
from rs2sam2.weights.adapters.names import NameTable

STAGE, OUR_STAGE = 'backbone.layers.{n}.', 'backbone.stages.{n}.'
# Of each unit of a stage's branch; the names of the second unit end in `_2`.
UNIT = (
    ('brb_1x1', '.conv.weight', 'near.0.weight'),
    ('brb_1x1', '.bn.{rest}', 'near.1.{rest}'),
    ('brb_3x3', '.conv1.weight', 'wide.0.weight'),
    ('brb_3x3', '.bn1.{rest}', 'wide.1.{rest}'),
    ('brb_3x3', '.conv2.weight', 'wide.2.weight'),
    ('brb_3x3', '.bn2.{rest}', 'wide.3.{rest}'),
    ('brb_identity', '.{rest}', 'same.{rest}'),
)
BRANCH = (
    *(
        (f'{STAGE}visual_residual.repblock.{unit}{end}{there}', f'{OUR_STAGE}visual_branch.weigh.{i}.{here}')
        for i, end in ((0, ''), (2, '_2'))
        for unit, there, here in UNIT
    ),
    (f'{STAGE}visual_gate.{{m}}.weight', f'{OUR_STAGE}visual_gate.{{m}}.weight'),
)


def _feed_forward(there: str, here: str) -> tuple[tuple[str, str], ...]:
    parts = ('bn1', 'conv1', 'bn2', 'conv2', None, 'conv3')
    return tuple((f'{there}.{part}.{{rest}}', f'{here}.{i}.{{rest}}') for i, part in enumerate(parts) if part)


def _across_scales(there: str, here: str) -> tuple[tuple[str, str], ...]:
    parts = (
        ('bn1', 'norm'),
        ('DWConv1', 'coarse'),
        ('DWConv2', 'coarser'),
        ('attention.qkv.c', 'attention.qkv'),
        ('attention.qkv.bn', 'attention.norm'),
        ('attention.proj', 'attention.gather'),
        ('attention.parallel_conv.1', 'attention.local.1'),
        ('attention.to_out', 'attention.out'),
        ('bn4', 'out.0'),
        ('conv', 'out.2'),
    )
    return tuple((f'{there}.{a}.{{rest}}', f'{here}.{b}.{{rest}}') for a, b in parts)


CIM, BLOCK, OUR_BLOCK = 'backbone.cim.', 'backbone.cim.block.{n}.', 'neck.blocks.{n}.'
NECK = (
    (f'{CIM}down_channel.{{p}}', 'neck.down.{p}'),
    (f'{CIM}bn.{{rest}}', 'neck.up.0.{rest}'),
    (f'{CIM}up_channel.{{p}}', 'neck.up.1.{p}'),
    *_across_scales(f'{BLOCK}csa1.m', f'{OUR_BLOCK}0.module'),
    *(
        row
        for i in range(4)
        for row in _feed_forward(f'{BLOCK}intra_ff.m.ff{i + 1}.m', f'{OUR_BLOCK}1.module.scales.{i}.module')
    ),
    *_across_scales(f'{BLOCK}csa2.m', f'{OUR_BLOCK}2.module'),
    *_feed_forward(f'{BLOCK}ff.m', f'{OUR_BLOCK}3.module'),
    (f'{CIM}fusion.{{n}}.local_embedding.{{p}}', 'neck.inject.{n}.local.0.{p}'),
    (f'{CIM}fusion.{{n}}.bn1.{{rest}}', 'neck.inject.{n}.local.1.{rest}'),
    (f'{CIM}fusion.{{n}}.global_act.{{p}}', 'neck.inject.{n}.gate.0.{p}'),
    (f'{CIM}fusion.{{n}}.bn3.{{rest}}', 'neck.inject.{n}.gate.1.{rest}'),
    (f'{CIM}fusion.{{n}}.global_embedding.{{p}}', 'neck.inject.{n}.add.0.{p}'),
    (f'{CIM}fusion.{{n}}.bn2.{{rest}}', 'neck.inject.{n}.add.1.{rest}'),
)
ROUTING = tuple(
    (f'classifier.conv2_{level}.rounting_func.{there}', f'decode_head.levels.{i}.3.routing.{here}')
    for i, level in enumerate((4, 3, 2))
    for there, here in (
        ('dwc.weight', 'conv.weight'),
        ('norm.norm.{p}', 'norm.{p}'),
        ('fc_alpha.{p}', 'alpha.{p}'),
        ('fc_theta.weight', 'theta.weight'),
    )
)
ADAPTER = Adapter(
    source='rmsin',
    title='RMSIN',
    published='RemoteSAM at 896 px on Hugging Face, 1e12Leon/RemoteSAM (RemoteSAMv1.pth); none by its authors',
    table=NameTable((*lavt.ROWS, *BRANCH, *NECK, *ROUTING, *lavt.INSIDE, *lavt.BESIDE, *lavt.WRAPPED)),
    components=('text_encoder.', 'backbone.', 'neck.', 'decode_head.'),
    whole=True,
    dropped=lavt.DROPPED,
    computed=swin.COMPUTED,
    prefixes=('module.',),
    wrapper='model',
)
