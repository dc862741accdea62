"""Custom resources: Gateway API, Kueue, Metal3, devices (DRA), and any object whose conditions say that it is not well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import workload_of
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView, Thing

GATEWAY, KUEUE, METAL = "gateway.networking.k8s.io", "kueue.x-k8s.io", "metal3.io"
GOOD_WHEN_TRUE = frozenset({
    "Ready", "Available", "Accepted", "Programmed", "ResolvedRefs", "Active", "Established", "Healthy", "Synced", "Valid",
    "Reconciled", "PredictorReady", "IngressReady", "HeadPodReady", "PoolFound", "AppDispatched", "AppReady", "Progressing", "Succeeded",
})  # fmt: skip
BAD_WHEN_TRUE = frozenset({"Failed", "Degraded", "Stalled", "Conflicted", "Error", "ReplicaFailure", "PartiallyInvalid"})
BUILT_IN = re.compile(r"^(v1|apps/|batch/|autoscaling/|policy/|networking\.k8s\.io|storage\.k8s\.io|rbac|discovery|coordination|admission|events|"
                      r"node\.k8s|flowcontrol|certificates|scheduling|resource\.k8s|apiextensions|internal)")  # fmt: skip


def analyze(view: ClusterView) -> list[Draft]:
    """Return what the custom resources of the view say, the known kinds first."""
    found = _routes(view) + _queues(view) + _hosts(view) + _devices(view) + _apis(view)
    known = {k for d in found for k in d.about}
    for resource in view.resources:
        for thing in view.all(resource):
            if thing.key not in known and not BUILT_IN.match(thing.api_version) and not thing.deleting:
                found += _generic(view, thing)
    return found


def _conditions(thing: Thing) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every condition with its path: of the object, of route parents, of gateway listeners."""
    for i, condition in enumerate(thing.rows("status.conditions")):
        yield f"status.conditions[{i}]", condition
    for group in ("parents", "ancestors", "listeners"):
        for i, part in enumerate(thing.rows(f"status.{group}")):
            for j, condition in enumerate(rows(part.get("conditions"))):
                yield f"status.{group}[{i}].conditions[{j}]", condition


def _bad(thing: Thing) -> list[tuple[str, Mapping[str, Any]]]:
    return [(p, c) for p, c in _conditions(thing)
            if c.get("status") == "False" and c.get("type") in GOOD_WHEN_TRUE or c.get("status") == "True" and c.get("type") in BAD_WHEN_TRUE]  # fmt: skip


def _routes(view: ClusterView) -> list[Draft]:
    found = []
    for kind in ("httproutes", "grpcroutes", "tlsroutes", "tcproutes", "udproutes"):
        for route in view.all(f"{kind}.{GATEWAY}"):
            key = frozenset({route.key})
            bad = _bad(route)
            for i, rule in enumerate(route.rows("spec.rules")):
                for j, back in enumerate(rows(rule.get("backendRefs"))):
                    place, name = f"spec.rules[{i}].backendRefs[{j}]", text(back.get("name"))
                    home = text(back.get("namespace")) or route.namespace
                    if back.get("kind", "Service") != "Service" or not view.complete("services", home):
                        continue
                    service = view.find("Service", home, name)
                    cited = [view.cite(route, p) for p, c in bad if c.get("type") == "ResolvedRefs"][:1]
                    ports = [p.get("port") for p in service.rows("spec.ports")] if service is not None else []
                    if service is None:
                        near = nearest(name, [s.name for s in view.all("services", home)])
                        fixes = [set_path(route, f"{place}.name", near, f"Send traffic to Service {near}", "that Service exists")] if near else []
                        fixes.append(outside(f"Or create Service {name}", "right if the name is meant"))
                        field, why = f"{place}.name", f"Service {name}, which does not exist" + (f" ({near} does)" if near else "")
                    elif ports and back.get("port") not in ports:
                        field, why = f"{place}.port", f"port {back.get('port')} of Service {name}, which serves {', '.join(map(str, ports))}"
                        fixes = [set_path(route, field, ports[0], f"Use port {ports[0]}", "the Service serves that port")]
                        cited.append(view.cite(service, "spec.ports"))
                    else:
                        continue
                    found.append(Draft("gateway-api", route.target, field, f"{route.kind} {route.name} sends traffic to {why}.", 0.95, Level.OBJECT,
                                       (view.cite(route, field), *cited), key, key, tuple(fixes)))  # fmt: skip
            for i, parent in enumerate(route.rows("spec.parentRefs")):
                home, name = text(parent.get("namespace")) or route.namespace, text(parent.get("name"))
                if parent.get("kind", "Gateway") == "Gateway" and view.complete(f"gateways.{GATEWAY}", home) and view.find("Gateway", home, name) is None:
                    near = nearest(name, [g.name for g in view.all(f"gateways.{GATEWAY}", home)])
                    field = f"spec.parentRefs[{i}].name"
                    fixes = [set_path(route, field, near, f"Attach it to Gateway {near}", "that Gateway exists")] if near else []
                    found.append(Draft("gateway-api", route.target, field, f"{route.kind} {route.name} is attached to Gateway {name}, which does not exist.", 0.93, Level.OBJECT,
                                       (view.cite(route, field),), key, key, tuple(fixes)))  # fmt: skip
    for gateway in view.all(f"gateways.{GATEWAY}"):
        name = gateway.text("spec.gatewayClassName")
        classes = [c.name for c in view.all(f"gatewayclasses.{GATEWAY}")]
        if name and view.complete(f"gatewayclasses.{GATEWAY}") and name not in classes:
            near = nearest(name, classes) or (classes[0] if len(classes) == 1 else "")
            fixes = [set_path(gateway, "spec.gatewayClassName", near, f"Use class {near}", "that class exists")] if near else []
            found.append(Draft("gateway-api", gateway.target, "spec.gatewayClassName", f"Gateway {gateway.name} asks for class {name}, which does not exist.", 0.93, Level.OBJECT,
                               (view.cite(gateway, "spec.gatewayClassName"),), frozenset({gateway.key}), frozenset({gateway.key}), tuple(fixes)))  # fmt: skip
    return found


