"""Gateway API: routes and gateways that name Services, ports, gateways or classes that do not exist."""

from __future__ import annotations

from agents.expert.conditions import bad_conditions
from agents.expert.draft import Draft, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.raw import rows, text
from assistant.domain.view import ClusterView

GATEWAY, KUEUE, METAL = "gateway.networking.k8s.io", "kueue.x-k8s.io", "metal3.io"


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with routes and gateways."""
    found = []
    for kind in ("httproutes", "grpcroutes", "tlsroutes", "tcproutes", "udproutes"):
        for route in view.all(f"{kind}.{GATEWAY}"):
            key = frozenset({route.key})
            bad = bad_conditions(route)
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
                        fixes = (
                            [
                                set_path(
                                    route,
                                    f"{place}.name",
                                    near,
                                    f"Send traffic to Service {near}",
                                    "that Service exists",
                                )
                            ]
                            if near
                            else []
                        )
                        fixes.append(outside(f"Or create Service {name}", "right if the name is meant"))
                        field, why = (
                            f"{place}.name",
                            f"Service {name}, which does not exist" + (f" ({near} does)" if near else ""),
                        )
                    elif ports and back.get("port") not in ports:
                        field, why = (
                            f"{place}.port",
                            f"port {back.get('port')} of Service {name}, which serves {', '.join(map(str, ports))}",
                        )
                        fixes = [
                            set_path(route, field, ports[0], f"Use port {ports[0]}", "the Service serves that port")
                        ]
                        cited.append(view.cite(service, "spec.ports"))
                    else:
                        continue
                    found.append(
                        Draft(
                            "gateway-api",
                            route.target,
                            field,
                            f"{route.kind} {route.name} sends traffic to {why}.",
                            0.95,
                            Level.OBJECT,
                            (view.cite(route, field), *cited),
                            key,
                            key,
                            tuple(fixes),
                        )
                    )
            for i, parent in enumerate(route.rows("spec.parentRefs")):
                home, name = text(parent.get("namespace")) or route.namespace, text(parent.get("name"))
                if (
                    parent.get("kind", "Gateway") == "Gateway"
                    and view.complete(f"gateways.{GATEWAY}", home)
                    and view.find("Gateway", home, name) is None
                ):
                    near = nearest(name, [g.name for g in view.all(f"gateways.{GATEWAY}", home)])
                    field = f"spec.parentRefs[{i}].name"
                    fixes = (
                        [set_path(route, field, near, f"Attach it to Gateway {near}", "that Gateway exists")]
                        if near
                        else []
                    )
                    found.append(
                        Draft(
                            "gateway-api",
                            route.target,
                            field,
                            f"{route.kind} {route.name} is attached to Gateway {name}, which does not exist.",
                            0.93,
                            Level.OBJECT,
                            (view.cite(route, field),),
                            key,
                            key,
                            tuple(fixes),
                        )
                    )
    for gateway in view.all(f"gateways.{GATEWAY}"):
        name = gateway.text("spec.gatewayClassName")
        classes = [c.name for c in view.all(f"gatewayclasses.{GATEWAY}")]
        if name and view.complete(f"gatewayclasses.{GATEWAY}") and name not in classes:
            near = nearest(name, classes) or (classes[0] if len(classes) == 1 else "")
            fixes = (
                [set_path(gateway, "spec.gatewayClassName", near, f"Use class {near}", "that class exists")]
                if near
                else []
            )
            found.append(
                Draft(
                    "gateway-api",
                    gateway.target,
                    "spec.gatewayClassName",
                    f"Gateway {gateway.name} asks for class {name}, which does not exist.",
                    0.93,
                    Level.OBJECT,
                    (view.cite(gateway, "spec.gatewayClassName"),),
                    frozenset({gateway.key}),
                    frozenset({gateway.key}),
                    tuple(fixes),
                )
            )
    return found
