"""What can be wrong with a bundle, and what may be missing from one."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from assistant.cluster import bundle_files
from assistant.cluster.bundle import read_bundle
from assistant.errors import BundleError
from tests.cluster_server.conftest import PRACTICE, RECORDED

POD = {"metadata": {"name": "a", "namespace": "n"}, "spec": {"containers": [{"name": "c"}]}}


def archive(path: Path, entries: dict[str, bytes | str | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as made:
        for name, data in entries.items():
            if isinstance(data, tarfile.TarInfo):
                made.addfile(data)
                continue
            entry = tarfile.TarInfo(name)
            raw = data.encode() if isinstance(data, str) else data
            entry.size = len(raw)
            made.addfile(entry, io.BytesIO(raw))
    return path


def folder(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def refusal(path: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    assert caught.value.meaning and caught.value.hint and caught.value.exit_code == 4
    return caught.value


def test_folder_and_archive_of_the_same_bundle_are_read_alike(tmp_path: Path) -> None:
    with tarfile.open(RECORDED) as packed:
        packed.extractall(tmp_path, filter="data")
    unpacked, packed_bundle = read_bundle(tmp_path / "recorded"), read_bundle(RECORDED)
    assert unpacked.objects == packed_bundle.objects
    assert unpacked.captured_at == packed_bundle.captured_at
    assert unpacked.logs.keys() == packed_bundle.logs.keys()


@pytest.mark.parametrize(
    "path", sorted(PRACTICE.glob("*/*.tar.gz")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_every_shipped_bundle_is_read(path: Path) -> None:
    bundle = read_bundle(path)
    assert bundle.name == path.parent.name
    assert len(bundle.namespaces) == 1 and bundle.rights and bundle.resources
    assert all(item["apiVersion"] and item["kind"] and item["metadata"]["uid"] for item in bundle.objects)


def test_missing_path_is_refused(tmp_path: Path) -> None:
    assert "no bundle" in refusal(tmp_path / "none").meaning


def test_empty_folder_and_foreign_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert "empty" in refusal(tmp_path / "a").meaning
    assert "not a support bundle" in refusal(folder(tmp_path / "b", {"README.md": "hello"})).meaning


def test_bundle_without_objects_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, {"cluster-resources/pods/n.json": '{"kind": "PodList", "apiVersion": "v1", "items": null}'})
    assert "no objects" in refusal(path).meaning


def test_text_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(b"this is not a tar archive" * 100)
    assert "not a tar archive" in refusal(path).meaning


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_archive_cut_anywhere_is_refused_as_truncated(tmp_path: Path, share: float) -> None:
    whole = RECORDED.read_bytes()
    path = tmp_path / "cut.tar.gz"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "truncated" in refusal(path).meaning


def test_broken_json_names_its_file(tmp_path: Path) -> None:
    error = refusal(folder(tmp_path, {"cluster-resources/pods/n.json": '{"kind": "PodList", "items": ['}))
    assert "cluster-resources/pods/n.json" in error.meaning


@pytest.mark.parametrize("text", ['"text"', '{"a": 1}', "[1, 2]", '[{"metadata": {}}]', '[{"metadata": {"name": 3}}]'])
def test_nonsense_in_a_known_file_is_refused(tmp_path: Path, text: str) -> None:
    assert "pods/n.json" in refusal(folder(tmp_path, {"cluster-resources/pods/n.json": text})).meaning


@pytest.mark.parametrize("name", ["../evil.json", "/etc/evil.json", "a/../../evil.json", "a\\..\\evil.json"])
def test_path_out_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    good = {"cluster-resources/pods/n.json": json.dumps([POD])}
    assert "outside" in refusal(archive(tmp_path / "x.tar.gz", {**good, name: "{}"})).meaning


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_link_or_device_in_the_archive_is_refused(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("cluster-resources/nodes.json")
    entry.type, entry.linkname = kind, "/etc/passwd"
    assert "link or a device" in refusal(archive(tmp_path / "x.tar.gz", {"link": entry})).meaning


def test_link_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder(tmp_path, {"cluster-resources/pods/n.json": json.dumps([POD])})
    (tmp_path / "cluster-resources/nodes.json").symlink_to("/etc/passwd")
    assert "link" in refusal(tmp_path).meaning


def test_bomb_is_stopped_by_its_declared_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_files, "MAX_FILE_BYTES", 1000)
    path = archive(tmp_path / "x.tar.gz", {"cluster-resources/pods/n.json": b"0" * 2000})
    assert "too large" in refusal(path).meaning
    monkeypatch.setattr(bundle_files, "MAX_FILES", 1)
    path = archive(tmp_path / "y.tar.gz", {"cluster-resources/a.json": "[]", "cluster-resources/b.json": "[]"})
    assert "more than 1 files" in refusal(path).meaning


def test_items_without_kind_get_it_from_where_they_are(tmp_path: Path) -> None:
    bundle = read_bundle(folder(tmp_path, {
        "cluster-resources/pods/n.json": json.dumps([POD]),
        "cluster-resources/pvcs/n.json": json.dumps({"items": [{"metadata": {"name": "b", "namespace": "n"}}]}),
        "cluster-resources/custom-resources/things.example.com/n.yaml":
            "- apiVersion: example.com/v1\n  kind: Thing\n  metadata: {name: t, namespace: n}\n",
        "cluster-resources/pods-errors.json": '["forbidden"]',
        "some-other-collector.json": "not json at all",
    }))  # fmt: skip
    found = {(item["apiVersion"], item["kind"], item["metadata"]["name"]) for item in bundle.objects}
    assert found == {("v1", "Pod", "a"), ("v1", "PersistentVolumeClaim", "b"), ("example.com/v1", "Thing", "t")}
    assert bundle.rights == {} and bundle.resources == () and bundle.version == {}


def test_secret_is_known_by_name_and_keys_and_its_value_says_that_it_is_hidden(tmp_path: Path) -> None:
    bundle = read_bundle(folder(tmp_path, {
        "cluster-resources/pods/n.json": json.dumps([POD]),
        "secrets/n/db.json": json.dumps(
            {"namespace": "n", "name": "db", "secretExists": True, "data": {"url": "***HIDDEN***"}}),
        "secrets/n/gone.json": json.dumps({"namespace": "n", "name": "gone", "secretExists": False}),
        "secrets/n/key/token.json": json.dumps(
            {"namespace": "n", "name": "key", "secretExists": True, "key": "token", "keyExists": True}),
    }))  # fmt: skip
    secrets = {item["metadata"]["name"]: item["data"] for item in bundle.objects if item["kind"] == "Secret"}
    hidden = base64.b64encode(b"***HIDDEN***").decode()
    assert secrets == {"db": {"url": hidden}, "key": {"token": hidden}}


def test_log_that_could_not_be_read_is_a_failure_and_not_a_text() -> None:
    bundle = read_bundle(RECORDED)
    key = next(key for key, path in bundle.logs.items() if path.endswith("-logs-errors.log"))
    log = bundle.log(*key)
    assert log is not None and log.text == b"" and "is waiting to start" in log.failure
    assert bundle.log("nowhere", "a", "b", False) is None


def test_gzip_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(b"hello" * 1000))
    assert refusal(path).code == "bundle"
