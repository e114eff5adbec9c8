"""CLIP and SigLIP as union encoders: folders load strictly, towers are transformers' own, padding changes nothing."""

import json
import pickle
import runpy
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS, TRANSFORMS
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from helpers.hf_folders import make_hf_folder, make_tokenizer
from helpers.paths import ROOT
from helpers.tiny import SIZE, UNION_SIZE, shrink, tiny_towers
from helpers.work_dirs import make_image
from rs2sam2 import RS2SAM2Inferencer
from rs2sam2.datasets.check import check_datasets
from rs2sam2.datasets.jsonl import JSONLRefSegDataset
from rs2sam2.errors import CheckpointError, ConfigError, TokenizerError
from rs2sam2.models.common.lora import merge_lora
from rs2sam2.models.rs2sam2.dual_encoder import DualUnionEncoder
from rs2sam2.models.rs2sam2.fold import fold_for_inference
from rs2sam2.text.hf_tokenizer import HFTokenizer
from rs2sam2.weights.adapters import ADAPTERS, to_ours
from rs2sam2.weights.targets import config_specs, module_specs

KINDS = ['clip', 'siglip']
TEXTS = ['red ship', 'the red ship on left', 'ship']
BOX = [5, 5, 20, 20]
TINY = dict(dim=32, num_heads=4)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """By kind: a folder in Hugging Face form and transformers' own model of it."""
    root = tmp_path_factory.mktemp('hf')
    return {kind: (root / kind, make_hf_folder(kind, root / kind)) for kind in KINDS}


def encoder_of(towers, seed: int = 0, **options) -> DualUnionEncoder:
    torch.manual_seed(seed)
    return MODELS.build({**TINY, 'type': 'DualUnionEncoder', 'towers': towers, **options})


def loaded_encoder(folder, **options) -> DualUnionEncoder:
    encoder = encoder_of(str(folder), **options)
    encoder.init_weights()
    return encoder.eval()


def batch_of(folder, texts=TEXTS, pad_id: int = 0, longer: int = 0):
    """Views, ids padded to the longest text and `longer`, and the mask."""
    tokenizer = HFTokenizer(folder)
    ids = [torch.tensor(tokenizer(text)) for text in texts]
    mask = [torch.ones(len(one), dtype=torch.bool) for one in ids]
    length = max(map(len, ids)) + longer
    image = torch.randn(len(texts), 3, UNION_SIZE, UNION_SIZE, generator=torch.Generator().manual_seed(3))
    ids, mask = (
        torch.stack([torch.nn.functional.pad(one, (0, length - len(one)), value=value) for one in many])
        for many, value in ((ids, pad_id), (mask, False))
    )
    return image, ids, mask


def captured(encoder, *batch):
    """What the fusion is given: the towers' outputs."""
    seen = {}
    handle = encoder.fusion.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True)
    with torch.no_grad():
        encoder(*batch)
    handle.remove()
    return seen


@pytest.mark.parametrize('kind', KINDS)
def test_towers_are_transformers_own(kind, folders):
    folder, oracle = folders[kind]
    image, ids, mask = batch_of(folder)
    ours = captured(loaded_encoder(folder), image, ids, mask)
    tokenizer = HFTokenizer(folder)._tokenizer
    # As each model's documentation calls it: SigLIP padded to the full length, CLIP to the longest.
    inputs = tokenizer(TEXTS, padding='max_length' if kind == 'siglip' else True, return_tensors='pt')
    with torch.no_grad():
        text = oracle.text_model(input_ids=inputs['input_ids'])
        vision = oracle.vision_model(pixel_values=image)
    assert torch.equal(ours['tokens'][mask], text.last_hidden_state[:, : ids.shape[1]][mask])
    assert torch.equal(ours['pooled_text'], text.pooler_output)
    assert torch.equal(ours['patches'], vision.last_hidden_state[:, kind == 'clip' :])
    assert torch.equal(ours['pooled_image'], vision.pooler_output)


