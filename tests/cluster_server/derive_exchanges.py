"""Makes `data/` from raw exchanges with a real API server and from captured bundles of the same cluster.

Run as `python tests/cluster_server/derive_exchanges.py HTTP INCIDENTS`. Only what the tests compare is kept.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "data"
NAMES = [
    "api-aggregated",
    "api-v1-resources",
    "api",
    "apis-aggregated",
    "apis-v2beta1-fallback",
    "apis",
    "dryrun-delete",
    "dryrun-json-patch",
    "dryrun-merge-patch",
    "dryrun-ssa-create",
    "dryrun-ssa-force",
    "dryrun-strategic-patch",
    "list-field-selector-events",
    "list-label-selector-bad",
    "list-partial-metadata",
    "list-table",
    "livez",
    "log-400-waiting",
    "openapi-v3-bad-hash-redirect",
    "scale-subresource",
    "ssar-allowed",
    "ssar-denied",
    "ssrr",
    "status-400-badjson",
    "status-400-continue",
    "status-400-unknown-field",
    "status-401",
    "status-403-anonymous",
    "status-403-cluster",
    "status-403-write",
    "status-403",
    "status-404-object",
    "status-404-path",
    "status-405",
    "status-406",
    "status-409-exists",
    "status-409-resourceversion",
    "status-409-ssa-conflict",
    "status-410-continue",
    "status-415",
    "status-422-immutable",
    "status-422-invalid",
    "status-422-jsonpatch-test",
    "status-429-eviction",
    "status-504-rv-too-large",
    "version",
    "warning-unknown-field",
    "watch-410",
    "watch-sendinitialevents",
    "watch-table",
]
NAMESPACED = {
    "01-shop-checkout": "shop-checkout",
    "10-search-api": "search-api",
    "07-storefront-web": "storefront-web",
    "24-ledger": "ledger",
    "33-platform-sync": "platform-sync",
}
CLUSTERWIDE = ("namespaces", "clusterroles", "clusterrolebindings", "resources", "groups", "nodes")


def request(text: str) -> dict[str, Any]:
    """Read one NAME.req."""
    head, _, rest = text.partition("\n")
    method, target, note = re.match(r"(\S+) (.+?) HTTP/2\s*(.*)", head).groups()  # type: ignore[union-attr]
    args = rest.partition("curl args:")[2]
    body = re.search(r"(?:^|\s)(?:-d|--data-binary) (.*)", args, re.DOTALL)
    headers = dict(
        item.split(": ", 1)
        for item in re.findall(
            r"-H (.+?)(?=\s-[dH] |\s--data-binary |$)", args[: body.start()] if body else args.rstrip()
        )
    )
    token = re.search(r"Bearer token of (\S+?);", rest)
    user = token[1] if token else ""
    auth = "none" if "no credentials" in note else "bad" if "invalid bearer" in note else user
    return {"method": method, "target": target, "headers": headers, "auth": auth,
            "body": body[1].rstrip("\n") if body else ""}  # fmt: skip


def main(http: Path, incidents: Path) -> None:
    """Write exchanges.json.gz and recorded.tar.gz."""
    made = []
    for name in NAMES:
        head = (http / f"{name}.headers").read_text()
        fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
        kept = ("content-type", "warning", "location", "retry-after", "date")
        body = http / f"{name}.body"
        made.append(
            {
                "name": name,
                **request((http / f"{name}.req").read_text()),
                "status": int(head.split()[1]),
                "answer_headers": {key: fields[key].strip() for key in kept if key in fields},
                "answer": body.read_text() if body.exists() else "",
            }
        )
    (HERE / "exchanges.json.gz").write_bytes(gzip.compress(json.dumps(made).encode(), 9, mtime=0))
    files: dict[str, Any] = {}
    for incident, namespace in NAMESPACED.items():
        root = incidents / incident / "bundle" / "cluster-resources"
        for path in sorted(root.glob(f"*/{namespace}.json")):
            if path.parent.name not in ("leases", "endpoints"):
                files[str(path.relative_to(root))] = json.loads(path.read_text())
        for path in sorted(root.glob(f"pods/logs/{namespace}/*/*.log")):
            files[str(path.relative_to(root))] = path.read_text()
        for name in CLUSTERWIDE:
            known = files.get(f"{name}.json")
            files[f"{name}.json"] = json.loads((root / f"{name}.json").read_text())
            if name == "namespaces":
                files["namespaces.json"] += known or [{"metadata": {"name": "default"}}]
    rights(files)
    as_they_were(http, files)
    with (
        (HERE / "recorded.tar.gz").open("wb") as out,
        gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        version = (incidents / "01-shop-checkout/bundle/cluster-info/cluster_version.json").read_text()
        add(archive, "recorded/cluster-info/cluster_version.json", version)
        stamp = 'kind: SupportBundle\nmetadata: {creationTimestamp: "2026-11-23T08:02:08Z"}\n'
        add(archive, "recorded/version.yaml", stamp)
        for name, value in sorted(files.items()):
            text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            add(archive, f"recorded/cluster-resources/{name}", text)


def add(archive: tarfile.TarFile, name: str, text: str) -> None:
    """Add a file without owner and time."""
    entry = tarfile.TarInfo(name)
    entry.size = len(text.encode())
    archive.addfile(entry, io.BytesIO(text.encode()))


def rights(files: dict[str, Any]) -> None:
    """Keep the recorded rights of one namespace: they are the same everywhere."""
    names = [name for name in files if name.startswith("auth-cani-list/")]
    for name in names[1:]:
        del files[name]


def as_they_were(http: Path, files: dict[str, Any]) -> None:
    """Put the objects into the state that they had when the exchanges were recorded."""

    def body(name: str) -> Any:
        return json.loads((http / f"{name}.body").read_text())

    lines = (http / "watch-sendinitialevents.body").read_text().splitlines()
    pods = [json.loads(line)["object"] for line in lines if '"ADDED"' in line[:20]]
    files["pods/shop-checkout.json"] = {"kind": "PodList", "apiVersion": "v1", "items": pods}
    events = files["events/shop-checkout.json"]
    normal = [item for item in events["items"] if item["type"] == "Normal"]
    events["items"] = [*normal, *body("list-field-selector-events")["items"]]
    deployment = copy.deepcopy(body("dryrun-ssa-force"))
    deployment["spec"]["replicas"] = 2
    deployment["metadata"]["generation"] = 1
    entries = [entry for entry in deployment["metadata"]["managedFields"] if entry["manager"] != "assistant"]
    first = next(entry for entry in entries if entry["manager"] == "kubectl-client-side-apply")
    first["fieldsV1"]["f:spec"]["f:replicas"] = {}
    deployment["metadata"]["managedFields"] = entries
    settings = copy.deepcopy(body("dryrun-merge-patch"))
    settings["data"]["DB_POOL_SIZE"] = "twenty"
    entries = [entry for entry in settings["metadata"]["managedFields"] if entry["manager"] != "assistant"]
    entries[0]["fieldsV1"]["f:data"]["f:DB_POOL_SIZE"] = {}
    settings["metadata"]["managedFields"] = entries
    search = copy.deepcopy(body("dryrun-json-patch"))
    search["metadata"]["generation"] = 1
    search["metadata"]["managedFields"] = [e for e in search["metadata"]["managedFields"] if e["manager"] != "curl"]
    container = search["spec"]["template"]["spec"]["containers"][0]
    original = next(
        item for item in files["deployments/search-api.json"]["items"] if item["metadata"]["name"] == "search"
    )
    container["livenessProbe"] = original["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    for entry in search["metadata"]["managedFields"]:
        if entry["manager"] == "kubectl-client-side-apply":
            probe = entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"search"}']
            probe["f:livenessProbe"]["f:httpGet"]["f:path"] = {}
    for kind, item in (("deployments", deployment), ("configmaps", settings), ("deployments", search)):
        listed = files[f"{kind}/{item['metadata']['namespace']}.json"]
        name = item["metadata"]["name"]
        listed["items"] = [other for other in listed["items"] if other["metadata"]["name"] != name] + [item]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