def _queues(view: ClusterView) -> list[Draft]:
    """Follow a held-back workload up: local queue, cluster queue, flavor."""
    found = []
    used = {q.text("spec.clusterQueue") for q in view.all(f"localqueues.{KUEUE}")}
    waiting = [w for w in view.all(f"workloads.{KUEUE}") if w.condition("Admitted").get("status") != "True" and w.condition("Finished").get("status") != "True"]
    held = frozenset({w.key for w in waiting} | {k for w in waiting if (o := view.owner(w)) is not None for k in (o.key,)} | {q.key for q in view.all(f"localqueues.{KUEUE}")})
    flavors = [f.name for f in view.all(f"resourceflavors.{KUEUE}")]
    for queue in view.all(f"clusterqueues.{KUEUE}"):
        if queue.name not in used:
            continue
        for i, group in enumerate(queue.rows("spec.resourceGroups")):
            for j, flavor in enumerate(rows(group.get("flavors"))):
                name, field = text(flavor.get("name")), f"spec.resourceGroups[{i}].flavors[{j}].name"
                if name and view.complete(f"resourceflavors.{KUEUE}") and name not in flavors:
                    near = nearest(name, flavors) or (flavors[0] if len(flavors) == 1 else "")
                    fixes = [set_path(queue, field, near, f"Use flavor {near}", "that flavor exists; check that its nodes are the ones meant")] if near else []
                    fixes.append(outside(f"Or create ResourceFlavor {name}", "right if nodes of that kind exist"))
                    active = [p for p, c in _bad(queue) if c.get("type") == "Active"]
                    found.append(Draft("kueue", queue.target, field, f"ClusterQueue {queue.name} is inactive: ResourceFlavor {name} does not exist.", 0.95, Level.OBJECT,
                                       (view.cite(queue, field, *active),), frozenset({queue.key}), held | {queue.key}, tuple(fixes)))  # fmt: skip
        if queue.text("spec.stopPolicy") not in ("", "None"):
            fix = set_path(queue, "spec.stopPolicy", "None", f"Let ClusterQueue {queue.name} admit work again", "ask who stopped it")
            found.append(Draft("kueue", queue.target, "spec.stopPolicy", f"ClusterQueue {queue.name} is stopped ({queue.text('spec.stopPolicy')}).", 0.93, Level.OBJECT,
                               (view.cite(queue, "spec.stopPolicy"),), frozenset({queue.key}), held | {queue.key}, (fix,)))  # fmt: skip
    for local in view.all(f"localqueues.{KUEUE}"):
        name = local.text("spec.clusterQueue")
        if view.complete(f"clusterqueues.{KUEUE}") and view.find("ClusterQueue", "", name) is None:
            found.append(Draft("kueue", local.target, "spec.clusterQueue", f"LocalQueue {local.name} names ClusterQueue {name}, which does not exist.", 0.93, Level.OBJECT,
                               (view.cite(local, "spec.clusterQueue"),), frozenset({local.key}), held,
                               (outside("Make the LocalQueue again with a ClusterQueue that exists", "the field cannot be changed in place"),)))  # fmt: skip
    for work in waiting:
        reserved = work.condition("QuotaReserved")
        index = next((i for i, c in enumerate(work.rows("status.conditions")) if c.get("type") == "QuotaReserved"), 0)
        if reserved.get("status") == "False":
            queue_name = work.text("spec.queueName")
            queue2 = view.find("LocalQueue", work.namespace, queue_name)
            cluster = view.find("ClusterQueue", "", queue2.text("spec.clusterQueue")) if queue2 is not None else None
            target, field = (cluster.target, "spec.resourceGroups") if cluster is not None else (work.target, "spec.queueName")
            found.append(Draft("kueue", target, field, f"Workload {work.name} waits in its queue: {text(reserved.get('message'))[:160]}.", 0.7, Level.TRAFFIC,
                               (view.cite(work, f"status.conditions[{index}]"),), frozenset({work.key}), frozenset({work.key}),
                               (outside("Wait, ask for less, or raise the queue's quota", "the queue has no room"),)))  # fmt: skip
    return found


