"""Containers that cannot start or do not stay: images, commands, memory, probes, init containers, sidecars, hooks."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.domain.view import ClusterView

from .cases import Incident, Table, check, check_healthy, check_undecided
from .objects import NOW, OLD, Raw, container, crashed, deployment, event, node, pod, service, thing, view, waiting
from .test_faults import crash

case = Table()


def pulling(image: str, message: str, *objects: Any, reason: str = "ImagePullBackOff", **spec: Any) -> ClusterView:
    box = container(image=image)
    back_off = f'Back-off pulling image "{image}": ErrImagePull: {message}'
    return view(
        deployment("web", box, **spec),
        pod("web", containers=[box], statuses=[waiting(reason, back_off)], phase="Pending", **spec),
        event("Pod", "web-1-1", "Failed", f'Failed to pull image "{image}": {message}'),
        event("Pod", "web-1-1", "Failed", "Error: ImagePullBackOff"),
        node(),
        *objects,
    )


def serving(name: str, image: str) -> list[Any]:
    box = container(image=image)
    status = {
        "name": "app",
        "ready": True,
        "restartCount": 0,
        "image": image,
        "imageID": "sha256:1",
        "state": {"running": {}},
    }
    return [deployment(name, box, ready=1), pod(name, containers=[box], ready=True, statuses=[status])]


@case("image", "Deployment/web", "imagePullSecrets")
def registry_that_hides_a_private_repository() -> ClusterView:
    return pulling(
        "docker.io/acme/vault-api:1.4",
        'failed to pull and unpack image "docker.io/acme/vault-api:1.4": failed to resolve reference '
        '"docker.io/acme/vault-api:1.4": pull access denied, repository does not exist or may require authorization: '
        "server message: insufficient_scope: authorization failed",
    )


@case("image", "Deployment/web", "].image")
def repository_that_is_misspelt_and_therefore_denied() -> ClusterView:
    return pulling(
        "docker.io/acme/web-fronted:1.0",
        "pull access denied, repository does not exist or may require authorization: "
        "server message: insufficient_scope: authorization failed",
        *serving("shop", "docker.io/acme/web-frontend:1.0"),
    )


@case("image", "Deployment/web", "imagePullSecrets")
def pull_secret_that_does_not_exist() -> ClusterView:
    return view(
        pulling_parts("private.test/web:1", "failed to authorize: 401 Unauthorized", [{"name": "regcred"}]),
        event(
            "Pod",
            "web-1-1",
            "FailedToRetrieveImagePullSecret",
            "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.",
        ),
        thing(
            "Secret", "registry-login", type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": "(not read)"}
        ),
    )


@case("image", "Secret/registry-login", "data")
def pull_secret_that_the_registry_refuses() -> ClusterView:
    return view(
        pulling_parts("private.test/web:1", "failed to authorize: 401 Unauthorized", [{"name": "registry-login"}]),
        thing("Secret", "registry-login", data={".dockerconfigjson": "(not read)"}),
    )


def pulling_parts(image: str, message: str, secrets: list[Raw]) -> list[Raw]:
    box = container(image=image)
    return [
        *deployment("web", box, imagePullSecrets=secrets),
        pod(
            "web",
            containers=[box],
            statuses=[waiting("ErrImagePull", message)],
            phase="Pending",
            imagePullSecrets=secrets,
        ),
        event("Pod", "web-1-1", "Failed", f'Failed to pull image "{image}": {message}'),
        node(),
    ]


@case("image", "Deployment/web", "].image")
def registry_that_limits_pulls() -> ClusterView:
    return pulling(
        "docker.io/library/redis:7",
        "failed to copy: httpReadSeeker: failed open: unexpected status code 429 Too Many Requests - Server message: "
        "toomanyrequests: You have reached your unauthenticated pull rate limit",
    )


@case("image", "Deployment/web", "].image")
def image_of_another_platform() -> ClusterView:
    return pulling("r.test/web:arm", "no match for platform in manifest: not found")


@case("image", "Deployment/web", "].image")
def image_name_with_capitals() -> ClusterView:
    return pulling(
        "docker.io/acme/Web-Frontend:5",
        'Failed to apply default image tag "docker.io/acme/Web-Frontend:5": couldn\'t parse image name: invalid '
        "reference format: repository name must be lowercase",
        reason="InvalidImageName",
    )


@case("image", "Deployment/web", "imagePullPolicy")
def image_that_may_never_be_pulled() -> ClusterView:
    return pulling(
        "r.test/web:1",
        'Container image "r.test/web:1" is not present with pull policy of Never',
        reason="ErrImageNeverPull",
    )


@case("image", "Deployment/web", "].image")
def registry_that_speaks_plain_http() -> ClusterView:
    return pulling(
        "10.0.0.5:5000/web:1",
        'failed to do request: Head "https://10.0.0.5:5000/v2/web/manifests/1": http: server gave HTTP response to '
        "HTTPS client",
    )


@case("image", "Deployment/web", "initContainers[0].image")
def image_of_an_init_container() -> ClusterView:
    init = container("prepare", "docker.io/acme/tool:9")
    text = "rpc error: code = NotFound desc = docker.io/acme/tool:9: not found"
    status = {"initContainerStatuses": [waiting("ImagePullBackOff", text, "prepare")]}
    return view(
        deployment("web", initContainers=[init]),
        pod("web", init=[init], phase="Pending", statuses=[waiting("PodInitializing")], status=status),
        event("Pod", "web-1-1", "Failed", f'Failed to pull image "docker.io/acme/tool:9": {text}'),
        node(),
    )


@case("bad-command", "Deployment/web", "command")
def command_that_the_shell_does_not_find() -> ClusterView:
    return crash("sh: 1: run-worker: not found", box=container(command=["sh", "-c", "run-worker --all"]), code=127)


@case("bad-command", "Deployment/web", "args")
def flag_that_the_program_does_not_know() -> ClusterView:
    box = container(args=["--prot=8080", "--verbose"])
    return crash("Error: unknown flag: --prot\nUsage:\n  server [flags]", box=box, code=2)


@case("bad-command", "Deployment/web", "args")
def argument_that_a_python_program_does_not_know() -> ClusterView:
    box = container(command=["python", "main.py"], args=["--worker", "4"])
    return crash(
        "usage: main.py [-h] [--workers N]\nmain.py: error: unrecognized arguments: --worker 4", box=box, code=2
    )


@case("bad-command", "Deployment/web", "workingDir")
def working_directory_that_is_not_in_the_image() -> ClusterView:
    box = container(workingDir="/srv/ap")
    text = (
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
        'unable to start container process: chdir to cwd ("/srv/ap") set in config.json failed: '
        "no such file or directory"
    )
    return view(
        deployment("web", box), pod("web", containers=[box], statuses=[waiting("RunContainerError", text)]), node()
    )


@case("bad-command", "Deployment/web", "lifecycle.postStart")
def start_hook_that_fails() -> ClusterView:
    hook = {"postStart": {"exec": {"command": ["/bin/warm-up"]}}}
    box = container(lifecycle=hook)
    state = waiting("PostStartHookError", 'command "/bin/warm-up" exited with 126: ')
    failed = event("Pod", "web-1-1", "FailedPostStartHook", "PostStartHook failed")
    failed["involvedObject"]["fieldPath"] = "spec.containers{app}"
    return view(
        deployment("web", box), pod("web", containers=[box], statuses=[{**state, "restartCount": 4}]), failed, node()
    )


@case("bad-command", "Deployment/web", "command")
def program_that_has_nothing_to_do() -> ClusterView:
    log = "INFO nothing to do, exiting"
    box = container(command=["sh", "-c", "echo"])
    ended = crashed(0, "Completed")
    return view(
        deployment("web", box), pod("web", containers=[box], statuses=[ended]), node(), logs={("web-1-1", "app"): log}
    )


@case("image", "Deployment/web", "image")
def binary_for_another_processor() -> ClusterView:
    return crash("exec /usr/local/bin/app: exec format error", code=255)


@case("oom", "Deployment/web", "limits.memory")
def children_that_are_killed_while_the_main_process_lives() -> ClusterView:
    box = container(resources={"limits": {"memory": "128Mi"}})
    log = "\n".join(
        f"[2026-11-23 08:3{i}:00 +0000] [1] [ERROR] Worker (pid:{40 + i}) was sent SIGKILL! Perhaps out of memory?"
        for i in range(5)
    )
    return view(
        deployment("web", box, ready=1),
        pod("web", containers=[box], ready=True),
        service("web"),
        node(),
        logs={("web-1-1", "app"): "[INFO] Starting gunicorn 21.2.0\n" + log},
    )


@case("oom", "Deployment/web", "limits.memory")
def heap_of_a_virtual_machine_that_is_full() -> ClusterView:
    box = container(resources={"limits": {"memory": "256Mi"}})
    return crash(
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of "
        "memory\n----- Native stack trace -----",
        box=box,
        code=134,
    )


@case("oom", "Deployment/web", "initContainers[0].resources.limits.memory")
def init_container_that_needs_more_memory() -> ClusterView:
    init = container("load", resources={"limits": {"memory": "32Mi"}})
    status = {"initContainerStatuses": [crashed(137, "OOMKilled", name="load")]}
    return view(
        deployment("web", initContainers=[init]),
        pod("web", init=[init], phase="Pending", statuses=[waiting("PodInitializing")], status=status),
        node(),
    )


@case("probe", "Deployment/web", "readinessProbe.httpGet.port")
def probe_of_a_port_name_that_does_not_exist() -> ClusterView:
    box = container(
        ports=[{"name": "http", "containerPort": 8080}], readinessProbe={"httpGet": {"path": "/", "port": "web"}}
    )
    return view(
        deployment("web", box),
        pod("web", containers=[box]),
        node(),
        event(
            "Pod",
            "web-1-1",
            "Unhealthy",
            'Readiness probe errored and resulted in unknown state: strconv.Atoi: parsing "web": invalid syntax',
        ),
    )


@case("probe", "Deployment/web", "livenessProbe.timeoutSeconds")
def liveness_that_does_not_wait_for_the_answer() -> ClusterView:
    box = container(livenessProbe={"httpGet": {"path": "/healthz", "port": 8080}, "timeoutSeconds": 1})
    ended = {**crashed(137, "Error", 8), "state": {"running": {"startedAt": NOW}}}
    return view(
        deployment("web", box),
        pod("web", containers=[box], statuses=[ended]),
        node(),
        event(
            "Pod",
            "web-1-1",
            "Unhealthy",
            'Liveness probe failed: Get "http://10.2.1.1:8080/healthz": context deadline exceeded (Client.Timeout '
            "exceeded while awaiting headers)",
        ),
        event("Pod", "web-1-1", "Killing", "Container app failed liveness probe, will be restarted", "Normal"),
        logs={("web-1-1", "app"): "INFO serving on 0.0.0.0:8080"},
    )


@case("probe", "Deployment/web", "startupProbe.failureThreshold")
def startup_probe_without_patience() -> ClusterView:
    box = container(startupProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 2, "failureThreshold": 3})
    return view(
        deployment("web", box),
        pod("web", containers=[box], statuses=[crashed(143, "Error", 9)]),
        node(),
        event(
            "Pod",
            "web-1-1",
            "Unhealthy",
            'Startup probe failed: Get "http://10.2.1.1:8080/": dial tcp 10.2.1.1:8080: connect: connection refused',
        ),
        event("Pod", "web-1-1", "Killing", "Container app failed startup probe, will be restarted", "Normal"),
        logs={("web-1-1", "app"): "INFO loading index 10%\nINFO loading index 40%"},
    )


@case("probe", "Deployment/web", "grpc")
def grpc_probe_of_a_server_without_health_service() -> ClusterView:
    box = container(readinessProbe={"grpc": {"port": 9090}})
    return view(
        deployment("web", box),
        pod("web", containers=[box]),
        node(),
        event(
            "Pod",
            "web-1-1",
            "Unhealthy",
            "Readiness probe failed: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
            "unknown service grpc.health.v1.Health",
        ),
    )


@case("probe", "Deployment/web", "grpc.port")
def grpc_probe_of_a_port_where_nobody_listens() -> ClusterView:
    box = container(ports=[{"name": "grpc", "containerPort": 9090}], readinessProbe={"grpc": {"port": 9091}})
    return view(
        deployment("web", box),
        pod("web", containers=[box]),
        node(),
        event(
            "Pod",
            "web-1-1",
            "Unhealthy",
            'Readiness probe failed: timeout: failed to connect service "10.2.1.1:9091" within 1s: context deadline '
            "exceeded",
        ),
    )


@case("probe", "Deployment/web", "exec.command")
def exec_probe_that_looks_for_a_file_that_is_never_made() -> ClusterView:
    box = container(readinessProbe={"exec": {"command": ["cat", "/tmp/redy"]}})
    return view(
        deployment("web", box),
        pod("web", containers=[box]),
        node(),
        event(
            "Pod",
            "web-1-1",
            "Unhealthy",
            "Readiness probe failed: cat: can't open '/tmp/redy': No such file or directory",
        ),
    )


@case("probe", "Deployment/web", "livenessProbe.timeoutSeconds")
def exec_probe_that_takes_longer_than_it_may() -> ClusterView:
    box = container(livenessProbe={"exec": {"command": ["sh", "-c", "check"]}, "timeoutSeconds": 1})
    ended = {**crashed(137, "Error", 5), "state": {"running": {"startedAt": NOW}}}
    return view(
        deployment("web", box),
        pod("web", containers=[box], statuses=[ended]),
        node(),
        event(
            "Pod", "web-1-1", "Unhealthy", 'Liveness probe failed: command timed out: "sh -c check" timed out after 1s'
        ),
        event("Pod", "web-1-1", "Killing", "Container app failed liveness probe, will be restarted", "Normal"),
    )


@case("probe", "Deployment/web", "httpGet.scheme")
def probe_that_speaks_tls_to_a_plain_server() -> ClusterView:
    box = container(readinessProbe={"httpGet": {"path": "/", "port": 8080, "scheme": "HTTPS"}})
    text = 'Readiness probe failed: Get "https://10.2.1.1:8080/": http: server gave HTTP response to HTTPS client'
    return view(
        deployment("web", box), pod("web", containers=[box]), node(), event("Pod", "web-1-1", "Unhealthy", text)
    )


@case("probe", "Deployment/web", "httpGet.scheme")
def probe_that_speaks_plain_to_a_tls_server() -> ClusterView:
    box = container(
        ports=[{"name": "https", "containerPort": 8443}], readinessProbe={"httpGet": {"path": "/", "port": 8443}}
    )
    return view(
        deployment("web", box),
        pod("web", containers=[box]),
        node(),
        event("Pod", "web-1-1", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 400"),
        logs={
            (
                "web-1-1",
                "app",
            ): "http: TLS handshake error from 10.0.0.1: client sent an HTTP request to an HTTPS server"
        },
    )


@case("probe", "Deployment/web", "readinessProbe.tcpSocket.port")
def probe_of_a_port_that_the_container_does_not_declare() -> ClusterView:
    box = container(ports=[{"name": "http", "containerPort": 3000}], readinessProbe={"tcpSocket": {"port": 8080}})
    return view(
        deployment("web", box),
        pod("web", containers=[box]),
        service("web", target=3000),
        node(),
        event(
            "Pod", "web-1-1", "Unhealthy", "Readiness probe failed: dial tcp 10.2.1.1:8080: connect: connection refused"
        ),
    )


@case("app-config", "ConfigMap/conf", "data.BIND")
def server_that_listens_to_itself_only() -> ClusterView:
    box = container(
        envFrom=[{"configMapRef": {"name": "conf"}}],
        ports=[{"name": "http", "containerPort": 8080}],
        readinessProbe={"httpGet": {"path": "/", "port": "http"}},
    )
    text = 'Readiness probe failed: Get "http://10.2.1.1:8080/": dial tcp 10.2.1.1:8080: connect: connection refused'
    return view(
        deployment("web", box),
        pod("web", containers=[box]),
        service("web", target="http"),
        thing("ConfigMap", "conf", data={"BIND": "127.0.0.1"}),
        node(),
        event("Pod", "web-1-1", "Unhealthy", text),
        logs={("web-1-1", "app"): "INFO serving on 127.0.0.1:8080"},
    )


def initialising(init: Raw, log: str, *objects: Any) -> ClusterView:
    status = {
        "initContainerStatuses": [
            {
                "name": init["name"],
                "ready": False,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": OLD}},
            }
        ]
    }
    return view(
        deployment("web", initContainers=[init]),
        pod("web", init=[init], phase="Pending", statuses=[waiting("PodInitializing")], status=status),
        node(),
        *objects,
        logs={("web-1-1", init["name"]): log},
    )


@case("dns", "Deployment/web", "initContainers[0]")
def init_container_that_waits_for_a_name_nobody_has() -> ClusterView:
    init = container("wait", command=["sh", "-c", "until nslookup orders-db; do echo waiting; sleep 2; done"])
    log = "Server:\t10.96.0.10\n** server can't find orders-db.shop.svc.cluster.local: NXDOMAIN\nwaiting\n" * 4
    return initialising(
        init,
        log,
        deployment("orders-postgres", ready=1),
        pod("orders-postgres", ready=True),
        service("orders-postgres", port=5432),
    )


@case("dns", "Deployment/web", "initContainers[0]")
def init_container_that_waits_silently() -> ClusterView:
    init = container("wait", command=["sh", "-c", "until nc -z orders-db 5432; do sleep 2; done"])
    return initialising(init, "nc: bad address 'orders-db'\n" * 5)


@case("image", "Deployment/db", "].image")
def init_container_that_waits_for_a_broken_back_end() -> ClusterView:
    init = container("wait", command=["sh", "-c", "until nc -z db 5432; do echo waiting for db; sleep 2; done"])
    box = container(image="r.test/pg:99")
    return initialising(
        init,
        "waiting for db\n" * 5,
        deployment("db", box),
        pod("db", containers=[box], statuses=[waiting("ImagePullBackOff", "r.test/pg:99: not found")], phase="Pending"),
        service("db", port=5432),
    )


@case("app-config", "Deployment/web", "initContainers[0]")
def sidecar_that_crashes_on_its_setting() -> ClusterView:
    init = container("proxy", restartPolicy="Always", env=[{"name": "LISTEN_PORT", "value": "80a"}])
    status = {"initContainerStatuses": [crashed(1, "Error", 7, "proxy")]}
    return view(
        deployment("web", initContainers=[init]),
        pod("web", init=[init], phase="Pending", statuses=[waiting("PodInitializing")], status=status),
        node(),
        logs={("web-1-1", "proxy"): 'panic: strconv.Atoi: parsing "80a": invalid syntax'},
    )


@case("security", "Deployment/web", "securityContext")
def low_port_that_the_user_may_not_bind() -> ClusterView:
    box = container(securityContext={"runAsUser": 101, "capabilities": {"drop": ["ALL"]}})
    return crash("nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)", box=box)


@case("security", "Deployment/web", "securityContext")
def user_that_is_not_in_the_image() -> ClusterView:
    text = "failed to create containerd container: unable to find user app: no matching entries in passwd file"
    box = container(securityContext={"runAsUser": 1500})
    return view(
        deployment("web", box), pod("web", containers=[box], statuses=[waiting("CreateContainerError", text)]), node()
    )


@case("security", "Deployment/web", "seccompProfile")
def seccomp_profile_that_the_node_does_not_have() -> ClusterView:
    profile = {"seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/audit.json"}}
    text = (
        "failed to create containerd container: cannot load seccomp profile "
        '"/var/lib/kubelet/seccomp/profiles/audit.json": '
        "open /var/lib/kubelet/seccomp/profiles/audit.json: no such file or directory"
    )
    box = container(securityContext=profile)
    return view(
        deployment("web", box), pod("web", containers=[box], statuses=[waiting("CreateContainerError", text)]), node()
    )


@case("security", "Deployment/web", "capabilities")
def owner_that_may_not_be_changed_without_a_capability() -> ClusterView:
    box = container(securityContext={"capabilities": {"drop": ["ALL"]}})
    return crash('chown("/var/cache/nginx/client_temp", 101) failed (1: Operation not permitted)', box=box)


@case("missing-configmap", "Deployment/web", "subPath")
def file_of_a_config_map_that_has_no_such_key() -> ClusterView:
    box = container(volumeMounts=[{"name": "cfg", "mountPath": "/etc/app/app.yaml", "subPath": "app.yaml"}])
    volumes = [{"name": "cfg", "configMap": {"name": "conf"}}]
    text = (
        "failed to create containerd task: OCI runtime create failed: runc create failed: unable to start container "
        'process: error during container init: error mounting "/var/lib/kubelet/pods/1/volume-subpaths/cfg/app/0" to '
        'rootfs at "/etc/app/app.yaml": not a directory: unknown: Are you trying to mount a directory onto a file (or '
        "vice-versa)? Check if the specified host path exists and is the expected type"
    )
    return view(
        deployment("web", box, volumes=volumes),
        pod("web", containers=[box], statuses=[waiting("RunContainerError", text)], volumes=volumes),
        thing("ConfigMap", "conf", data={"application.yaml": "a: 1"}),
        node(),
    )


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    incident: Incident = case.rows[name]
    check(incident)


def well(box: Raw, log: str, *objects: Any) -> ClusterView:
    return view(
        deployment("web", box, ready=1),
        pod("web", containers=[box], ready=True),
        service("web"),
        node(),
        *objects,
        logs={("web-1-1", "app"): log},
    )


def test_one_worker_killed_long_ago_is_history() -> None:
    log = "worker 4 was killed by signal SIGKILL\n" + "INFO GET /api -> 200\n" * 60
    check_healthy(lambda: well(container(resources={"limits": {"memory": "128Mi"}}), log))


def test_a_restart_of_yesterday_is_history() -> None:
    status = {**crashed(137, "OOMKilled", 2), "state": {"running": {"startedAt": OLD}}, "ready": True}
    status["lastState"]["terminated"]["finishedAt"] = "2026-02-28T09:00:00Z"
    check_healthy(
        lambda: view(deployment("web", ready=1), pod("web", ready=True, statuses=[status]), service("web"), node())
    )


def test_a_start_hook_that_failed_once_before_it_worked_is_history() -> None:
    box = container(lifecycle={"postStart": {"exec": {"command": ["x"]}}})
    failed = event("Pod", "web-1-1", "FailedPostStartHook", "PostStartHook failed")
    check_healthy(lambda: well(box, "INFO serving on 0.0.0.0:8080", failed))


def test_an_init_container_that_has_just_begun_is_not_stuck() -> None:
    init = container("wait", command=["sh", "-c", "until nc -z db 5432; do sleep 2; done"])
    build = deployment("web", initContainers=[init])
    young = pod("web", init=[init], phase="Pending", statuses=[waiting("PodInitializing")])
    young["metadata"]["creationTimestamp"] = NOW
    young["status"]["initContainerStatuses"] = [
        {"name": "wait", "ready": False, "restartCount": 0, "state": {"running": {"startedAt": NOW}}}
    ]
    check_healthy(
        lambda: view(build, young, deployment("db", ready=1), pod("db", ready=True), service("db", port=5432), node())
    )


def test_a_segmentation_fault_without_a_word_is_not_decided() -> None:
    check_undecided(lambda: crash("", code=139))


def test_a_kill_without_a_reason_is_not_called_out_of_memory() -> None:
    check_undecided(lambda: crash("INFO working", code=137))
