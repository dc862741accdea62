"""The step of an allocation that leaves no device: class, driver, selector or count, and how to mend each."""

from __future__ import annotations

from agents.expert.devices.allocation import Funnel
from agents.expert.devices.drivers import drivers_of, plugin_of
from agents.expert.devices.inventory import CLASSES, SLICES, inventory
from agents.expert.devices.repair import guarded, mended
from agents.expert.devices.requests import Selector, Wanted, classes
from agents.expert.devices.users import rewritten
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import Workload
from assistant.domain.evidence import Citation
from assistant.domain.view import ClusterView, Thing


def judge(
    view: ClusterView, workload: Workload | None, claim: Wanted, best: Funnel
) -> tuple[str | None, str, float, list[Fix]]:
    """Return field, reason, confidence and fixes of the step that leaves nothing; no field where all are blocked."""
    known, request, holder = inventory(view), best.request, claim.source
    drivers = {d.driver for d in known.devices}
    match best.stage:
        case "no-class":
            return _no_class(view, workload, holder, f"{request.path}.deviceClassName", request.class_name)
        case "no-devices":
            sure = 0.93 if view.complete(SLICES) else 0.5
            fix = outside(
                "Look at the DRA driver: its pods on the nodes publish no device (no ResourceSlice holds any)",
                "devices are published by drivers, one ResourceSlice or more a node",
            )
            why = "no driver publishes any device" + ("" if view.all(SLICES) else " (there is no ResourceSlice)")
            return request.path.removesuffix(".exactly"), why, sure, [fix]
        case "class" if best.blocker is not None:
            change = mended(known, best.blocker, known.devices, request.count)
            fixes: list[Fix] = []
            if change is not None:
                fixes.append(
                    set_path(
                        best.blocker.source,
                        best.blocker.path,
                        change.expression,
                        f"Select {change.new} instead of {change.old}",
                        f"{change.matches} devices match it then",
                    )
                )
            fixes.append(
                outside(
                    f"See that the driver of class {request.class_name} runs on the nodes",
                    f"devices are published by: {', '.join(sorted(drivers))}",
                )
            )
            return best.blocker.path, f"class {request.class_name} matches no device that is published", 0.93, fixes
        case "selector" if best.blocker is not None:
            change = mended(known, best.blocker, best.of_class, request.count)
            fixes = []
            if change is not None:
                fixes = rewritten(
                    view,
                    workload,
                    holder,
                    best.blocker.path,
                    change.expression,
                    f"Ask for {change.new} instead of {change.old}",
                    f"{change.matches} devices match it then",
                )
            fixes.append(outside("Or add a node with such a device", "right if the workload needs exactly that"))
            why = f"no device passes the selector of request {request.name}"
            return best.blocker.path, why, 0.95, fixes
        case "error" if best.blocker is not None:
            return _broken(view, workload, best, best.blocker)
        case "unread" if best.blocker is not None:
            fix = outside("Try the selector against the devices by hand", "it uses CEL that is not evaluated here")
            return best.blocker.path, f"whether its selector matches was not evaluated: {best.said}", 0.45, [fix]
        case "count":
            possible = best.possible
            place = f"{request.path}.count"
            fixes = rewritten(
                view,
                workload,
                holder,
                place,
                possible,
                f"Ask for {possible} instead of {request.count} devices",
                "no node has more that match",
            )
            why = f"it asks for {request.count} devices on one node, and no node has more than {possible} that match"
            return place, why, 0.95, [*fixes, outside("Or add a node with that many devices", "right if it needs them")]
    return None, "", 0.0, []


def silent(view: ClusterView, workload: Workload, holder: Thing, best: Funnel, cited: list[Citation]) -> Draft | None:
    """Judge a driver that publishes nothing by the DaemonSet of its plugin; None where that is not seen or is well."""
    published = {d.driver for d in inventory(view).devices}
    for driver in drivers_of(view, best.request.class_name):
        daemons = plugin_of(view, driver)
        if driver in published or daemons is None:
            continue
        wanted, ready = (daemons.number(f"status.{n}") for n in ("desiredNumberScheduled", "numberReady"))
        keys = workload.keys | {holder.key, daemons.key}
        head = f"{workload.name()} gets no device: driver {driver} publishes none, because its plugin, DaemonSet "
        head += f"{daemons.namespace}/{daemons.name}, "
        cites = (*cited, view.cite(daemons, "metadata.name", "status.desiredNumberScheduled", "status.numberReady"))
        if not wanted:
            place = "spec.template.spec.nodeSelector"
            selector = ", ".join(f"{k}={v}" for k, v in daemons.map(place).items())
            why = f"runs on no node: none carries {selector}" if selector else "runs on no node"
            fix = outside(
                "Label the nodes that have such devices so that the plugin's selector takes them, or correct it",
                "only nodes with the hardware should carry the label",
            )
            return Draft("dra", daemons.target, place, f"{head}{why}.", 0.93, Level.PLATFORM, cites, keys, keys, (fix,))
        if ready < wanted:
            bad = {p.key for p in view.pods_of(daemons) if not p.ready}
            # What is wrong with the plugin's own pods is found as with any workload; this then follows from it.
            fix = outside("Mend the pods of the plugin", "devices are published by drivers")
            why = f"has {ready} of {wanted} pods ready"
            return Draft(
                "dra",
                daemons.target,
                "status.numberReady",
                f"{head}{why}.",
                0.9,
                Level.TRAFFIC,
                cites,
                keys | bad,
                keys,
                (fix,),
            )
    return None


def _no_class(
    view: ClusterView, workload: Workload | None, holder: Thing, place: str, name: str
) -> tuple[str, str, float, list[Fix]]:
    have = classes(view)
    if not view.complete(CLASSES):
        return (
            place,
            f"DeviceClass {name} is not among the classes that could be read",
            0.5,
            [outside(f"Look whether DeviceClass {name} exists", "classes could not be listed")],
        )
    near = nearest(name, have) or (have[0] if len(have) == 1 else "")
    fixes: list[Fix] = []
    if near:
        fixes = rewritten(
            view,
            workload,
            holder,
            place,
            near,
            f"Ask for DeviceClass {near}",
            "that class exists; check that its devices do",
        )
    fixes.append(outside(f"Install the driver that provides DeviceClass {name}", "right if such devices exist"))
    return place, f"DeviceClass {name} does not exist", 0.95, fixes


def _broken(
    view: ClusterView, workload: Workload | None, best: Funnel, selector: Selector
) -> tuple[str, str, float, list[Fix]]:
    known = inventory(view)
    fixes: list[Fix] = []
    key = best.said.removeprefix("no such key: ") if best.said.startswith("no such key: ") else ""
    devices = known.devices if selector.source.kind == "DeviceClass" else best.of_class or known.devices
    better = guarded(known, selector, key, devices) if key else ""
    title, reason = f"Ask first whether a device has {key}", "devices without it are passed over then"
    if better and selector.source.kind == "DeviceClass":
        fixes.append(set_path(selector.source, selector.path, better, title, reason))
    elif better:
        fixes += rewritten(view, workload, selector.source, selector.path, better, title, reason)
    fixes.append(outside("Write the selector so that it holds for every device", "one error ends the whole attempt"))
    return selector.path, f"a selector fails on a device, which ends the scheduler's attempt: {best.said}", 0.93, fixes
