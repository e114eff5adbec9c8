"""A server on 127.0.0.1 that speaks the hub's protocol: repositories in memory, faults on demand, what was asked.

`HF_ENDPOINT` is pointed at it, and the hub's own client library does the rest.
"""

import base64
import hashlib
import json
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 4096


@dataclass
class Fault:
    """What goes wrong for paths that hold `where`, so many times; the first fault of a list that fits a request."""

    where: str
    status: int = 0
    headers: dict = field(default_factory=dict)
    break_after: int | None = None
    times: int = 1 << 30


@dataclass
class HubServer:
    """Repositories by name, each {path: content}; `files` are served by their plain address.

    Attributes:
        asked: (method, path, Range header) of every request.
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    cards: dict[str, dict] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    wrong_hashes: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)

    def __enter__(self) -> 'HubServer':
        owner = self

        class Handler(_Handler):
            hub = owner

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self._server.server_address[1]}'

    def add_folder(self, name: str, folder: Path, inside: str = '') -> None:
        """Publish a folder's files."""
        for path in sorted(folder.rglob('*')):
            if path.is_file():
                place = f'{inside}/{path.relative_to(folder).as_posix()}'.lstrip('/')
                self.repositories.setdefault(name, {})[place] = path.read_bytes()

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """What a process needs to take this for the hub, with a cache of its own."""
        names = dict(HF_ENDPOINT=self.url, HF_HOME=str(home), HF_HUB_DISABLE_TELEMETRY='1', HF_HUB_DISABLE_XET='1')
        return {**names, 'NO_PROXY': '127.0.0.1,localhost', 'no_proxy': '127.0.0.1,localhost', **more}

    def commit(self, name: str) -> str:
        content = sorted((path, _sha256(data)) for path, data in self.repositories[name].items())
        return hashlib.sha1(json.dumps(content).encode()).hexdigest()

    def bytes_sent_for(self, part: str) -> list[str | None]:
        """Range headers of the GETs of paths that hold `part`."""
        return [wanted for method, path, wanted in self.asked if method == 'GET' and part in path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    hub: HubServer
    _break_after: int | None = None

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(('POST', path, None))
        content = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        if self.headers.get('Authorization') is None:
            return self._answer(401, b'', {'X-Error-Message': 'Invalid credentials in Authorization header'})
        if path == '/api/repos/create':
            asked = json.loads(content)
            name = f'{asked["organization"]}/{asked["name"]}' if asked.get('organization') else f'me/{asked["name"]}'
            self.hub.repositories.setdefault(name, {})
            return self._json({'url': f'{self.hub.url}/{name}', 'name': name, 'id': name})
        if path.startswith('/api/validate-yaml'):
            return self._json({'errors': [], 'warnings': []})
        if '/preupload/' in path:
            files = json.loads(content)['files']
            modes = [
                dict(path=f['path'], uploadMode='lfs' if f['size'] > LARGE else 'regular', shouldIgnore=False)
                for f in files
            ]
            return self._json({'files': modes})
        if path.endswith('/info/lfs/objects/batch'):
            objects = [
                dict(oid=o['oid'], size=o['size'], actions=dict(upload=dict(href=f'{self.hub.url}/upload/{o["oid"]}')))
                for o in json.loads(content)['objects']
            ]
            return self._json({'transfer': 'basic', 'objects': objects})
        if '/commit/' in path:
            name = path.removeprefix('/api/models/').split('/commit/')[0]
            for line in content.splitlines():
                entry = json.loads(line)
                value = entry['value']
                if entry['key'] == 'file':
                    self.hub.repositories[name][value['path']] = base64.b64decode(value['content'])
                elif entry['key'] == 'lfsFile':
                    self.hub.repositories[name][value['path']] = self.hub.uploads[value['oid']]
            commit = self.hub.commit(name)
            url = f'{self.hub.url}/{name}/commit/{commit}'
            return self._json({'success': True, 'commitOid': commit, 'commitUrl': url})
        return self._answer(404, b'')

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.hub.uploads[self.path.rsplit('/', 1)[1]] = content
        self._answer(200, b'')

    def _serve(self, body: bool) -> None:
        split = urlsplit(self.path)
        path = unquote(split.path)
        self.hub.asked.append((self.command, path, self.headers.get('Range')))
        self._break_after = None
        fault = next((f for f in self.hub.faults if f.where in path and f.times > 0 and (body or f.status)), None)
        if fault is not None:
            fault.times -= 1
            self._break_after = fault.break_after
            if fault.status:
                return self._answer(fault.status, b'{"error": "no"}', fault.headers)
        parts = path.strip('/').split('/')
        if path.startswith('/api/models/'):
            name, rest = '/'.join(parts[2:4]), parts[4:]
            if name not in self.hub.repositories:
                return self._answer(401, b'', {'X-Error-Code': 'RepoNotFound'})
            if rest and rest[0] in ('revision', 'tree') and rest[1] not in ('main', self.hub.commit(name)):
                return self._answer(404, b'', {'X-Error-Code': 'RevisionNotFound'})
            listed = self._listing(name)
            if rest and rest[0] == 'tree':
                tree = [dict(type='file', path=s['rfilename'], size=s['size'], oid=s['blobId']) for s in listed]
                return self._json(tree)
            blobs = 'blobs' in parse_qs(split.query)
            siblings = listed if blobs else [dict(rfilename=one['rfilename']) for one in listed]
            info = dict(id=name, modelId=name, sha=self.hub.commit(name), siblings=siblings, private=False, tags=[])
            return self._json(info | dict(downloads=0, likes=0, cardData=self.hub.cards.get(name)))
        if '/resolve/' in path:
            name, _, rest = path.strip('/').partition('/resolve/')
            revision, _, file = rest.partition('/')
            repository = self.hub.repositories.get(name)
            if repository is None:
                return self._answer(401, b'', {'X-Error-Code': 'RepoNotFound'})
            if revision not in ('main', self.hub.commit(name)):
                return self._answer(404, b'', {'X-Error-Code': 'RevisionNotFound'})
            if file not in repository:
                return self._answer(404, b'', {'X-Error-Code': 'EntryNotFound'})
            headers = {'X-Repo-Commit': self.hub.commit(name)}
            content = repository[file]
            if len(content) <= LARGE:
                return self._content(content, body, {**headers, 'ETag': f'"{_git_id(content)}"'})
            oid = self._oid(file, content)
            headers |= {'X-Linked-Etag': f'"{oid}"', 'X-Linked-Size': str(len(content)), 'ETag': '"cdn"'}
            # Large files come from another host, as in the hub.
            host = self.hub.url.replace('127.0.0.1', 'localhost')
            return self._answer(302, b'', {**headers, 'Location': f'{host}/cdn/{name}/{file}'})
        if parts[0] == 'cdn':
            content = self.hub.repositories['/'.join(parts[1:3])]['/'.join(parts[3:])]
            return self._content(content, body, {'ETag': '"cdn"'})
        if parts[0] == 'moved':
            return self._answer(302, b'', {'Location': f'{self.hub.url}/files/{"/".join(parts[1:])}'})
        if parts[0] == 'files' and '/'.join(parts[1:]) in self.hub.files:
            content = self.hub.files['/'.join(parts[1:])]
            return self._content(content, body, {'ETag': f'"{_sha256(content)}"'})
        return self._answer(404, b'')

    def _listing(self, name: str) -> list[dict]:
        listed = []
        for path, content in self.hub.repositories[name].items():
            one = dict(rfilename=path, size=len(content), blobId=_git_id(content))
            if len(content) > LARGE:
                one['lfs'] = dict(sha256=self._oid(path, content), size=len(content), pointerSize=130)
            listed.append(one)
        return listed

    def _oid(self, path: str, content: bytes) -> str:
        return _sha256(content + b'other' if path in self.hub.wrong_hashes else content)

    def _content(self, content: bytes, body: bool, headers: dict) -> None:
        start = 0
        if (wanted := self.headers.get('Range')) and wanted.startswith('bytes='):
            start = int(wanted.removeprefix('bytes=').split('-')[0])
            headers = {**headers, 'Content-Range': f'bytes {start}-{len(content) - 1}/{len(content)}'}
        self._answer(206 if start else 200, content[start:], headers, body)

    def _json(self, content: object) -> None:
        self._answer(200, json.dumps(content).encode(), {'Content-Type': 'application/json'})

    def _answer(
        self, status: int, content: bytes, headers: dict | None = None, body: bool = True, path: str = ''
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if self.command == 'HEAD' or not body:
            return
        if self._break_after is not None:
            self.wfile.write(content[: self._break_after])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        """Nothing on the screen."""


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()
