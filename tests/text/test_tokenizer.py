"""The tokenizer against plain SentencePiece, transformers, and the examples of the shared README."""

import io
import multiprocessing
import pickle

import pytest
import sentencepiece

from rs2sam2.datasets.safe_pickle import load_plain_pickle
from rs2sam2.errors import TokenizerError
from rs2sam2.text.tokenizer import RefSegTokenizer

SENTENCES = [
    f'the {size} {colour} {name} on the {side} of the image'
    for size in ('small', 'large', 'long')
    for colour in ('red', 'gray', 'white')
    for name in ('ship', 'airplane', 'storage tank', 'bridge', 'tennis court')
    for side in ('left', 'right', 'top', 'bottom')
]


def train(path, vocab_size=40, **kwargs):
    model = io.BytesIO()
    arguments = dict(unk_id=0, bos_id=1, eos_id=2, pad_id=-1, minloglevel=2) | kwargs
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=vocab_size, **arguments
    )
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return train(tmp_path_factory.mktemp('tokenizer') / 'tiny.model')


def by_the_rule(path, text):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [0] + [3 if piece == 0 else piece + 1 for piece in processor.encode(text)] + [2]


def test_ids_follow_the_rule(model):
    tokenizer = RefSegTokenizer(model, num_pieces=40)
    for text in [*SENTENCES, 'the 红色 ship', '  two   ships ', 'Ünknown']:
        assert tokenizer(text) == by_the_rule(model, text)
    ids = tokenizer('the 红色 ship')
    assert ids[0] == tokenizer.bos_id == 0
    assert ids[-1] == tokenizer.eos_id == 2
    assert tokenizer.unk_id in ids
    assert tokenizer.pad_id == 1
    assert tokenizer.vocab_size == 42
    assert tokenizer.mask_id == 41


@pytest.mark.parametrize('text', ['<s>', 'a <pad> ship', '</s> <unk> <mask>', 'ship</s>'])
def test_control_tokens_cannot_be_written(model, text):
    ids = RefSegTokenizer(model, num_pieces=40)(text)
    assert ids == by_the_rule(model, text)
    assert not set(ids[1:-1]) & {0, 1, 2, 41}


@pytest.mark.parametrize('text', ['', '   ', '\t\n', '\u200b'])
def test_an_empty_expression_is_an_error(model, text):
    with pytest.raises(TokenizerError, match='is empty'):
        RefSegTokenizer(model, num_pieces=40)(text)


def test_half_a_surrogate_is_an_error(model):
    with pytest.raises(TokenizerError, match='not valid Unicode'):
        RefSegTokenizer(model, num_pieces=40)('ship \ud83d')


def test_a_folder_holds_the_file(model, tmp_path):
    for name in ('beit3.spm', 'sentencepiece.bpe.model'):
        (tmp_path / name).write_bytes(model.read_bytes())
        assert RefSegTokenizer(tmp_path, num_pieces=40)('ship') == by_the_rule(model, 'ship')
        (tmp_path / name).unlink()
    with pytest.raises(TokenizerError, match=r'holds no sentencepiece\.bpe\.model or beit3\.spm'):
        RefSegTokenizer(tmp_path, num_pieces=40)


def test_bad_files_are_named(model, tmp_path):
    with pytest.raises(TokenizerError, match=r'nowhere.*is missing'):
        RefSegTokenizer(tmp_path / 'nowhere')
    for content in (b'', b'hello', model.read_bytes()[:-100]):
        (tmp_path / 'broken.spm').write_bytes(content)
        with pytest.raises(TokenizerError, match=r'broken\.spm is not a whole SentencePiece model') as caught:
            RefSegTokenizer(tmp_path / 'broken.spm', num_pieces=40)
        assert '\n' not in str(caught.value)
    with pytest.raises(TokenizerError, match='has 40 pieces where num_pieces=64000'):
        RefSegTokenizer(model)
    other = train(tmp_path / 'other.model', pad_id=0, unk_id=3)
    with pytest.raises(TokenizerError, match=r'\(3, 1, 2\), not \(0, 1, 2\)'):
        RefSegTokenizer(other, num_pieces=40)


def test_a_forked_worker_gets_the_same_ids(model):
    tokenizer = RefSegTokenizer(model, num_pieces=40)
    context = multiprocessing.get_context('fork')
    answers = context.Queue()
    worker = context.Process(target=lambda: answers.put([tokenizer(text) for text in SENTENCES[:5]]))
    worker.start()
    assert answers.get(timeout=60) == [tokenizer(text) for text in SENTENCES[:5]]
    worker.join()


def test_a_pickle_carries_no_model(model):
    """What a spawned worker receives."""
    data = pickle.dumps(RefSegTokenizer(model, num_pieces=40))
    assert len(data) < 1000
    assert pickle.loads(data)('ship') == by_the_rule(model, 'ship')


@pytest.mark.shared
def test_beit3_examples(shared):
    tokenizer = RefSegTokenizer(shared / 'data' / 'beit3_tokenizer')
    assert tokenizer('A airplane at the bottom') == [0, 94, 12014, 29, 4, 1690, 2]
    assert tokenizer('The ground track field on the lower left') == [0, 25, 845, 1140, 783, 20, 4, 1011, 243, 2]
    assert tokenizer('paved road') == [0, 17064, 729, 2]
    assert tokenizer('the 红色 building') == [0, 4, 190, 3, 596, 2]
    assert tokenizer.mask_id == 64001


@pytest.mark.shared
def test_all_real_sentences_as_transformers_reads_them(shared):
    """The released model was trained with transformers' tokenizer: an independent reading of the same file."""
    transformers = pytest.importorskip('transformers')
    folder = shared / 'data' / 'beit3_tokenizer'
    tokenizer = RefSegTokenizer(folder)
    texts = [ref['sentences'][0]['sent'] for ref in load_plain_pickle(shared / 'data' / 'rrsisd' / 'refs(unc).p')]
    assert len(texts) == 17402
    ids = [tokenizer(text) for text in texts]
    assert ids == transformers.XLMRobertaTokenizer.from_pretrained(folder)(texts)['input_ids']
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / 'sentencepiece.bpe.model'))
    plain = processor.encode(texts)
    assert ids == [[0, *(3 if piece == 0 else piece + 1 for piece in pieces), 2] for pieces in plain]
