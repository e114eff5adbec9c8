"""Fetching from a hub: every form of a repository, broken connections, wrong hashes, refusals; always one line.

The server speaks the hub's protocol and the hub's own client library asks it; `HF_ENDPOINT` and `HF_HOME` are all that
a process of its own is told.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from helpers.disks import small_disk  # noqa: F401 (a fixture)
from helpers.hub_server import Fault, HubServer
from helpers.published_weights import assert_same, write_shards
from rs2sam2.errors import CheckpointError
from rs2sam2.weights.files import open_state_dict
from rs2sam2.weights.places import Address, HubPlace, parse_place

CLIENT = """
import json, sys
from rs2sam2.errors import RefSegError
from rs2sam2.weights import hub, places, zoo
for line in sys.stdin:
    asked = json.loads(line)
    try:
        if asked.get('locate'):
            found = zoo.locate(asked['text'])
        else:
            found = hub.fetch(places.parse_place(asked['text']), asked.get('put'), newest=asked.get('newest', False))
        answer = dict(weights=str(found.weights), folder=str(found.folder))
    except RefSegError as error:
        answer = dict(error=str(error))
    print(json.dumps(answer), flush=True)
"""
STATE = {'a.weight': torch.randn(300, 400), 'b.weight': torch.randn(200, 100), 'b.bias': torch.zeros(7)}


class Client:
    """A process that fetches, with a cache of its own."""

    def __init__(self, hub: HubServer, home: Path, **more: str) -> None:
        self.home = home
        with (home.parent / f'{home.name}.log').open('w') as log:  # the process has its own
            self.process = subprocess.Popen(
                [sys.executable, '-c', CLIENT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=home.parent,
                env={**os.environ, **hub.environment(home, **more)},
            )

    def __call__(self, text: str, **asked: object) -> dict:
        print(json.dumps(dict(text=text, **asked)), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    @property
    def told(self) -> str:
        return (self.home.parent / f'{self.home.name}.log').read_text()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture(scope='module')
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp('published')
    forms = {}
    for name in ('single', 'bin', 'sharded', 'named', 'nested/deep', 'several'):
        forms[name] = folder / name
        forms[name].mkdir(parents=True)
        (forms[name] / 'sentencepiece.bpe.model').write_bytes(os.urandom(9000))
        (forms[name] / 'config.json').write_text('{"architectures": ["EvfSam2Model"]}')
    save_file(STATE, forms['single'] / 'model.safetensors')
    torch.save(STATE, forms['single'] / 'training_args.bin')
    torch.save(STATE, forms['bin'] / 'pytorch_model.bin')
    write_shards(STATE, forms['sharded'], '.safetensors')
    torch.save(dict(model=STATE), forms['named'] / 'rrsisd_best.pth')
    torch.save(STATE, forms['named'] / 'optimizer.pt')
    save_file(STATE, forms['nested/deep'] / 'weights.safetensors')
    for one in ('a.pth', 'b.pth'):
        torch.save(STATE, forms['several'] / one)
    with HubServer() as hub:
        hub.add_folder('lab/models', folder)
        hub.add_folder('lab/one', forms['single'])
        hub.add_folder('lab/shards', forms['sharded'])
        hub.repositories['lab/empty'] = {'README.md': b'soon'}
        hub.repositories['lab/nothing'] = {}
        hub.cards['lab/one'] = dict(license='mit')
        hub.files['old/beit3.pth'] = (forms['named'] / 'rrsisd_best.pth').read_bytes()
        yield hub


@pytest.fixture(scope='module')
def shared_client(hub, tmp_path_factory):
    client = Client(hub, tmp_path_factory.mktemp('client') / 'home')
    yield client
    client.close()


@pytest.fixture
def client(hub, shared_client):
    """The client with an empty cache, before a server without faults."""
    shutil.rmtree(shared_client.home, ignore_errors=True)
    hub.faults.clear()
    hub.wrong_hashes.clear()
    hub.asked.clear()
    return shared_client


def one_line(answer: dict, *words: str) -> None:
    assert '\n' not in answer['error']
    assert all(word in answer['error'] for word in words), answer['error']


@pytest.mark.parametrize(
    ('text', 'place'),
    [
        ('hf:a/b', HubPlace('a/b')),
        ('hf:a/b/', HubPlace('a/b')),
        ('hf://a/b@v1.0/c/d', HubPlace('a/b', 'v1.0', 'c/d')),
        ('hf:A-1/b.c_d@refs%2Fpr%2F1', HubPlace('A-1/b.c_d', 'refs/pr/1')),
        ('hf:a/b/large model/x.pth', HubPlace('a/b', inside='large model/x.pth')),
        ('https://x.org/beit3.spm', Address('https://x.org/beit3.spm')),
        ('https://huggingface.co/a/b', HubPlace('a/b')),
        ('https://huggingface.co/a/b/tree/main', HubPlace('a/b')),
        (
            'https://huggingface.co/a/b/tree/v1/large%20model?not-for-all-audiences=1',
            HubPlace('a/b', 'v1', 'large model'),
        ),
        ('https://hf.co/a/b/blob/refs%2Fpr%2F1/c/d.pth', HubPlace('a/b', 'refs/pr/1', 'c/d.pth')),
        ('https://huggingface.co/a/b/resolve/main/d.pth?download=true', HubPlace('a/b', inside='d.pth')),
        ('https://huggingface.co/datasets/a/b', Address('https://huggingface.co/datasets/a/b')),
        ('https://huggingface.co/a/b/resolve/main/../../c', Address('https://huggingface.co/a/b/resolve/main/../../c')),
        ('https://huggingface.co.evil.org/a/b', Address('https://huggingface.co.evil.org/a/b')),
        ('work_dirs/demo', None),
        ('hfx', None),
    ],
)
def test_places_are_read(text, place):
    assert parse_place(text) == place


@pytest.mark.parametrize(
    'text',
    [
        'hf:',
        'hf:a',
        'hf:a/b/../../c',
        'hf:a b/c',
        'hf:/etc/passwd',
        'hf:a/b@',
        'hf:../../x',
        'hf:a/..',
        'hf:a/-b',
        'hf:a--b/c',
        'hf:\u0430/b',
        f'hf:a/{"b" * 99}',
    ],
)
def test_what_names_no_repository_is_refused(text):
    with pytest.raises(CheckpointError, match='names no repository'):
        parse_place(text)


@pytest.mark.parametrize(
    'text',
    ['lab/models/single', 'lab/models/bin', 'lab/models/sharded', 'lab/models/named', 'lab/models/nested', 'lab/one',
     'lab/models/several/b.pth', 'lab/shards@main'],
)  # fmt: skip
def test_every_form_of_a_folder_is_found_and_kept(client, hub, text):
    found = client(f'hf:{text}')
    assert_same(dict(open_state_dict(found['weights'])), STATE)
    assert found['weights'].startswith(str(client.home / 'hub'))
    assert 'b.pth' in text or (Path(found['folder']) / 'sentencepiece.bpe.model').is_file()
    fetched = {path.rsplit('/', 1)[1] for _, path, _ in hub.asked if '/resolve/' in path}
    assert not fetched & {'training_args.bin', 'optimizer.pt', 'a.pth'}
    hub.asked.clear()
    assert client(f'hf:{text}') == found
    assert hub.asked == []


def test_a_tagged_or_pinned_revision(client, hub):
    commit = hub.commit('lab/one')
    assert commit in client(f'hf:lab/one@{commit}')['weights']
    one_line(client('hf:lab/one@v9'), 'lab/one has no revision v9')


def test_the_licence_and_the_size_are_told(client):
    client('hf:lab/one')
    assert 'fetching hf:lab/one (0.6 MB, licence: mit)' in client.told
    client('hf:lab/models/bin')
    assert 'fetching hf:lab/models/bin (0.6 MB, licence: none stated)' in client.told


def test_another_version_is_fetched_when_asked_for(client, hub):
    first = client('hf:lab/one')
    hub.repositories['lab/one']['NEWS.md'] = b'better now'
    assert client('hf:lab/one') == first
    assert client('hf:lab/one', newest=True)['folder'] != first['folder']
    del hub.repositories['lab/one']['NEWS.md']


def test_a_broken_download_goes_on_by_itself(client, hub):
    hub.faults.append(Fault('cdn/lab/models/single/model', break_after=300_000, times=1))
    assert_same(dict(open_state_dict(client('hf:lab/models/single')['weights'])), STATE)
    ranges = [wanted for wanted in hub.bytes_sent_for('cdn/lab/models/single/model.safetensors') if wanted]
    # What came is written in pieces, so nearly all of it counts.
    assert len(ranges) == 1
    assert 200_000 < int(ranges[0].removeprefix('bytes=').rstrip('-')) <= 300_000


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize('part', ['single/model.safetensors', 'sharded/model-00002-of-00002.safetensors'])
def test_a_download_that_was_given_up_goes_on_in_another_process(hub, part, tmp_path):
    hub.faults[:] = [
        Fault(f'cdn/lab/models/{part}', break_after=70_000, times=1),
        Fault(f'cdn/lab/models/{part}', 503),
    ]
    place = f'hf:lab/models/{part.split("/")[0]}'
    client = Client(hub, tmp_path / 'home')
    one_line(client(place), place, 'HTTP 503', 'by hand')
    client.close()
    hub.faults.clear()
    hub.asked.clear()
    client = Client(hub, tmp_path / 'home')
    assert_same(dict(open_state_dict(client(place)['weights'])), STATE)
    client.close()
    (wanted,) = [wanted for wanted in hub.bytes_sent_for(f'cdn/lab/models/{part}') if wanted]
    assert int(wanted.removeprefix('bytes=').rstrip('-')) > 0
    assert not list((tmp_path / 'home').rglob('*.incomplete'))


def test_a_file_with_another_hash_is_not_kept(client, hub):
    hub.wrong_hashes.add('single/model.safetensors')
    one_line(client('hf:lab/models/single'), 'is not the published file', 'sha256', 'by hand')
    hub.wrong_hashes.clear()
    assert 'weights' in client('hf:lab/models/single')


@pytest.mark.parametrize('text', ['https://', 'http://[::1', 'http://x:y/z', 'https://exa mple/x.pth', 'http://x/\n'])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(CheckpointError, match='is no address'):
        parse_place(text)


@pytest.mark.parametrize(
    ('text', 'fault', 'words'),
    [
        ('lab/none', None, ['HTTP 401', 'none of that name', 'HF_TOKEN']),
        ('lab/models/wrong', None, ['lab/models has no wrong', 'single', 'sharded']),
        ('lab/models', None, ['several models', 'hf:lab/models/single', 'hf:lab/models/sharded']),
        ('lab/models/several', None, ['several weights files', 'hf:lab/models/several/a.pth']),
        ('lab/empty', None, ['holds no weights']),
        ('lab/nothing', None, ['lab/nothing holds no files']),
        ('lab/one', Fault('lab/one', 403, {'X-Error-Code': 'GatedRepo'}), ['asked for it', 'hf auth login']),
        ('lab/one', Fault('lab/one', 404), ['HTTP 404', 'none of that name']),
        ('lab/one', Fault('lab/one', 500), ['HTTP 500', 'try again later']),
        ('lab/one', Fault('model.safetensors', 500), ['HTTP 500', 'try again later']),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_one_line_with_the_way_out(client, hub, text, fault, words):
    hub.faults += [fault] if fault else []
    answer = client(f'hf:{text}', put='pretrained/it')
    one_line(answer, *words, 'by hand: get it from', f'{hub.url}/{text.split("/")[0]}', 'put it at pretrained/it')


def test_an_address_is_kept_too_and_goes_on(client, hub):
    address = f'{hub.url}/moved/old/beit3.pth'
    hub.faults.append(Fault('files/old', break_after=200_000, times=1))
    found = client(address)
    assert_same(dict(open_state_dict(found['weights'])), STATE)
    assert Path(found['weights']).name == 'beit3.pth'
    assert found['weights'].startswith(str(client.home / 'assets/rs2sam2'))
    assert any(hub.bytes_sent_for('files/old'))
    assert client(address) == found
    one_line(client(f'{hub.url}/files/none.pth'), 'HTTP 404', 'by hand')


def test_a_page_of_the_hub_means_its_repository(client, hub):
    found = client('hf:lab/models/single')
    assert client(f'{hub.url}/lab/models/tree/main/single') == found
    assert client(f'{hub.url}/lab/models/resolve/main/single/model.safetensors')['weights'] == found['weights']


def test_an_address_is_fetched_anew_when_asked_for(client, hub):
    address, content = (
        f'{hub.url}/files/changing/w.pth',
        {name: hub.files['old/beit3.pth'] + name for name in (b'1', b'2')},
    )

    def newest() -> bytes:
        return Path(client(address, newest=True)['weights']).read_bytes()

    hub.files['changing/w.pth'] = content[b'1']
    file = Path(client(address)['weights'])
    hub.files['changing/w.pth'] = content[b'2']
    assert Path(client(address)['weights']).read_bytes() == content[b'1']
    assert newest() == content[b'2']
    sent = len(hub.bytes_sent_for('changing'))
    assert newest() == content[b'2']
    assert len(hub.bytes_sent_for('changing')) == sent
    file.write_bytes(content[b'2'][:1000])
    assert newest() == content[b'2']


@pytest.mark.slow
@pytest.mark.ci
def test_offline_and_without_network(hub, client, tmp_path):
    client('hf:lab/models/single')
    offline = Client(hub, tmp_path / 'home', HF_HUB_OFFLINE='1')
    shutil.copytree(client.home, tmp_path / 'home', symlinks=True)
    hub.asked.clear()
    assert_same(dict(open_state_dict(offline('hf:lab/models/single')['weights'])), STATE)
    assert 'weights' in offline('hf:lab/models/single', newest=True)
    one_line(offline('hf:lab/one'), 'not in the cache', 'HF_HUB_OFFLINE', 'by hand')
    offline.close()
    assert hub.asked == []
    nowhere = Client(hub, tmp_path / 'home', HF_ENDPOINT='http://127.0.0.1:9')
    assert 'weights' in nowhere('hf:lab/models/single')
    one_line(nowhere('hf:lab/one'), 'no connection to a hub', 'by hand', 'http://127.0.0.1:9/lab/one')
    nowhere.close()


def test_a_cache_with_a_missing_shard_is_completed(client):
    shard = Path(client('hf:lab/shards')['folder']) / 'model-00002-of-00002.safetensors'
    shard.unlink()
    assert_same(dict(open_state_dict(client('hf:lab/shards')['weights'])), STATE)


def test_a_file_that_was_cut_in_the_cache_is_mended_by_a_download(client):
    weights = Path(client('hf:lab/models/single')['weights'])
    weights.resolve().write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match='fetch it anew'):
        open_state_dict(weights)
    assert_same(dict(open_state_dict(client('hf:lab/models/single', newest=True)['weights'])), STATE)


def test_an_index_that_leaves_its_folder_is_refused(client, hub):
    index = json.loads(hub.repositories['lab/shards']['model.safetensors.index.json'])
    bad = dict(index, weight_map=dict.fromkeys(index['weight_map'], '../../secret.safetensors'))
    hub.repositories['lab/bad'] = {'model.safetensors.index.json': json.dumps(bad).encode()}
    one_line(client('hf:lab/bad'), 'outside its folder')


@pytest.mark.slow
@pytest.mark.ci
def test_a_cache_that_cannot_be_written_or_is_full(hub, tmp_path, small_disk):  # noqa: F811
    (tmp_path / 'file').write_text('in the way')
    client = Client(hub, tmp_path / 'file')
    one_line(client('hf:lab/one'), 'cannot be kept in', 'by hand')
    client.close()
    client = Client(hub, small_disk(64) / 'home')
    one_line(client('hf:lab/one'), 'cannot be kept in', 'No space left', 'by hand')
    client.close()


@pytest.mark.slow
@pytest.mark.ci
def test_many_processes_fetch_once(hub, tmp_path):
    hub.faults.clear()
    hub.asked.clear()
    clients = [Client(hub, tmp_path / f'log{i}', HF_HOME=str(tmp_path / 'home'), RANK=str(i)) for i in range(3)]
    for client in clients:
        print(json.dumps(dict(text='hf:lab/one')), file=client.process.stdin, flush=True)
    answers = [json.loads(client.process.stdout.readline()) for client in clients]
    assert answers[0] == answers[1] == answers[2]
    assert len(hub.bytes_sent_for('cdn/lab/one/model.safetensors')) == 1
    for client in clients:
        client.close()
    assert sum(client.told.count('fetching') for client in clients) == 1


def test_names(client, hub):
    one_line(client('rs2sam2-rrsis', locate=True), 'no published name', 'did you mean rs2sam2_rrsisd?')
    # The released repository at tiny size, with the folder's weights under a name that nobody foretold.
    hub.repositories['ReeF2025/RS2-SAM2'] = {
        f'rrsisd/{name.rsplit("/", 1)[1]}': data
        for name, data in hub.repositories['lab/models'].items()
        if name.startswith('named/')
    }
    found = client('RS2SAM2-RRSISD', locate=True)
    assert_same(dict(open_state_dict(found['weights'])), STATE)
    assert 'licence: none stated' in client.told
    one_line(client('rs2sam2_refsegrs', locate=True), 'has no refseg', 'put it at pretrained/rs2sam2_refsegrs')
    # A path under which configs name the files is found in the cache and never fetched.
    assert client('pretrained/rs2sam2_rrsisd', locate=True) == found
    one_line(client('pretrained/sam2_hiera_large.pt', locate=True), 'missing', 'rs2sam2 download sam2_hiera_large')