def _hosts(view: ClusterView) -> list[Draft]:
    found = []
    for host in view.all(f"baremetalhosts.{METAL}"):
        message, kind = host.text("status.errorMessage"), host.text("status.errorType")
        key = frozenset({host.key})
        if not message and not kind:
            continue
        cited = (view.cite(host, "status.errorType", "status.errorMessage", "spec.bmc"),)
        secret = view.find("Secret", host.namespace, host.text("spec.bmc.credentialsName"))
        if re.search(r"401|403|invalid user|password|unauthori[sz]ed|credential", message, re.IGNORECASE):
            target = secret.target if secret is not None else host.target
            field = "data.username/password" if secret is not None else "spec.bmc.credentialsName"
            found.append(Draft("baremetal", target, field, f"BareMetalHost {host.name} has a {kind}: its BMC refuses the credentials of Secret {host.text('spec.bmc.credentialsName')}.",
                               0.93, Level.OBJECT, cited, key, key, (outside("Put the BMC's valid user and password into that Secret (or reset the account on the BMC)",
                               "only the owner of the machine knows them"),)))  # fmt: skip
        else:
            field = "spec.bmc.address" if re.search(r"timeout|refused|resolve|unreachable|certificate|address", message, re.IGNORECASE) and "registration" in kind else (
                "spec.rootDeviceHints" if "hints" in message else "spec.image" if "provisioning" in kind else "status.errorMessage")  # fmt: skip
            found.append(Draft("baremetal", host.target, field, f"BareMetalHost {host.name} has a {kind or 'fault'}: {message[:160]}.", 0.85, Level.OBJECT, cited, key, key,
                               (outside("Mend what the message names at the machine or in the host's spec, and be patient: it is tried again", "deleting the host by force leaves a stale record"),)))  # fmt: skip
    return found


