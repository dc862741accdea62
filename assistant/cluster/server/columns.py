"""The columns of the built-in kinds, as `kubectl get` shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from assistant.cluster.bundle import parse_time
from assistant.cluster.server import pod_columns
from assistant.cluster.server.table import AGE, NAME, Column, Object, ago, at, duration

NONE = "<none>"


def _pairs(value: Any) -> str:
    return ",".join(f"{key}={item}" for key, item in sorted(value.items())) if value else NONE


def _selector(item: Object, now: datetime) -> str:
    selector = at("spec", "selector", default={})(item, now)
    labels = (
        selector.get("matchLabels", {}) if "matchLabels" in selector or "matchExpressions" in selector else selector
    )
    terms = [f"{key}={value}" for key, value in sorted(labels.items())]
    for term in selector.get("matchExpressions") or []:
        operator, values = str(term["operator"]).lower(), ",".join(term.get("values") or [])
        exists = {"exists": term["key"], "doesnotexist": f"!{term['key']}"}
        terms.append(exists.get(operator) or f"{term['key']} {operator} ({values})")
    return ",".join(terms) or NONE


def _containers(field: str, *path: str) -> Column:
    def cell(item: Object, now: datetime) -> str:
        found = at("spec", *path, "spec", "containers", default=[])(item, now)
        return ",".join(str(container.get(field, "")) for container in found)

    return Column("Containers" if field == "name" else "Images", cell, wide=True)


TEMPLATE = (_containers("name", "template"), _containers("image", "template"), Column("Selector", _selector, wide=True))


def _number(name: str, *path: str) -> Column:
    return Column(name, at(*path, default=0), "integer")


def _ready(item: Object, now: datetime) -> str:
    return f"{at('status', 'readyReplicas', default=0)(item, now)}/{at('spec', 'replicas', default=0)(item, now)}"


def _ports(item: Object, now: datetime) -> str:
    made = []
    for port in at("spec", "ports", default=[])(item, now):
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        made.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(made) or NONE


def _external(item: Object, now: datetime) -> str:
    spec = item.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    found = [
        str(entry.get("ip") or entry.get("hostname"))
        for entry in at("status", "loadBalancer", "ingress", default=[])(item, now)
    ]
    found += spec.get("externalIPs") or []
    return ",".join(found) or ("<pending>" if spec.get("type") == "LoadBalancer" else NONE)


def _endpoints(item: Object, now: datetime) -> str:
    found = []
    for subset in item.get("subsets") or []:
        for port in subset.get("ports") or []:
            found += [f"{address.get('ip')}:{port.get('port')}" for address in subset.get("addresses") or []]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more if found else NONE


def _listed(values: list[str], otherwise: str) -> str:
    more = f" + {len(values) - 3} more..." if len(values) > 3 else ""
    return ",".join(values[:3]) + more if values else otherwise


def _slice_ports(item: Object, now: datetime) -> str:
    return _listed([str(port.get("port", "*")) for port in item.get("ports") or []], "<unset>")


def _slice_addresses(item: Object, now: datetime) -> str:
    return _listed(
        [str(a) for endpoint in item.get("endpoints") or [] for a in endpoint.get("addresses") or []], "<unset>"
    )


def _hosts(item: Object, now: datetime) -> str:
    rules = at("spec", "rules", default=[])(item, now)
    return _listed([str(rule["host"]) for rule in rules if rule.get("host")], "*")


def _ingress_address(item: Object, now: datetime) -> str:
    return ",".join(
        str(e.get("ip") or e.get("hostname")) for e in at("status", "loadBalancer", "ingress", default=[])(item, now)
    )


def _event_seen(item: Object, now: datetime) -> str:
    last = (item.get("series") or {}).get("lastObservedTime") or item.get("lastTimestamp") or item.get("eventTime")
    return ago(last or item.get("firstTimestamp"), now)


def _event_object(item: Object, now: datetime) -> str:
    about = item.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _event_source(item: Object, now: datetime) -> str:
    source = item.get("source") or {}
    parts = [source.get("component") or item.get("reportingComponent"), source.get("host")]
    return ", ".join(str(part) for part in parts if part)


def _node_status(item: Object, now: datetime) -> str:
    conditions = at("status", "conditions", default=[])(item, now)
    ready = next((c.get("status") for c in conditions if c.get("type") == "Ready"), None)
    made = {"True": "Ready", None: "Unknown"}.get(ready, "NotReady")
    return made + (",SchedulingDisabled" if at("spec", "unschedulable", default=False)(item, now) else "")


def _node_roles(item: Object, now: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    return (
        ",".join(
            sorted(key.removeprefix(prefix) for key in item["metadata"].get("labels") or {} if key.startswith(prefix))
        )
        or NONE
    )


def _node_address(kind: str) -> Any:
    def cell(item: Object, now: datetime) -> str:
        found = at("status", "addresses", default=[])(item, now)
        return next((str(entry["address"]) for entry in found if entry.get("type") == kind), NONE)

    return cell


def _access(*path: str) -> Any:
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    return lambda item, now: ",".join(short.get(mode, mode) for mode in at(*path, default=[])(item, now))


def _claim(item: Object, now: datetime) -> str:
    claim = at("spec", "claimRef", default={})(item, now)
    return f"{claim.get('namespace')}/{claim.get('name')}" if claim else ""


def _terminating(*path: str) -> Any:
    return lambda item, now: "Terminating" if item["metadata"].get("deletionTimestamp") else at(*path)(item, now)


def _size(*fields: str) -> Any:
    return lambda item, now: sum(len(item.get(field) or ()) for field in fields)


def _role(item: Object, now: datetime) -> str:
    return f"{at('roleRef', 'kind')(item, now)}/{at('roleRef', 'name')(item, now)}"


def _metrics(item: Object, now: datetime) -> str:
    current = at("status", "currentMetrics", default=[])(item, now) or []
    made = []
    for index, metric in enumerate(at("spec", "metrics", default=[])(item, now)):
        kind = str(metric.get("type", ""))
        body = metric.get(kind[:1].lower() + kind[1:]) or {}
        target = body.get("target") or {}
        now_ = (
            ((current[index].get(kind[:1].lower() + kind[1:]) or {}).get("current") or {})
            if index < len(current)
            else {}
        )
        label = f"{body.get('name')}: " if kind == "Resource" else ""
        if "averageUtilization" in target:
            known = now_.get("averageUtilization")
            made.append(f"{label}{'<unknown>' if known is None else f'{known}%'}/{target['averageUtilization']}%")
        else:
            wanted = target.get("averageValue") or target.get("value")
            made.append(f"{label}{now_.get('averageValue') or now_.get('value') or '<unknown>'}/{wanted}")
    return _listed(made, NONE).replace(",", ", ")


def _scaled(item: Object, now: datetime) -> str:
    about = at("spec", "scaleTargetRef", default={})(item, now)
    return f"{about.get('kind', '')}/{about.get('name', '')}"


def _quota(kind: str) -> Any:
    def cell(item: Object, now: datetime) -> str:
        hard, used = at("status", "hard", default={})(item, now), at("status", "used", default={})(item, now)
        picked = (key for key in sorted(hard) if key.startswith("limits") == (kind == "limits"))
        return ", ".join(f"{key}: {used.get(key, 0)}/{hard[key]}" for key in picked)

    return cell


def _job_status(item: Object, now: datetime) -> str:
    conditions = at("status", "conditions", default=[])(item, now)
    held = {c.get("type") for c in conditions if c.get("status") == "True"}
    for kind, text in (
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
    ):
        if kind in held:
            return text
    return "Terminating" if item["metadata"].get("deletionTimestamp") else "Running"


def _job_time(item: Object, now: datetime) -> str:
    started = parse_time(at("status", "startTime")(item, now))
    ended = parse_time(at("status", "completionTime")(item, now)) or now
    return duration((ended - started).total_seconds()) if started else ""


def _completions(item: Object, now: datetime) -> str:
    done = at("status", "succeeded", default=0)(item, now)
    wanted = at("spec", "completions", default=None)(item, now)
    return (
        f"{done}/{wanted}" if wanted is not None else f"{done}/1 of {at('spec', 'parallelism', default=1)(item, now)}"
    )


def _or(cell: Any, otherwise: str) -> Any:
    return lambda item, now: cell(item, now) or otherwise


def _annotated_default(item: Object, now: datetime) -> str:
    default = (item["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    return f"{item['metadata']['name']}{' (default)' if default else ''}"


def _selectors(*path: str) -> Any:
    return lambda item, now: _pairs(at(*path, default={})(item, now))


COLUMNS: dict[tuple[str, str], list[Column]] = {
    ("", "pods"): pod_columns.COLUMNS,
    ("apps", "deployments"): [
        NAME, Column("Ready", _ready), _number("Up-to-date", "status", "updatedReplicas"),
        _number("Available", "status", "availableReplicas"), AGE, *TEMPLATE,
    ],
    ("apps", "replicasets"): [
        NAME, _number("Desired", "spec", "replicas"), _number("Current", "status", "replicas"),
        _number("Ready", "status", "readyReplicas"), AGE, *TEMPLATE,
    ],
    ("apps", "statefulsets"): [NAME, Column("Ready", _ready), AGE, *TEMPLATE[:2]],
    ("apps", "daemonsets"): [
        NAME,
        _number("Desired", "status", "desiredNumberScheduled"),
        _number("Current", "status", "currentNumberScheduled"),
        _number("Ready", "status", "numberReady"), _number("Up-to-date", "status", "updatedNumberScheduled"),
        _number("Available", "status", "numberAvailable"),
        Column("Node Selector", _selectors("spec", "template", "spec", "nodeSelector")), AGE, *TEMPLATE,
    ],
    ("batch", "jobs"): [
        NAME,
        Column("Status", _job_status),
        Column("Completions", _completions),
        Column("Duration", _job_time),
        AGE, *TEMPLATE,
    ],
    ("batch", "cronjobs"): [
        NAME, Column("Schedule", at("spec", "schedule")), Column("Timezone", at("spec", "timeZone", default=NONE)),
        Column("Suspend", lambda i, n: str(at("spec", "suspend", default=False)(i, n))),
        Column("Active", lambda i, n: len(at("status", "active", default=[])(i, n)), "integer"),
        Column("Last Schedule", lambda i, n: ago(v, n) if (v := at("status", "lastScheduleTime")(i, n)) else NONE), AGE,
    ],
    ("", "services"): [
        NAME, Column("Type", at("spec", "type")), Column("Cluster-IP", at("spec", "clusterIP", default=NONE)),
        Column("External-IP", _external), Column("Port(s)", _ports), AGE, Column("Selector", _selector, wide=True),
    ],
    ("", "endpoints"): [NAME, Column("Endpoints", _endpoints), AGE],
    ("discovery.k8s.io", "endpointslices"): [
        NAME,
        Column("AddressType", at("addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_addresses),
        AGE,
    ],
    ("networking.k8s.io", "ingresses"): [
        NAME, Column("Class", at("spec", "ingressClassName", default=NONE)), Column("Hosts", _hosts),
        Column("Address", _ingress_address),
        Column("Ports", lambda i, n: "80, 443" if at("spec", "tls")(i, n) else "80"),
        AGE,
    ],
    ("networking.k8s.io", "ingressclasses"): [
        NAME,
        Column("Controller", at("spec", "controller")),
        Column("Parameters", lambda i, n: at("spec", "parameters", "name", default=NONE)(i, n)),
        AGE,
    ],
    ("networking.k8s.io", "networkpolicies"): [
        NAME,
        Column("Pod-Selector", lambda i, n: _pairs(at("spec", "podSelector", "matchLabels", default={})(i, n))),
        AGE,
    ],
    ("", "events"): [
        Column("Last Seen", _event_seen), Column("Type", at("type")), Column("Reason", at("reason")),
        Column("Object", _event_object), Column("Subobject", at("involvedObject", "fieldPath"), wide=True),
        Column("Source", _event_source, wide=True), Column("Message", lambda i, n: str(i.get("message", "")).strip()),
        Column("First Seen", lambda i, n: ago(i.get("firstTimestamp") or i.get("eventTime"), n), wide=True),
        Column("Count", lambda i, n: (i.get("series") or {}).get("count") or i.get("count") or 1, "integer", wide=True),
        Column("Name", NAME.cell, wide=True),
    ],
    ("", "nodes"): [
        NAME, Column("Status", _node_status), Column("Roles", _node_roles), AGE,
        Column("Version", at("status", "nodeInfo", "kubeletVersion")),
        Column("Internal-IP", _node_address("InternalIP"), wide=True),
        Column("External-IP", _node_address("ExternalIP"), wide=True),
        Column("OS-Image", at("status", "nodeInfo", "osImage"), wide=True),
        Column("Kernel-Version", at("status", "nodeInfo", "kernelVersion"), wide=True),
        Column("Container-Runtime", at("status", "nodeInfo", "containerRuntimeVersion"), wide=True),
    ],
    ("", "namespaces"): [NAME, Column("Status", at("status", "phase")), AGE],
    ("", "configmaps"): [NAME, Column("Data", _size("data", "binaryData"), "integer"), AGE],
    ("", "secrets"): [NAME, Column("Type", at("type")), Column("Data", _size("data"), "integer"), AGE],
    ("", "serviceaccounts"): [NAME, Column("Secrets", _size("secrets"), "integer"), AGE],
    ("", "persistentvolumeclaims"): [
        NAME, Column("Status", _terminating("status", "phase")), Column("Volume", at("spec", "volumeName")),
        Column("Capacity", at("status", "capacity", "storage")),
        Column("Access Modes", _access("status", "accessModes")),
        Column("StorageClass", at("spec", "storageClassName")),
        Column("VolumeAttributesClass", _or(at("spec", "volumeAttributesClassName"), "<unset>")), AGE,
        Column("VolumeMode", at("spec", "volumeMode"), wide=True),
    ],
    ("", "persistentvolumes"): [
        NAME,
        Column("Capacity", at("spec", "capacity", "storage")),
        Column("Access Modes", _access("spec", "accessModes")),
        Column("Reclaim Policy", at("spec", "persistentVolumeReclaimPolicy")),
        Column("Status", _terminating("status", "phase")), Column("Claim", _claim),
        Column("StorageClass", at("spec", "storageClassName")),
        Column("VolumeAttributesClass", _or(at("spec", "volumeAttributesClassName"), "<unset>")),
        Column("Reason", at("status", "reason")), AGE, Column("VolumeMode", at("spec", "volumeMode"), wide=True),
    ],
    ("storage.k8s.io", "storageclasses"): [
        Column("Name", _annotated_default), Column("Provisioner", at("provisioner")),
        Column("ReclaimPolicy", at("reclaimPolicy", default="Delete")),
        Column("VolumeBindingMode", at("volumeBindingMode", default="Immediate")),
        Column("AllowVolumeExpansion", at("allowVolumeExpansion", default=False), "boolean"), AGE,
    ],
    ("rbac.authorization.k8s.io", "roles"): [NAME, Column("Created At", at("metadata", "creationTimestamp"), "date")],
    ("rbac.authorization.k8s.io", "clusterroles"): [
        NAME, Column("Created At", at("metadata", "creationTimestamp"), "date"),
    ],
    ("rbac.authorization.k8s.io", "rolebindings"): [NAME, Column("Role", _role), AGE],
    ("rbac.authorization.k8s.io", "clusterrolebindings"): [NAME, Column("Role", _role), AGE],
    ("autoscaling", "horizontalpodautoscalers"): [
        NAME,
        Column("Reference", _scaled),
        Column("Targets", _metrics),
        Column("MinPods", lambda i, n: str(at("spec", "minReplicas", default="<unset>")(i, n))),
        _number("MaxPods", "spec", "maxReplicas"), _number("Replicas", "status", "currentReplicas"), AGE,
    ],
    ("policy", "poddisruptionbudgets"): [
        NAME, Column("Min Available", lambda i, n: str(at("spec", "minAvailable", default="N/A")(i, n))),
        Column("Max Unavailable", lambda i, n: str(at("spec", "maxUnavailable", default="N/A")(i, n))),
        _number("Allowed Disruptions", "status", "disruptionsAllowed"), AGE,
    ],
    ("", "resourcequotas"): [NAME, Column("Request", _quota("requests")), Column("Limit", _quota("limits")), AGE],
    ("", "limitranges"): [NAME, Column("Created At", at("metadata", "creationTimestamp"), "date")],
    ("coordination.k8s.io", "leases"): [NAME, Column("Holder", at("spec", "holderIdentity")), AGE],
    ("scheduling.k8s.io", "priorityclasses"): [
        NAME, _number("Value", "value"), Column("Global-Default", at("globalDefault", default=False), "boolean"), AGE,
        Column("PreemptionPolicy", at("preemptionPolicy")),
    ],
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): [
        NAME, Column("Webhooks", _size("webhooks"), "integer"), AGE,
    ],
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): [
        NAME, Column("Webhooks", _size("webhooks"), "integer"), AGE,
    ],
    ("apiextensions.k8s.io", "customresourcedefinitions"): [
        NAME, Column("Created At", at("metadata", "creationTimestamp"), "date"),
    ],
}  # fmt: skip
