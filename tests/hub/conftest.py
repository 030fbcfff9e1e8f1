"""A Hub in miniature: a local HTTP server that speaks the part of the Hub's API which publishing and loading use.

Repositories of models are known by their id, those of corpora as `datasets/<id>`.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Collection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

TOKEN = "hf_test"
LICENSES = ("apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-sa-4.0", "llama2", "other")


class MiniHub(ThreadingHTTPServer):
    """Repositories in memory: every commit keeps its own complete set of files."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        # repository id -> list of (commit id, {path: bytes}), newest last
        self.repositories: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.private: dict[str, bool] = {}
        self.url = f"http://127.0.0.1:{self.server_port}"

    def create(self, repo_id: str, private: bool = False) -> None:
        self.private[repo_id] = private
        self.repositories[repo_id] = []
        self.commit(repo_id, {".gitattributes": b""})

    def commit(self, repo_id: str, files: dict[str, bytes], deleted: Collection[str] = ()) -> str:
        commits = self.repositories[repo_id]
        content = {**(commits[-1][1] if commits else {}), **files}
        content = {name: data for name, data in content.items() if name not in deleted}
        sha = hashlib.sha1(f"{repo_id}{len(commits)}".encode()).hexdigest()
        commits.append((sha, content))
        return sha

    def files(self, repo_id: str) -> dict[str, bytes]:
        return self.repositories[repo_id][-1][1]


def entries_below(files: dict[str, bytes], folder: str, sha: str) -> dict[str, dict]:
    """Files and folders below a folder, by path, as the Hub describes them."""
    entries = {}
    for name in files:
        if name.startswith(f"{folder}/" if folder else ""):
            for parent in list(PurePosixPath(name).parents)[:-1]:
                if len(str(parent)) > len(folder):
                    entries[str(parent)] = {"type": "directory", "path": str(parent), "oid": sha}
            entries[name] = {"type": "file", "path": name, "size": len(files[name]), "oid": sha}
    return entries


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MiniHub

    def log_message(self, *arguments):
        """Keep quiet; http.server would write every request to standard error."""

    def answer(self, status, body=b"", **headers):
        body = json.dumps(body).encode() if isinstance(body, dict | list) else body
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code, message):
        self.answer(status, {"error": message}, X_Error_Code=code, X_Error_Message=message)

    def snapshot(self, repo_id, revision):
        """Commit id and files at a revision, or None after an answer of 404."""
        commits = self.server.repositories.get(repo_id)
        if commits is None:
            return self.refuse(404, "RepoNotFound", "Repository not found")
        wanted = [commit for commit in commits if commit[0] == revision] if revision != "main" else commits
        return wanted[-1] if wanted else self.refuse(404, "RevisionNotFound", "Invalid rev id")

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repo_id, revision, file = found.groups()
            if not (snapshot := self.snapshot(repo_id, revision)):
                return None
            sha, files = snapshot
            if file not in files:
                return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=sha)
            etag = hashlib.sha1(files[file]).hexdigest()
            return self.answer(200, files[file], ETag=f'"{etag}"', X_Repo_Commit=sha)
        if found := re.fullmatch(
            r"/api/((?:models|datasets)/[^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?(?:/(.*))?", path
        ):
            repo_id, kind, revision, inside = found.groups()
            repo_id = repo_id.removeprefix("models/")
            if not (snapshot := self.snapshot(repo_id, revision or "main")):
                return None
            sha, files = snapshot
            if kind == "tree":
                return self.answer(200, list(entries_below(files, inside or "", sha).values()))
            siblings = [{"rfilename": name} for name in files]
            return self.answer(
                200, {"id": repo_id, "sha": sha, "private": self.server.private[repo_id], "siblings": siblings}
            )
        return self.answer(404)

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = unquote(urlsplit(self.path).path)
        if path == "/api/validate-yaml":
            metadata = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            if metadata.get("license", "other") not in LICENSES:
                return self.answer(400, b'"license" must be one of a known list')
            return self.answer(200, {"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(401, "Unauthorized", "Invalid username or password.")
        if found := re.fullmatch(r"/api/((?:models|datasets)/[^/]+/[^/]+)/paths-info/([^/]+)", path):
            if not (snapshot := self.snapshot(found[1].removeprefix("models/"), found[2])):
                return None
            entries = entries_below(snapshot[1], "", snapshot[0])
            wanted = parse_qs(body.decode())["paths"]
            return self.answer(200, [entries[name] for name in wanted if name in entries])
        if path == "/api/repos/create":
            return self.create_repository(json.loads(body))
        found = re.fullmatch(r"/api/(?:models/)?((?:datasets/)?[^/]+/[^/]+)/(preupload|commit)/main", path)
        if found is None or found[1] not in self.server.repositories:
            return self.refuse(404, "RepoNotFound", "Repository not found")
        if found[2] == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            return self.answer(
                200, {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
            )
        lines = [json.loads(line) for line in body.splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        deleted = {line["value"]["path"] for line in lines if line["key"] == "deletedFile"}
        sha = self.server.commit(found[1], files, deleted)
        address = f"{self.server.url}/{found[1]}/commit/{sha}"
        return self.answer(200, {"success": True, "commitOid": sha, "commitUrl": address, "hookOutput": ""})

    def create_repository(self, wanted):
        repo_id = f"{wanted.get('organization') or 'someone'}/{wanted['name']}"
        repo_id = f"datasets/{repo_id}" if wanted.get("type") == "dataset" else repo_id
        exists = repo_id in self.server.repositories
        if not exists:
            self.server.create(repo_id, wanted.get("visibility") == "private")
        name = repo_id.removeprefix("datasets/")
        return self.answer(409 if exists else 200, {"url": f"{self.server.url}/{repo_id}", "id": name})


@pytest.fixture(scope="package")
def mini_hub():
    """The server, listening on a free port for as long as the tests of this folder run."""
    server = MiniHub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
