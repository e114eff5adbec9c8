"""CLIP's and SigLIP's weights in Hugging Face form (arXiv 2103.00020, 2303.15343): the two towers."""

from rs2sam2.weights.adapters.adapter import Adapter
from rs2sam2.weights.adapters.names import NameTable

TABLE = NameTable(
    (
        ('vision_model.{rest}', 'union_encoder.towers.vision.{rest}'),
        ('text_model.{rest}', 'union_encoder.towers.text.{rest}'),
    )
)
CONTRAST = 'comparison of whole images with whole texts in pre-training'
NUMBERING = 'numbering of positions in older files, no weight'
DROPPED = (
    ('logit_scale', CONTRAST),
    ('vision_model.embeddings.position_ids', NUMBERING),
    ('text_model.embeddings.position_ids', NUMBERING),
)
NEW = (('union_encoder.fusion.{rest}', 'fusion of the two towers, our own'),)

CLIP = Adapter(
    source='clip',
    title='CLIP',
    published='Hugging Face, openai/clip-vit-base-patch16 and its like',
    table=TABLE,
    components=('union_encoder.',),
    dropped=(*DROPPED, ('visual_projection.weight', CONTRAST), ('text_projection.weight', CONTRAST)),
    new=NEW,
)
SIGLIP = Adapter(
    source='siglip',
    title='SigLIP',
    published='Hugging Face, google/siglip-base-patch16-224 and its like',
    table=TABLE,
    components=('union_encoder.',),
    dropped=(*DROPPED, ('logit_bias', CONTRAST)),
    new=NEW,
)
