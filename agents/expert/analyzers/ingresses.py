"""Ingresses: back ends, ports, classes and certificates that do not exist."""

from __future__ import annotations

from agents.expert.analyzers.certificates import is_certificate
from agents.expert.draft import Draft, Level
from agents.expert.remedies import json_patch, nearest, outside, pointer, set_path
from assistant.domain.raw import fold_int, mapping, rows, text
from assistant.domain.view import ClusterView, Thing


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with the Ingresses of the view."""
    return [draft for ingress in view.all("ingresses.networking.k8s.io") for draft in _ingress(view, ingress)]


def _ingress(view: ClusterView, ingress: Thing) -> list[Draft]:
    found = []
    places = [("spec.defaultBackend", ingress.map("spec.defaultBackend"))]
    for i, rule in enumerate(ingress.rows("spec.rules")):
        for j, path in enumerate(rows(mapping(rule.get("http")).get("paths"))):
            places.append((f"spec.rules[{i}].http.paths[{j}].backend", mapping(path.get("backend"))))
    key = frozenset({ingress.key})
    for place, backend in places:
        wanted = mapping(backend.get("service"))
        name = text(wanted.get("name"))
        if not name or not view.complete("services", ingress.namespace):
            continue
        service = view.find("Service", ingress.namespace, name)
        if service is None:
            near = nearest(name, [s.name for s in view.all("services", ingress.namespace)])
            field = f"{place}.service.name"
            fixes = (
                [set_path(ingress, field, near, f"Send traffic to Service {near}", "that Service exists")]
                if near
                else []
            )
            found.append(
                Draft(
                    "network",
                    ingress.target,
                    field,
                    f"Ingress {ingress.name} sends traffic to Service {name}, which does not exist"
                    + (f" ({near} does)." if near else "."),
                    0.93,
                    Level.OBJECT,
                    (view.cite(ingress, field),),
                    key,
                    key,
                    tuple(fixes),
                )
            )
            continue
        asked = mapping(wanted.get("port"))
        table = service.rows("spec.ports")
        number, named = asked.get("number"), asked.get("name")
        if table and not any(number == p.get("port") if number is not None else named == p.get("name") for p in table):
            field = f"{place}.service.port"
            value = {"number": fold_int(table[0].get("port"))}
            found.append(
                Draft(
                    "network",
                    ingress.target,
                    field,
                    f"Ingress {ingress.name} sends traffic to port {number or named} of Service {name}, "
                    f"which serves {', '.join(str(p.get('port')) for p in table)}.",
                    0.93,
                    Level.OBJECT,
                    (view.cite(ingress, field), view.cite(service, "spec.ports")),
                    key,
                    key,
                    (
                        json_patch(
                            ingress,
                            [{"op": "replace", "path": pointer(field), "value": value}],
                            f"Use port {value['number']}",
                            "the Service serves that port",
                            "put the old port back",
                        ),
                    ),
                )
            )
    found += _ingress_rest(view, ingress, key)
    return found


def _ingress_rest(view: ClusterView, ingress: Thing, key: frozenset[str]) -> list[Draft]:
    found = []
    name = ingress.text("spec.ingressClassName")
    classes = [c.name for c in view.all("ingressclasses.networking.k8s.io")]
    if name and view.complete("ingressclasses.networking.k8s.io") and name not in classes:
        near = nearest(name, classes) or (classes[0] if len(classes) == 1 else "")
        fixes = (
            [set_path(ingress, "spec.ingressClassName", near, f"Use class {near}", "that class exists")] if near else []
        )
        fixes.append(
            outside(f"Or install the controller that provides IngressClass {name}", "no controller serves this Ingress")
        )
        found.append(
            Draft(
                "network",
                ingress.target,
                "spec.ingressClassName",
                f"Ingress {ingress.name} asks for class {name}, which does not exist.",
                0.9,
                Level.OBJECT,
                (view.cite(ingress, "spec.ingressClassName"),),
                key,
                key,
                tuple(fixes),
            )
        )
    given = name or text(ingress.annotations.get("kubernetes.io/ingress.class"))
    usual = [
        c
        for c in view.all("ingressclasses.networking.k8s.io")
        if c.annotations.get("ingressclass.kubernetes.io/is-default-class") == "true"
    ]
    if not given and classes and not usual and not ingress.rows("status.loadBalancer.ingress"):
        one = classes[0] if len(classes) == 1 else ""
        fixes = (
            [set_path(ingress, "spec.ingressClassName", one, f"Use class {one}", "it is the only one")] if one else []
        )
        fixes.append(outside("Or mark a class as the default one", "then every Ingress without a class gets it"))
        found.append(
            Draft(
                "network",
                ingress.target,
                "spec.ingressClassName",
                (
                    f"Ingress {ingress.name} names no class and no IngressClass is the default one, so no "
                    f"controller serves it."
                ),
                0.88,
                Level.OBJECT,
                (view.cite(ingress, "metadata.name", "spec.rules"),),
                key,
                key,
                tuple(fixes),
            )
        )
    for i, tls in enumerate(ingress.rows("spec.tls")):
        secret = text(tls.get("secretName"))
        if (
            secret
            and view.complete("secrets", ingress.namespace)
            and view.find("Secret", ingress.namespace, secret) is None
        ):
            near = nearest(
                secret,
                [s.name for s in view.all("secrets", ingress.namespace) if is_certificate(s)],
            )
            field = f"spec.tls[{i}].secretName"
            fixes = (
                [set_path(ingress, field, near, f"Use Secret {near}", "that TLS Secret exists")]
                if near
                else [outside(f"Issue a certificate into Secret {secret}", "a certificate is issued, not edited")]
            )
            found.append(
                Draft(
                    "tls",
                    ingress.target,
                    field,
                    f"Ingress {ingress.name} uses the certificate in Secret {secret}, which does not exist.",
                    0.9,
                    Level.OBJECT,
                    (view.cite(ingress, field),),
                    key,
                    key,
                    tuple(fixes),
                )
            )
    return found