def _devices(view: ClusterView) -> list[Draft]:
    found: dict[str, Draft] = {}
    classes = [c.name for c in view.all("deviceclasses.resource.k8s.io")]
    slices = view.all("resourceslices.resource.k8s.io")
    for pod in view.all("pods"):
        claims = pod.rows("spec.resourceClaims")
        if not claims or pod.text("spec.nodeName") or pod.deleting:
            continue
        workload = workload_of(view, pod)
        event = next((e for e in view.events_of(pod) if "Sched" in e.text("reason") or "ResourceClaim" in e.text("reason")), None)
        base = [view.cite(event, "message")] if event is not None else []
        for claim in claims:
            template, named = text(claim.get("resourceClaimTemplateName")), text(claim.get("resourceClaimName"))
            kind, resource = ("ResourceClaimTemplate", "resourceclaimtemplates") if template else ("ResourceClaim", "resourceclaims")
            holder = view.find(kind, pod.namespace, template or named)
            index = next((i for i, c in enumerate(rows(workload.spec.get("resourceClaims"))) if c.get("name") == claim.get("name")), 0)
            if holder is None:
                if view.complete(f"{resource}.resource.k8s.io", pod.namespace):
                    field = f"{workload.template}.resourceClaims[{index}].resourceClaim{'Template' if template else ''}Name"
                    near = nearest(template or named, [t.name for t in view.all(f"{resource}.resource.k8s.io", pod.namespace)])
                    fixes = [set_path(workload.thing, field, near, f"Use {kind} {near}", "that one exists")] if near else []
                    found[field] = Draft("dra", workload.thing.target, field, f"{workload.name()} names {kind} {template or named}, which does not exist.", 0.95, Level.WORKLOAD,
                                         (*base, view.cite(workload.thing, field)), workload.keys, workload.keys, tuple(fixes))  # fmt: skip
                continue
            spec = "spec.spec" if template else "spec"
            for i, request in enumerate(holder.rows(f"{spec}.devices.requests")):
                inner = "exactly." if request.get("exactly") else ""
                field = f"{spec}.devices.requests[{i}].{inner}deviceClassName"
                name = holder.text(field)
                if name and name not in classes and view.complete("deviceclasses.resource.k8s.io"):
                    near = nearest(name, classes) or (classes[0] if len(classes) == 1 else "")
                    fixes = [outside(f"Install the driver that provides DeviceClass {name}", "right if such devices exist")]
                    if near:
                        fixes.insert(0, set_path(holder, field, near, f"Ask for DeviceClass {near}", "that class exists; check that its devices do"))
                    why = f"DeviceClass {name} does not exist"
                elif name and not slices:
                    field, fixes = f"{spec}.devices.requests[{i}]", [outside("Look at the DRA driver: no node publishes a ResourceSlice", "devices are published by drivers")]
                    why = "no driver publishes any device (there is no ResourceSlice)"
                else:
                    field, fixes = f"{spec}.devices.requests[{i}]", [outside("Free such a device, or ask for another one", "the devices that match are taken, tainted or absent")]
                    why = f"no free device matches its request for {name}"
                found.setdefault(holder.key, Draft("dra", holder.target, field, f"{workload.name()} gets no device: {why}.", 0.95 if "exist" in why else 0.8, Level.OBJECT,
                                                   (view.cite(holder, field), *base), workload.keys | {holder.key}, workload.keys | {c.key for c in view.all("resourceclaims.resource.k8s.io", pod.namespace)}, tuple(fixes)))  # fmt: skip
    return list(found.values())


def _apis(view: ClusterView) -> list[Draft]:
    found = []
    for service in view.all("apiservices.apiregistration.k8s.io"):
        bad = next((i for i, c in enumerate(service.rows("status.conditions")) if c.get("type") == "Available" and c.get("status") == "False"), None)
        if bad is not None:
            said = service.text(f"status.conditions[{bad}].message")
            fixes: list[Fix] = [outside("Mend the Service and pods behind this API", "the API server only passes requests on")]
            found.append(Draft("other", service.target, "status.conditions[Available]", f"API {service.name} is not available: {said[:140]}.", 0.9, Level.PLATFORM,
                               (view.cite(service, f"status.conditions[{bad}]"),), frozenset({service.key}), frozenset({service.key}), tuple(fixes), note=bool(view.namespace)))  # fmt: skip
    return found


CATEGORIES = ((GATEWAY, "gateway-api"), ("inference.networking", "gateway-api"), (KUEUE, "kueue"), (METAL, "baremetal"), ("openyurt", "edge"), ("cert-manager", "tls"))


def _generic(view: ClusterView, thing: Thing) -> list[Draft]:
    bad = _bad(thing)
    if not bad or thing.resource.startswith(("workloads.kueue", "localqueues.kueue", "clusterqueues.kueue")):
        return []
    path, condition = bad[0]
    category = next((c for words, c in CATEGORIES if words in thing.api_version), "other")
    stale = condition.get("observedGeneration")
    old = isinstance(stale, int) and 0 < stale < thing.number("metadata.generation")
    said = f"{text(condition.get('type'))} is {text(condition.get('status'))} ({text(condition.get('reason'))}): {text(condition.get('message'))[:140]}"
    key = frozenset({thing.key})
    return [Draft(category, thing.target, path, f"{thing.kind} {thing.name}: {said}" + (" (said of an older version of the object)" if old else "") + ".", 0.5 if old else 0.75,
                  Level.TRAFFIC, (view.cite(thing, path),), key, key, (outside("Act on what its controller says", "the object itself says what is wrong"),),
                  note=bool(view.namespace) and not thing.namespace)]  # fmt: skip