@pytest.mark.parametrize('kind', KINDS)
def test_padding_and_the_rest_of_the_batch_change_nothing(kind, folders):
    encoder = loaded_encoder(folders[kind][0])
    with torch.no_grad():
        image, ids, mask = batch_of(folders[kind][0])
        together = encoder(image, ids, mask)
        _, other_ids, longer = batch_of(folders[kind][0], pad_id=5, longer=4)
        padded = encoder(image, other_ids, longer)
        for i in range(len(TEXTS)):
            length = int(mask[i].sum())
            alone = encoder(image[i : i + 1], ids[i : i + 1, :length], mask[i : i + 1, :length])
            for other in (together, padded):
                torch.testing.assert_close(other.cls[i], alone.cls[0], rtol=1e-5, atol=1e-5)
                torch.testing.assert_close(other.patches[i], alone.patches[0], rtol=1e-5, atol=1e-5)
                torch.testing.assert_close(other.text[i, :length], alone.text[0], rtol=1e-5, atol=1e-5)
        # In training the blocks take another path than in inference.
        torch.testing.assert_close(encoder.train()(image, ids, mask).cls, together.cls, rtol=1e-5, atol=1e-5)
        backwards = encoder.eval()(image.flip(0), ids.flip(0), mask.flip(0))
        torch.testing.assert_close(backwards.cls.flip(0), together.cls, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_cls_and_patches_know_the_text_and_text_the_image(kind, folders):
    encoder = loaded_encoder(folders[kind][0])
    image, ids, mask = batch_of(folders[kind][0])
    other = ids.clone()
    other[:, 1] = ids[:, 1].roll(1)
    with torch.no_grad():
        one, two, three = encoder(image, ids, mask), encoder(image, other, mask), encoder(-image, ids, mask)
    assert (one.cls - two.cls).abs().amax() > 1e-3
    assert (one.patches - two.patches).abs().amax() > 1e-3
    assert (one.text - three.text)[mask].abs().amax() > 1e-3
    count = (UNION_SIZE // 8) ** 2
    assert [tuple(field.shape) for field in one] == [(3, 1, 32), (3, count, 32), (3, ids.shape[1], 32)]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('precision', [torch.float16, torch.bfloat16])
def test_half_precision_folders_load_into_fp32(kind, precision, folders, tmp_path):
    folder, oracle = folders[kind]
    half = {name: t.to(precision) for name, t in load_file(folder / 'model.safetensors').items()}
    save_file(half, tmp_path / 'model.safetensors')
    values = json.loads((folder / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps({**values, 'dtype': str(precision).removeprefix('torch.')}))
    encoder = loaded_encoder(tmp_path)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    weight = 'encoder.layers.1.mlp.fc1.weight'
    expected = oracle.text_model.get_parameter(weight).to(precision).float()
    assert torch.equal(encoder.towers['text'].get_parameter(weight), expected)


@pytest.mark.parametrize(
    ('kind', 'published', 'dropped'),
    # transformers' defaults are the published base models; CLIP's has patches of 32.
    [('clip', dict(vision_config=dict(patch_size=16)), 3), ('siglip', dict(), 2)],
)
def test_shipped_configs_have_the_published_sizes(kind, published, dropped):
    with torch.device('meta'):
        oracle = AutoModel.from_config(AutoConfig.for_model(kind, **published))
    file = SimpleNamespace(path=kind, specs=module_specs(oracle))
    specs = config_specs(ADAPTERS[kind], Config.fromfile(ROOT / f'configs/rs2sam2_{kind}_rrsisd.py').model)
    plan = to_ours(ADAPTERS[kind], file, specs)
    assert len(plan.mapped) == len(oracle.state_dict()) - dropped == len(specs) - len(plan.new)
    assert all(name.startswith('union_encoder.fusion.') for name in plan.new)


def test_keys_of_older_config_files(folders, tmp_path):
    folder, _ = folders['clip']
    values = json.loads((folder / 'config.json').read_text())
    older = dict(torch_dtype='float32', bad_words_ids=None, num_beams=1, torchscript=False, _commit_hash=None)
    for section in ('text_config', 'vision_config'):
        values[section] = {**values[section], **older, '_name_or_path': ''}
        values[f'{section}_dict'] = None
    (tmp_path / 'config.json').write_text(json.dumps({**values, **older, 'logit_scale_init_value': 2.6592}))
    (tmp_path / 'model.safetensors').write_bytes((folder / 'model.safetensors').read_bytes())
    batch = batch_of(folder)
    with torch.no_grad():
        assert torch.equal(loaded_encoder(tmp_path)(*batch).cls, loaded_encoder(folder)(*batch).cls)


@pytest.mark.parametrize('kind', KINDS)
def test_checkpointing_and_lora(kind, folders):
    pytest.importorskip('peft')
    folder, _ = folders[kind]
    batch = batch_of(folder)
    plain = loaded_encoder(folder)
    with torch.no_grad():
        expected = plain(*batch)

    def gradients(encoder):
        # Squares, because the last LayerNorm fixes the mean of its output.
        torch.cat([field.flatten(1) for field in encoder.train()(*batch)], dim=1).pow(3).sum().backward()
        return {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}

    full, saving = gradients(plain), gradients(loaded_encoder(folder, checkpointing=True))
    assert full.keys() == saving.keys() == dict(plain.named_parameters()).keys()
    for name, gradient in full.items():
        torch.testing.assert_close(saving[name], gradient)
    for train in ('lora', 'frozen'):
        encoder = loaded_encoder(folder, train=train, **(dict(lora=dict(r=2)) if train == 'lora' else {}))
        with torch.no_grad():
            torch.testing.assert_close(encoder(*batch).cls, expected.cls)
        learning = {name for name, p in encoder.named_parameters() if p.requires_grad}
        assert learning == gradients(encoder).keys()
        towers = {name for name in learning if name.startswith('towers.')}
        assert all('.lora_' in name for name in towers)
        assert bool(towers) == (train == 'lora')
        assert {name for name, _ in encoder.named_parameters() if name.startswith('fusion.')} <= learning
        merge_lora(encoder)
        assert encoder.state_dict().keys() == plain.state_dict().keys()


def spoiled(folder, tmp_path, change) -> str:
    """A copy of a folder whose tensors were changed."""
    tensors = load_file(folder / 'model.safetensors')
    change(tensors)
    save_file(tensors, tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_bytes((folder / 'config.json').read_bytes())
    return str(tmp_path)


KEY = 'text_model.encoder.layers.0.mlp.fc1.bias'


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (lambda t: t.pop(KEY), f'missing: 1 \\({KEY}\\)'),
        (lambda t: t.update({KEY: torch.ones(3)}), f'another shape or kind: 1 \\({KEY} is 3, expected 64\\)'),
        (lambda t: t.update({'text_model.extra': torch.ones(3)}), r'unknown: 1 \(text_model\.extra\)'),
        (lambda t: t.update({KEY: t[KEY] * float('nan')}), f'{KEY} holds NaN'),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_in_one_line(kind, change, says, folders, tmp_path):
    encoder = encoder_of(spoiled(folders[kind][0], tmp_path, change))
    before = {name: t.clone() for name, t in encoder.state_dict().items()}
    with pytest.raises(CheckpointError, match=says) as error:
        encoder.init_weights()
    assert '\n' not in str(error.value)
    if 'NaN' not in says:
        assert all(torch.equal(t, before[name]) for name, t in encoder.state_dict().items())


def test_the_other_kinds_weights_are_refused(folders, tmp_path):
    clip, siglip = folders['clip'][0], folders['siglip'][0]
    (tmp_path / 'config.json').write_bytes((clip / 'config.json').read_bytes())
    (tmp_path / 'model.safetensors').write_bytes((siglip / 'model.safetensors').read_bytes())
    with pytest.raises(CheckpointError, match='does not fit this model as CLIP weights'):
        encoder_of(str(tmp_path)).init_weights()


@pytest.mark.parametrize(
    ('towers', 'says'),
    [
        ('google/siglip-base-patch16-224', 'no local folder with a config.json: nothing is downloaded'),
        (dict(model_type='siglip2'), "model_type is 'siglip2', not one of clip, siglip"),
        (dict(), 'model_type is None'),
        (dict(model_type='clip', vision_config=dict(imagesize=224)), 'vision_config has imagesize'),
        (dict(model_type='clip', vision_config=dict(image_size='big')), 'no usable config of clip'),
        (dict(model_type='clip', vision_config=dict(image_size=[224, 224])), 'must be numbers'),
        (dict(model_type='siglip', text_config=dict(hidden_size=30, num_attention_heads=4)), 'no usable config'),
        (dict(model_type='siglip', vision_config=dict(vision_use_head=False)), 'turns off vision_use_head'),
    ],
)
def test_unusable_towers_are_refused_in_one_line(towers, says):
    with pytest.raises(ConfigError, match=says) as error:
        encoder_of(towers)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('content', ['{"model_type": ', '[1]'])
def test_a_damaged_config_json(content, tmp_path):
    (tmp_path / 'config.json').write_text(content)
    with pytest.raises(ConfigError, match=r'config\.json is no'):
        encoder_of(str(tmp_path))


def test_options_are_checked():
    for options, says in (
        (dict(fusion_depth=0), 'fusion_depth=0'),
        (dict(train='some'), "got 'some'"),
        (dict(num_heads=5), 'dim=32 is no multiple of num_heads=5'),
        (dict(pad_id=50), "pad_id=50 is none of the towers' 50 ids"),
    ):
        with pytest.raises(ConfigError, match=says):
            encoder_of(tiny_towers('clip'), **options)
    encoder = encoder_of(tiny_towers('siglip'))
    with pytest.raises(ValueError, match='takes 32 px'):
        encoder(torch.zeros(1, 3, 40, 40), torch.ones(1, 3).long(), torch.ones(1, 3).bool())
    with pytest.raises(ValueError, match='room for 30'):
        encoder(torch.zeros(1, 3, 32, 32), torch.ones(1, 31).long(), torch.ones(1, 31).bool())


@pytest.mark.parametrize('kind', KINDS)
def test_tokenizer_gives_the_models_own_ids(kind, tmp_path):
    oracle = make_tokenizer(kind, tmp_path)
    tokenizer = TRANSFORMS.build(dict(type='HFTokenizer', path=str(tmp_path), pad_id=oracle.pad_token_id))
    for text in ('the red ship', 'Red SHIP, 2nd', 'ünïcode 世界'):
        assert tokenizer(text) == oracle(text)['input_ids']
    assert (tokenizer.pad_id, tokenizer.max_length) == (oracle.pad_token_id, 30)
    assert tokenizer.vocab_size == len(oracle)
    assert tokenizer.unk_id == (None if kind == 'clip' else oracle.unk_token_id)
    pieces = tokenizer.pieces(tokenizer('red ship'))
    assert ({'red</w>', 'ship</w>'} if kind == 'clip' else {'▁red', '▁ship'}) < set(pieces)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again('red ship') == tokenizer('red ship')
    steps = TRANSFORMS.build(dict(type='TokenizeExpression', tokenizer=tokenizer, max_length=5))
    cut = steps(dict(sample_id='a', expression='the red ship on the left'))['token_ids'].tolist()
    full = tokenizer('the red ship on the left')
    assert cut == [*full[:4], full[-1]]
    control = oracle.eos_token
    for text, says in ((' ', 'is empty'), (f'a {control} b', 'holds the control token'), ('\ud800', 'Unicode')):
        with pytest.raises(TokenizerError, match=says) as error:
            tokenizer(text)
        assert '\n' not in str(error.value)


def test_a_tokenizer_that_cannot_be_used(tmp_path):
    for path, options, says in (
        ('google/siglip-base-patch16-224', {}, 'no local folder with a tokenizer: nothing is downloaded'),
        (tmp_path, {}, 'holds no whole tokenizer'),
    ):
        with pytest.raises(TokenizerError, match=says) as error:
            HFTokenizer(path, **options)
        assert '\n' not in str(error.value)
    folder = tmp_path / 'siglip'
    make_tokenizer('siglip', folder)
    with pytest.raises(TokenizerError, match="vocab_size=20: another model's tokenizer"):
        HFTokenizer(folder, vocab_size=20)
    with pytest.raises(TokenizerError, match="pad_id=0: another model's tokenizer"):
        HFTokenizer(folder, pad_id=0)
    (folder / 'spiece.model').write_bytes(b'not one')
    with pytest.raises(TokenizerError, match='holds no whole tokenizer'):
        HFTokenizer(folder)


@pytest.mark.parametrize(('kind', 'unknown'), [('clip', []), ('siglip', ["'世界' in 1 sentences"])])
def test_check_dataset_knows_the_words(kind, unknown, tmp_path):
    make_image(tmp_path / 'images/a.png')
    rows = [dict(image='images/a.png', expression=text, boxes=[BOX]) for text in ('red ship', 'the 世界')]
    (tmp_path / 'test.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    dataset = JSONLRefSegDataset(data_root=str(tmp_path), split='test', lazy_init=True, pipeline=[])
    make_tokenizer(kind, tmp_path / 'tokenizer')
    report = check_datasets(dict(test=dataset), HFTokenizer(tmp_path / 'tokenizer'))
    assert report.fit
    assert report.findings.get('unknown word', []) == unknown


@pytest.fixture(scope='module')
def work_dir(folders, tmp_path_factory):
    """A work dir of the SigLIP config at tiny size, with weights and the tokenizer's folder beside it."""
    folder = tmp_path_factory.mktemp('work')
    (folder / 'siglip').symlink_to(folders['siglip'][0])
    cfg = Config.fromfile(ROOT / 'configs/rs2sam2_siglip_rrsisd.py')
    cfg.model = shrink(cfg.model)
    tokenizer = HFTokenizer(folder / 'siglip')
    ends = dict(pad_token_id=tokenizer.pad_id, eos_token_id=2)
    cfg.model.union_encoder.towers = tiny_towers('siglip', tokenizer.vocab_size, **ends)
    cfg.model.data_preprocessor.vocab_size = tokenizer.vocab_size
    for step in cfg.test_dataloader.dataset.pipeline:
        if step.type == 'ResizeTwoViews':
            step.update(size=SIZE, union_size=UNION_SIZE)
        if step.type == 'TokenizeExpression':
            step.update(max_length=None)
            step.tokenizer.update(path='pretrained/siglip', vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id)
    cfg.dump(folder / 'tiny.py')
    torch.manual_seed(0)
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, folder / 'best_rrsis_mIoU_epoch_1.pth')
    return folder


def test_inferencer(work_dir, tmp_path):
    image = make_image(tmp_path / 'a.png')
    inferencer = RS2SAM2Inferencer(work_dir, device='cpu')
    results = inferencer(image, ['red ship', 'the ship on the left'], batch_size=2)
    assert [result.mask.shape for result in results] == [(30, 40)] * 2
    fold_for_inference(inferencer.model)
    again = inferencer(image, ['red ship', 'the ship on the left'], batch_size=1)
    for one, other in zip(results, again, strict=True):
        torch.testing.assert_close(torch.from_numpy(one.logits), torch.from_numpy(other.logits), rtol=1e-4, atol=1e-5)
    with pytest.raises(TokenizerError, match='room for 30'):
        inferencer(image, 'ship ' * 40)


def test_test_tool(work_dir, tmp_path, monkeypatch, capsys):
    make_image(tmp_path / 'data/images/a.png')
    row = dict(image='images/a.png', expression='red ship', boxes=[BOX])
    (tmp_path / 'data/test.jsonl').write_text(json.dumps(row))
    cfg = Config.fromfile(work_dir / 'tiny.py')
    pipeline = cfg.test_dataloader.dataset.pipeline
    next(step for step in pipeline if step.type == 'TokenizeExpression').tokenizer.path = str(work_dir / 'siglip')
    cfg.test_dataloader.dataset = dict(
        type='JSONLRefSegDataset', data_root=str(tmp_path / 'data'), split='test', test_mode=True, pipeline=pipeline
    )
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_evaluator = dict(type='RRSISMetric', protocol='native')
    cfg.dump(tmp_path / 'test.py')
    arguments = ['test.py', tmp_path / 'test.py', work_dir / 'best_rrsis_mIoU_epoch_1.pth']
    arguments += ['--work-dir', tmp_path / 'run', '--out', tmp_path / 'out']
    monkeypatch.setattr(sys, 'argv', [*map(str, arguments)])
    runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')
    assert '"red ship"' in (tmp_path / 'out/results.jsonl').read_text()
    assert 'Model config:' not in capsys.readouterr().err
