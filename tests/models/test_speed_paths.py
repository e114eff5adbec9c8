"""Every fast path computes what the plain one computes: folding, windows, oneDNN, checkpointing, bf16, compile."""

import pytest
import torch
import torch._dynamo.testing
import torch.nn.functional as F
from mmengine.structures import PixelData
from sam2.modeling.backbones.hieradet import Hiera
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from helpers.tiny import TINY_HIERA, random_batch, random_target, tiny_model
from rs2sam2.models.common import parts
from rs2sam2.models.common.linear import linear
from rs2sam2.models.rs2sam2.fold import fold_for_inference
from rs2sam2.models.rs2sam2.hiera import SAM2Hiera
from rs2sam2.structures import RefSegDataSample


def randomise(model, scale: float = 0.3):
    """Weights far enough from their initial ones that every branch counts."""
    torch.manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p += scale * p.std(correction=0).clamp(0.02) * torch.randn_like(p)
    return model


def total_loss(model, batch=None):
    samples = [RefSegDataSample(gt_sem_seg=PixelData(data=one)) for one in random_target(3)]
    return sum(model.loss(batch or random_batch(), samples).values())


def gradients(model):
    total_loss(model).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(('gelu', 'residual'), [(False, False), (True, False), (False, True)])
def test_linear_without_gradients_equals_linear_with(gelu, residual):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 7, 12).transpose(0, 1), torch.randn(10, 12), torch.randn(10)
    more = torch.randn(7, 3, 10)[:, 1:] if residual else None
    want = F.linear(x.double(), weight.double(), bias.double())
    want = F.gelu(want) if gelu else want + more.double() if residual else want
    with_grad = linear(x, weight, bias, gelu, more)
    with torch.no_grad():
        without = linear(x, weight, bias, gelu, more)
    for got in (with_grad, without):
        torch.testing.assert_close(got.double(), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('positions', [1, 100, 150, 10_000])
def test_a_trunk_in_parts_equals_the_whole_one_and_gets_no_more_at_once(positions, monkeypatch):
    trunk, image = randomise(SAM2Hiera(TINY_HIERA).eval()), torch.randn(2, 3, 64, 64)
    seen = []
    for block in trunk.trunk.blocks:
        for module in (block.attn.qkv, block.mlp.layers[0]):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    monkeypatch.setattr(parts, 'POSITIONS', positions)
    with_gradients = trunk(image)  # whole: a backward pass needs everything anyway
    whole = seen.copy()
    seen.clear()
    with torch.no_grad():
        got = trunk(image)
    for one, other in zip(got, with_gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert sum(shape.numel() for shape in seen) == sum(shape.numel() for shape in whole)
    # A window is not divided.
    assert all(shape.numel() <= shape[-1] * positions or shape[0] == 1 for shape in seen)
    assert (len(seen) > len(whole)) == (positions < 10_000)


def test_a_graph_of_any_batch_is_not_asked_how_large_this_one_is(monkeypatch):
    """torch.export would hold its graph to the answer, and refuse to make one of any batch."""
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
    assert parts.in_parts(lambda x: x, 'has no shape') == 'has no shape'


@pytest.mark.parametrize('size', [64, 96, 160])
@pytest.mark.parametrize('windows', [(8, 4, 4, 2), (8, 4, 14, 7), (8, 4, 16, 8), (4, 4, 2, 2)])
def test_trunk_equals_the_sam2_package(size, windows):
    """Sides that the windows divide, and sides where they need padding."""
    arch = TINY_HIERA | dict(windows=windows, stages=(1, 2, 3, 2), global_blocks=(4,))
    ours = randomise(SAM2Hiera(arch).eval())
    theirs = Hiera(
        embed_dim=16,
        num_heads=1,
        stages=arch['stages'],
        global_att_blocks=arch['global_blocks'],
        window_pos_embed_bkg_spatial_size=(7, 7),
        window_spec=windows,
    ).eval()
    theirs.load_state_dict(ours.trunk.state_dict())
    image = torch.randn(2, 3, size, size)
    with torch.no_grad():
        try:
            want = theirs(image)
        except RuntimeError:
            pytest.skip('the sam2 package does not take this side')
        for got, expected in zip(ours.trunk(image, [None] * 8, None)[0], want, strict=True):
            torch.testing.assert_close(got.permute(0, 3, 1, 2), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('config', ['configs/rs2sam2_rrsisd.py', 'configs/rs2sam2_tiny_demo.py'])
def test_folded_model_predicts_the_same(config):
    model = randomise(tiny_model(config)).eval()
    with torch.no_grad():
        want = model(random_batch(), mode='tensor')
        parameters = sum(p.numel() for p in model.parameters())
        folded = fold_for_inference(model)
        got = folded(random_batch(), mode='tensor')
        again = fold_for_inference(folded)(random_batch(), mode='tensor')
    assert sum(p.numel() for p in folded.parameters()) < parameters
    torch.testing.assert_close(got.mask_logits, want.mask_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(again.mask_logits, got.mask_logits, atol=0, rtol=0)
    with pytest.raises(RuntimeError, match='fold_for_inference'):
        folded.state_dict()


def test_what_was_laid_out_is_folded_without_a_copy():
    model = randomise(tiny_model()).eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        want = fold_for_inference(model)(random_batch(), mode='tensor')
        laid_out = tiny_model()
        laid_out.lay_out()
        laid_out.load_state_dict(state)
        mlps = [block.mlp.layers for block in laid_out.backbone.trunk.blocks]
        before = [layer.weight.data_ptr() for mlp in mlps for layer in mlp]
        got = laid_out.fold()(random_batch(), mode='tensor')
    assert [layer.weight.data_ptr() for mlp in mlps for layer in mlp] == before
    assert torch.equal(got.mask_logits, want.mask_logits)


@pytest.mark.parametrize('stages', [(0,), (2, 3), (0, 1, 2, 3)])
def test_checkpointing_gives_the_same_gradients(stages):
    plain = tiny_model()
    saving = tiny_model(
        **{'model.backbone.checkpoint_stages': stages, 'model.union_encoder.checkpointing': len(stages) == 4}
    )
    want, got = gradients(plain), gradients(saving)
    assert want.keys() == got.keys()
    for name, gradient in want.items():
        torch.testing.assert_close(got[name], gradient, atol=0, rtol=0, msg=name)


def test_checkpointing_keeps_fewer_activations():
    def kept(model):
        size = 0

        def count(tensor):
            nonlocal size
            size += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            total_loss(model)
        return size

    saving = tiny_model(**{'model.backbone.checkpoint_stages': (0, 1, 2, 3), 'model.union_encoder.checkpointing': True})
    assert kept(saving) < 0.6 * kept(tiny_model())


@pytest.mark.parametrize('stored', [torch.float32, torch.bfloat16])
def test_bf16_autocast_agrees_with_fp32_in_inference(stored):
    model = tiny_model().eval()
    for p in model.parameters():
        p.data = p.data.to(stored).float()
    with torch.no_grad():
        want = model(random_batch(), mode='tensor').mask_logits
        for p in model.parameters():
            p.data = p.data.to(stored)
        with torch.autocast('cpu', torch.bfloat16):
            got = model(random_batch(), mode='tensor').mask_logits.float()
    assert (got - want).abs().max() < 0.1 * want.std() + 0.02
    assert ((got > 0) != (want > 0)).float().mean() < 0.02


def test_bf16_autocast_agrees_with_fp32_in_training():
    plain, mixed = tiny_model(), tiny_model()
    want = gradients(plain)
    with torch.autocast('cpu', torch.bfloat16):
        loss = total_loss(mixed)
    assert loss.dtype == torch.float32
    loss.backward()
    torch.testing.assert_close(loss, total_loss(plain), rtol=0.02, atol=0.02)
    got = {name: p.grad for name, p in mixed.named_parameters() if p.grad is not None}
    assert got.keys() == want.keys()
    assert all(gradient.dtype == torch.float32 for gradient in got.values())
    flat = [torch.cat([grads[name].flatten() for name in want]) for grads in (want, got)]
    assert F.cosine_similarity(*flat, dim=0) > 0.98


def test_position_encodings_stay_in_fp32_under_autocast():
    model = tiny_model().eval()
    with torch.no_grad():
        want = model.decode_head.position((4, 4))
        with torch.autocast('cpu', torch.bfloat16):
            got = model.decode_head.position((4, 4))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, atol=0, rtol=0)


def test_inference_never_waits_for_a_value():
    """A fake tensor has no values: whoever asks for one (item, nonzero, a branch) fails, as a CUDA graph would."""
    model, batch = tiny_model('configs/rs2sam2_tiny_demo.py').eval(), random_batch()
    # oneDNN's operators have no fake form; on a GPU they are not called.
    plain = torch.backends.mkldnn.flags(enabled=False)
    with plain, FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        assert model(batch, mode='tensor').mask_logits.shape == (3, 1, 16, 16)
        with pytest.raises(DataDependentOutputException):
            bool(batch.image.sum() > 0)


def test_compiles_whole_and_once_for_all_text_lengths():
    torch._dynamo.reset()
    model = tiny_model().eval()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(model.encode_decode, backend=counter, fullgraph=True)
    with torch.no_grad():
        for lengths in ((5, 9, 3), (4, 4, 2), (12, 3, 7), (6, 6, 6)):
            batch = random_batch(lengths)
            for tensor in (batch.token_ids, batch.text_mask):
                torch._dynamo.mark_dynamic(tensor, 1)
            torch.testing.assert_close(compiled(batch).mask_logits, model.encode_decode(batch).mask_logits)
    assert counter.frame_count == 1
