"""Images that cannot be pulled: wrong name or tag, no right to pull, registry out of reach, wrong platform."""

from __future__ import annotations

import difflib
import json
import re

from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import Container, Workload, previous_good
from assistant.domain.evidence import Citation
from assistant.domain.raw import rows, text, texts
from assistant.domain.view import ClusterView, Thing

REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
        "ErrImageInspect",
    }
)
DENIED = re.compile(
    r"unauthorized|401|403|access denied|authorization failed|insufficient_scope|no basic auth|denied:|forbidden|"
    r"authentication required",
    re.IGNORECASE,
)
ABSENT = re.compile(r"not found|manifest unknown|does not exist|name unknown|notfound|404", re.IGNORECASE)
AWAY = re.compile(r"no such host|dial tcp|i/o timeout|connection refused|server misbehaving|timeout|eof", re.IGNORECASE)
PLATFORM = re.compile(r"no match for platform|no matching manifest|exec format", re.IGNORECASE)
LIMITED = re.compile(r"toomanyrequests|429|rate limit", re.IGNORECASE)
UNTRUSTED = re.compile(r"x509|HTTP response to HTTPS client|certificate signed by unknown authority", re.IGNORECASE)
SECRET_TYPES = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")


def cause(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return why a container's image is not there, None where the image is not the trouble."""
    if container.reason not in REASONS:
        return None
    image = text(container.spec.get("image"))
    pod = container.pod
    pulls = [e for e in view.events_of(pod) if image in e.text("message") and "Failed to pull" in e.text("message")]
    message = text(container.waiting.get("message")) + " " + (pulls[0].text("message") if pulls else "")
    cited = [
        view.cite(
            pod,
            f"spec.{'initContainers' if container.init else 'containers'}[{container.name}].image",
            f"{container.status_path}.state.waiting",
        )
    ]
    if pulls:
        cited.append(view.cite(pulls[0], "message"))
    field, why, fixes, sure = _why(view, workload, container, image, message)
    cited += [where for fix in fixes if (where := source_of(view, offered(fix))) is not None]
    target, keys, level = workload.thing.target, workload.keys, Level.WORKLOAD
    if field.endswith("imagePullSecrets"):
        holder, lacking = _pull_secret(view, workload)
        if lacking:
            why = f"{image} needs a login, and the pull secret {lacking} (imagePullSecrets) does not exist"
            note = next((e for e in view.events_of(pod) if e.text("reason") == "FailedToRetrieveImagePullSecret"), None)
            cited += [view.cite(note, "message")] if note is not None else []
        elif holder is not None:
            why = f"the registry refuses the credentials in Secret {holder.name} (imagePullSecrets) for {image}"
            cited += [view.cite(holder, "metadata.name"), view.cite(workload.thing, field)]
            target, keys, level, field = holder.target, keys | {holder.key}, Level.OBJECT, "data['.dockerconfigjson']"
    return Draft(
        "image",
        target,
        field,
        f"{workload.name()} cannot start: {why}.",
        sure,
        level,
        tuple(cited),
        keys,
        workload.keys,
        tuple(fixes),
    )


def _pull_secret(view: ClusterView, workload: Workload) -> tuple[Thing | None, str]:
    """Return the pull secret in use that exists, and the name of one that does not: own ones, then the account's."""
    namespace = workload.thing.namespace
    account = view.find("ServiceAccount", namespace, text(workload.spec.get("serviceAccountName")) or "default")
    given = rows(workload.spec.get("imagePullSecrets")) or (account.rows("imagePullSecrets") if account else [])
    names = [text(r.get("name")) for r in given]
    told = any(e.text("reason") == "FailedToRetrieveImagePullSecret" for p in workload.pods for e in view.events_of(p))
    found = [view.find("Secret", namespace, n) for n in names]
    lacking = [n for n, s in zip(names, found, strict=True) if s is None]
    sure = told or view.all("secrets", namespace)
    return next((s for s in found if s is not None), None), lacking[0] if lacking and sure else ""


def _why(
    view: ClusterView, workload: Workload, container: Container, image: str, message: str
) -> tuple[str, str, list[Fix], float]:
    thing, field = workload.thing, f"{container.path or 'spec.containers[0]'}.image"
    repository, _tag = split(image)
    if container.reason == "ErrImageNeverPull":
        policy = f"{container.path}.imagePullPolicy"
        fix = set_path(thing, policy, "IfNotPresent", "Let the kubelet pull the image", "the image is not on the node")
        return policy, f"imagePullPolicy is Never and {image} is not on the node", [fix], 0.95
    if container.reason == "InvalidImageName":
        lower = image.lower()
        fixes = (
            []
            if lower == image
            else [set_path(thing, field, lower, f"Use {lower}", "names of repositories are written in lower case")]
        )
        return field, f'"{image}" is not a valid image name', [*fixes, *_other(view, workload, container, image)], 0.95
    if LIMITED.search(message):
        note = outside("Log in to the registry, use a mirror, or wait: it limits pulls", "the image itself is right")
        return field, f"the registry limits pulls of {image}", [note], 0.85
    if PLATFORM.search(message):
        note = outside(f"Build {image} for the nodes' platform", "no image of another platform can run here")
        return field, f"{image} is not built for the node's platform", [note], 0.9
    if DENIED.search(message) and not (ABSENT.search(message) and _known(view, image, repository)):
        fixes = _secrets(view, workload)
        place = f"{workload.template}.imagePullSecrets"
        return (
            place,
            f"the registry refuses to hand out {image} without valid credentials (imagePullSecrets)",
            fixes,
            0.9,
        )
    if UNTRUSTED.search(message):
        host = repository.split("/")[0]
        note = outside(
            f"Let the nodes' container runtime trust {host}, or name it so that it is asked over TLS",
            "the runtime refuses to talk to it",
        )
        return field, f"the nodes do not trust the registry {host} of {image}", [note], 0.85
    if ABSENT.search(message):
        near = _other(view, workload, container, image)
        return field, f"the image {image} does not exist in the registry", near, 0.95
    if AWAY.search(message):
        host = repository.split("/")[0]
        near = _other(view, workload, container, image)
        note = outside(f"Check that the nodes can reach {host}", "the nodes cannot reach the registry")
        return field, f"the registry {host} of {image} cannot be reached", [*near, note], 0.8
    return field, f"the image {image} cannot be pulled", _other(view, workload, container, image), 0.75


def _known(view: ClusterView, image: str, repository: str) -> bool:
    """Say whether another image of this repository, or of one with nearly its name, is known to exist."""
    known = {split(i)[0] for i in images(view) if i != image}
    # Compared with every repository of the cluster, so only where the answer hangs on it.
    return repository in known or bool(difflib.get_close_matches(repository, known, n=1, cutoff=0.9))


def split(image: str) -> tuple[str, str]:
    """Return repository and tag (or digest) of an image reference."""
    if "@" in image:
        name, _, digest = image.partition("@")
        return name, digest
    head, colon, tag = image.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (image, "")


def images(view: ClusterView) -> list[str]:
    """Return the images known to exist: of containers that were started, of serving ReplicaSets, and on nodes."""
    return list(_held(view))


def _held(view: ClusterView) -> dict[str, Thing]:
    """Return every image known to exist, with the first object that shows it."""
    memo = view.memo("images", logs=False)
    if "all" not in memo:
        found: dict[str, Thing] = {}
        for pod in view.all("pods"):
            found.update((image, pod) for image in pod.images if image not in found)
        for owner in view.all("replicasets.apps"):
            if owner.number("status.readyReplicas"):
                for spec in owner.rows("spec.template.spec.containers"):
                    found.setdefault(text(spec.get("image")), owner)
        for node in view.all("nodes"):
            for entry in rows(node.at("status.images")):
                for name in texts(entry.get("names")):
                    if "@" not in name:
                        found.setdefault(name, node)
        memo["all"] = found
    result: dict[str, Thing] = memo["all"]
    return result


def offered(fix: Fix) -> str:
    """Return the image that a fix would set, "" where it sets none."""
    steps = json.loads(fix.action.body) if fix.action is not None and fix.action.body else []
    places = [step for step in steps if isinstance(step, dict) and str(step.get("path", "")).endswith("/image")]
    return text(places[0].get("value")) if places else ""


def source_of(view: ClusterView, image: str) -> Citation | None:
    """Return where the view shows that an image exists: a container that was started, a revision, a node's list."""
    thing = _held(view).get(image) or next(
        (s for s in view.all("replicasets.apps") if image and image in _template(s)), None
    )
    if thing is None:
        return None
    if thing.kind == "Node":
        for i, entry in enumerate(rows(thing.at("status.images"))):
            names = entry.get("names")
            if isinstance(names, list) and image in names:
                return view.cite(thing, f"status.images[{i}].names[{names.index(image)}]", "metadata.name")
    if thing.kind == "Pod":
        states = thing.rows("status.containerStatuses")
        place = next((i for i, each in enumerate(states) if each.get("image") == image), -1)
        return view.cite(thing, f"status.containerStatuses[{place}].image", "metadata.name") if place >= 0 else None
    place = _template(thing).index(image)
    return view.cite(thing, f"spec.template.spec.containers[{place}].image", "metadata.name", "status.readyReplicas")


def _template(owner: Thing) -> list[str]:
    return [text(spec.get("image")) for spec in owner.rows("spec.template.spec.containers")]


def _other(view: ClusterView, workload: Workload, container: Container, image: str) -> list[Fix]:
    """Return fixes that use an image known to exist: of the revision before, then the nearest tag or repository."""
    if not container.path:
        return []
    thing, field = workload.thing, f"{container.path}.image"
    repository, tag = split(image)
    fixes = []
    good = previous_good(view, thing) if thing.kind == "Deployment" else None
    before = (
        next(
            (
                text(c.get("image"))
                for c in good.rows("spec.template.spec.containers")
                if c.get("name") == container.name
            ),
            "",
        )
        if good
        else ""
    )
    if before and before != image:
        fixes.append(
            set_path(thing, field, before, f"Use {before}, which the revision before used", "that image ran before")
        )
    same = [i for i in images(view) if split(i)[0] == repository and i != image and i != before]
    near = nearest(image, same)
    if near:
        on_node = _held(view)[near].kind == "Node"
        fixes.append(
            set_path(
                thing,
                field,
                near,
                f"Use {near}, the nearest tag that {'a node holds' if on_node else 'runs in this cluster'}",
                f"it can be had here, and {tag or 'this tag'} is unknown",
            )
        )
    elif not fixes:
        alike = nearest(image, [i for i in images(view) if split(i)[1] == tag]) or nearest(image, images(view))
        if alike:
            fixes.append(
                set_path(
                    thing, field, alike, f"Use {alike}, the nearest image in this cluster", "the name looks misspelt"
                )
            )
    fixes.append(outside(f"Or push {image} to the registry", "right if the release is meant to exist"))
    return fixes


def _is_pull_secret(secret: Thing) -> bool:
    """Say whether a Secret holds registry credentials, by its type or, where the type was not kept, by its key."""
    return secret.text("type") in SECRET_TYPES or bool({".dockerconfigjson", ".dockercfg"} & set(secret.map("data")))


def _secrets(view: ClusterView, workload: Workload) -> list[Fix]:
    thing, place = workload.thing, f"{workload.template}.imagePullSecrets"
    used = [text(r.get("name")) for r in rows(workload.spec.get("imagePullSecrets"))]
    have = [s.name for s in view.all("secrets", thing.namespace) if _is_pull_secret(s)]
    fixes = [
        set_path(thing, place, [{"name": name}], f"Pull with Secret {name}", "it is the pull secret of this namespace")
        for name in have
        if name not in used
    ][:2]
    what = f"Secret {used[0]}" if used else "a Secret of type kubernetes.io/dockerconfigjson"
    fixes.append(
        outside(f"Put valid registry credentials into {what}", "credentials must come from the registry's owner")
    )
    return fixes
