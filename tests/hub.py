"""A hub on the loopback interface that speaks the few routes of the Hugging Face Hub that facehall needs."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """Repositories of models in memory.

    Attributes:
        repositories: Files by repository and path.
        requests: Method and path of each request.
        token: What a write needs; reads are free.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.requests: list[str] = []
        self.token = "hf_test"
        self.endpoint = ""

    def commit(self, repository: str) -> str:
        """The commit that stands for a repository's contents."""
        digest = hashlib.sha1()
        for path, data in sorted(self.repositories[repository].items()):
            digest.update(path.encode() + data)
        return digest.hexdigest()

    def put(self, repository: str, lines: list[dict[str, Any]]) -> None:
        """Take a commit's files."""
        for line in lines:
            if line["key"] == "file":
                data = base64.b64decode(line["value"]["content"])
                self.repositories[repository][line["value"]["path"]] = data


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._file(send=False)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if not path.startswith("/api/models/"):
            return self._file(send=True)
        owner, name, what, *_ = path.removeprefix("/api/models/").split("/")
        repository = f"{owner}/{name}"
        self.hub.requests.append(f"GET {path}")
        if repository not in self.hub.repositories:
            return self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        files = self.hub.repositories[repository]
        if what == "revision":
            siblings = [{"rfilename": file} for file in files]
            said: Any = {"id": repository, "sha": self.hub.commit(repository), "siblings": siblings}
        else:
            said = [
                {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for file, data in files.items()
            ]
        return self._say(200, said)

    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"POST {path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if path == "/api/validate-yaml":
            return self._say(200, {"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._say(401, {"error": "Invalid credentials"})
        if path == "/api/repos/create":
            asked = json.loads(body)
            repository = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.hub.repositories.setdefault(repository, {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.hub.private.add(repository)
            return self._say(200, {"url": f"{self.hub.endpoint}/{repository}", "id": repository})
        owner, name, what, revision = path.removeprefix("/api/models/").split("/")
        repository = f"{owner}/{name}"
        if what == "preupload":
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": file, "uploadMode": "regular", "shouldIgnore": False} for file in paths]
            return self._say(200, {"files": modes})
        assert (what, revision) == ("commit", "main")
        self.hub.put(repository, [json.loads(line) for line in body.splitlines()])
        commit = self.hub.commit(repository)
        url = f"{self.hub.endpoint}/{repository}/commit/{commit}"
        return self._say(200, {"success": True, "commitOid": commit, "commitUrl": url})

    def _file(self, *, send: bool) -> None:
        """``/owner/name/resolve/COMMIT/FILE``."""
        self.hub.requests.append(f"{'GET' if send else 'HEAD'} {self.path}")
        owner, name, _, commit, file = self.path.lstrip("/").split("/", 4)
        data = self.hub.repositories.get(f"{owner}/{name}", {}).get(file)
        if data is None:
            return self._say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if send:
            self.wfile.write(data)
        return None

    def _say(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A hub that runs until the end of the block."""
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub})) as server:
        hub.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
