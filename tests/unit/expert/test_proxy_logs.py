"""Access logs of proxies, gRPC status codes, and what logs say of models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.expert.analyzers.proxy_logs import read
from agents.expert.analyzers.response_flags import FLAGS, GRPC, GRPC_MEANS, LONG_NAMES
from agents.expert.causes import scan
from assistant.domain.finding import Role
from assistant.domain.view import ClusterView

from .cases import Table, check, check_healthy, told
from .gateway_objects import (
    INFERENCE,
    cluster,
    family,
    gateway,
    inference,
    made,
    no,
    pool,
    route,
    server,
    web,
)
from .objects import container, deployment, node, pod, service
from .test_ai_gateways import ai_route, backend, host, whole

case = Table()


def plain(code: int, flags: str, rest: str = '0 91 5000 - "-" "curl" "id" "shop.acme.test" "10.0.0.7:8080"') -> str:
    return f'[2026-03-01T11:59:00.000Z] "GET /v1/models HTTP/1.1" {code} {flags} {rest}'


def structured(code: int, flags: str, cluster_name: str = "httproute/shop/web/rule/0", **fields: Any) -> str:
    return json.dumps(
        {
            "start_time": "2026-03-01T11:59:00.000Z",
            "method": "POST",
            "response_code": code,
            "response_flags": flags,
            "upstream_cluster": cluster_name,
            ":authority": "shop.acme.test",
            **fields,
        }
    )


def proxied(*lines: str, **parts: Any) -> ClusterView:
    """A gateway whose proxy has written these lines, in front of a web application that is well."""
    proxy = [deployment("proxy", ready=1), pod("proxy", ready=True)]
    mine = parts.get("route") or route("web")
    back = parts.get("web") or web()
    return cluster(family(), gateway(), back, mine, proxy, logs={("proxy-1-1", "app"): "\n".join(lines)})


@case("gateway-api", "HTTPRoute/web", "spec.rules[0].timeouts", "answers of the model are cut off")
def route_whose_timeout_is_too_short() -> ClusterView:
    slow = route("web")
    slow["spec"]["rules"][0]["timeouts"] = {"request": "60s"}
    line = structured(504, "UT", response_code_details="response_timeout")
    return proxied(structured(200, "-"), line, line, route=slow)


@case("gateway-api", "AIGatewayRoute/llm", "spec.rules[0].timeouts")
def ai_route_with_the_timeout_that_it_has_by_itself() -> ClusterView:
    line = structured(504, "UT", "httproute/shop/llm/rule/0")
    proxy = [deployment("proxy", ready=1), pod("proxy", ready=True)]
    return whole(proxy, logs={("proxy-1-1", "app"): f"{line}\n{line}"})


@case("gateway-api", "Service/web", "appProtocol")
def back_end_that_speaks_another_protocol() -> ClusterView:
    line = plain(
        502,
        "UPE",
        'upstream_reset_before_response_started{protocol_error} - "-" 0 87 3 - "-" '
        '"10.0.0.7:8080" outbound|80||web.shop.svc.cluster.local - 10.0.0.7:8080',
    )
    return proxied(line, line)


@case("gateway-api", "HTTPRoute/web", "spec")
def back_end_that_refuses_the_connection() -> ClusterView:
    line = structured(503, "UF", upstream_transport_failure_reason="delayed_connect_error:_111")
    return proxied(line, line, line)


@case("gateway-api", "HTTPRoute/web", "spec")
def back_end_that_closes_the_connection() -> ClusterView:
    line = structured(503, "UpstreamConnectionTermination")
    return proxied(line, line)


@case("gateway-api", "Deployment/proxy", "spec", "every request fails with 404")
def request_that_no_route_takes() -> ClusterView:
    line = plain(404, "NR", 'route_not_found - "-" 0 0 0 - "-" "curl" "id" "shp.acme.test" "-"')
    return proxied(line, line)


@case("gateway-api", "HTTPRoute/web", "spec", "requests fail with 429")
def requests_that_reach_a_limit() -> ClusterView:
    line = structured(429, "RL")
    return proxied(line, line)


@case("gateway-api", "Deployment/caller", "spec")
def call_that_the_server_does_not_know() -> ClusterView:
    line = 'level=error msg="call failed" err="rpc error: code = Unimplemented desc = unknown service shop.v1.Cart"\n'
    return cluster(
        web(), deployment("caller", ready=1), pod("caller", ready=True), logs={("caller-1-1", "app"): line * 3}
    )


@case("gateway-api", "Deployment/caller", "spec")
def call_with_a_message_that_is_too_large() -> ClusterView:
    line = (
        "grpc._channel._InactiveRpcError: status = StatusCode.RESOURCE_EXHAUSTED details = "
        '"Received message larger than max (9437184 vs. 4194304)"\n'
    )
    return cluster(
        web(), deployment("caller", ready=1), pod("caller", ready=True), logs={("caller-1-1", "app"): line * 2}
    )


def picked(code: int, question_details: str) -> ClusterView:
    line = structured(code, "-", "httproute/shop/llama-route/rule/0", response_code_details=question_details)
    proxy = [deployment("proxy", ready=1), pod("proxy", ready=True)]
    return cluster(*inference(), proxy, logs={("proxy-1-1", "app"): f"{line}\n{line}"})


@case("gateway-api", "HTTPRoute/llama-route", "spec", "requests fail with 429")
def picker_that_sheds_load() -> ClusterView:
    return picked(429, "ext_proc_immediate_response")


@case("gateway-api", "HTTPRoute/llama-route", "spec")
def picker_that_finds_no_endpoint() -> ClusterView:
    return picked(503, "ext_proc_immediate_response")


SERVED = container(args=["--model", "meta/llama", "--served-model-name", "llama"], ports=[{"containerPort": 8000}])
UNKNOWN = 'INFO 10.0.0.9 - "POST /v1/chat/completions HTTP/1.1" 404\nERROR The model `lama` does not exist.\n'


def named_server() -> list[Any]:
    return [deployment("vllm", SERVED, ready=1), pod("vllm", containers=[SERVED], ready=True)]


@case("gateway-api", "AIGatewayRoute/llm", "modelNameOverride", "the model answers 404")
def route_that_asks_for_another_name() -> ClusterView:
    routes = ai_route("llm", {"name": "local", "modelNameOverride": "lama"})
    parts = [*routes, backend("local"), host("local"), *named_server()]
    return cluster(family(), gateway(), web(), *parts, logs={("vllm-1-1", "app"): UNKNOWN * 2})


@case("gateway-api", "InferenceModelRewrite/names", "modelRewrite")
def rewrite_to_another_name() -> ClusterView:
    rules = [{"targets": [{"modelRewrite": "lama"}]}]
    rewrite = made("llm-d.ai", "InferenceModelRewrite", "names", spec={"poolRef": {"name": "llama"}, "rules": rules})
    return cluster(*inference(), rewrite, *named_server(), logs={("vllm-1-1", "app"): UNKNOWN * 2})


@case("gateway-api", "Deployment/vllm", "args", "requests to the model fail with 404")
def callers_that_ask_for_another_name() -> ClusterView:
    return cluster(web(), *named_server(), logs={("vllm-1-1", "app"): UNKNOWN * 2})


@case("gateway-api", "Deployment/caller", "spec")
def caller_of_a_model_that_is_not_routed() -> ClusterView:
    line = (
        "ERROR 404: No matching route found. It is likely because the model specified in your request is not "
        "configured in the Gateway.\n"
    )
    calls = [deployment("caller", ready=1), pod("caller", ready=True)]
    return whole(calls, logs={("caller-1-1", "app"): line * 2})


@case("gateway-api", "InferencePool/llama", "endpointPickerRef", "answers are slow since yesterday")
def picker_that_sees_no_metrics() -> ClusterView:
    line = '{"level":"error","msg":"failed to fetch metrics from pod llama-1-1","error":"404"}\n'
    return cluster(*inference(), logs={("llama-epp-1-1", "app"): line * 4})


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (back_end_that_refuses_the_connection, "nobody listens"),
        (picker_that_sheds_load, "saturated"),
        (picker_that_finds_no_endpoint, "no ready endpoint"),
        (caller_of_a_model_that_is_not_routed, "llm"),
        (call_with_a_message_that_is_too_large, "larger than the receiver takes"),
        (callers_that_ask_for_another_name, "it serves llama"),
        (route_whose_timeout_is_too_short, "request 60s"),
    ],
)
def test_the_summary_says_what_the_line_means(build: Any, word: str) -> None:
    result = scan(build(), "404 from the model")
    assert any(word in c.draft.summary for c in result.claims), told(result)


def test_a_service_without_pods_explains_the_flags_of_its_proxy() -> None:
    empty = [deployment("web", ready=1), pod("web", ready=True), service("web", selector={"app": "wbe"}), node()]
    line = structured(503, "UH", response_code_details="no_healthy_upstream")
    result = scan(proxied(line, line, web=empty), "the shop answers 503")
    assert [c.draft.target.kind for c in result.roots] == ["Service"], told(result)
    assert any("UH" in c.draft.summary for c in result.claims if c.role is Role.CONSEQUENCE), told(result)


def test_a_lost_picker_explains_the_flags_of_its_proxy() -> None:
    back = {"group": INFERENCE, "kind": "InferencePool", "name": "llama"}
    lost = pool(told=[no("ResolvedRefs", "InvalidExtensionRef")])
    line = structured(500, "UAEX", "httproute/shop/chat/rule/0", response_code_details="ext_proc_error_gRPC_error_14")
    proxy = [deployment("proxy", ready=1), pod("proxy", ready=True)]
    parts = [family(), gateway(), route("chat", back), lost, *server(), proxy, node()]
    result = scan(cluster(*parts, logs={("proxy-1-1", "app"): f"{line}\n{line}"}), "the llama model answers 500")
    assert [c.draft.target.kind for c in result.roots] == ["InferencePool"], told(result)


FINE = structured(200, "-")
HEALTHY: dict[str, Any] = {
    "requests that go well": lambda: proxied(FINE, FINE, FINE),
    "an error that is over": lambda: proxied(structured(503, "UF"), structured(503, "UF"), FINE),
    "a picker that sheds load, and nobody asks": lambda: picked(429, "ext_proc_immediate_response"),
    "errors of hours ago": lambda: proxied(*[structured(503, "UF", start_time="2026-03-01T08:00:00.000Z")] * 3),
    "one error at the end": lambda: proxied(FINE, FINE, structured(503, "UF")),
    "clients that go away": lambda: proxied(structured(0, "DC"), structured(0, "DC"), structured(499, "DC")),
    "errors of the application itself": lambda: proxied(structured(500, "-"), structured(500, "-")),
    "scanners that no route takes": lambda: proxied(plain(404, "NR"), plain(404, "NR"), plain(404, "NR")),
    "limits that do their work": lambda: proxied(structured(429, "RL"), structured(429, "RL")),
    "lines that are no access log": lambda: proxied("{broken json", '{"response_code": []}', '] "GET" 503 UF', ""),
    "answers of a gRPC application": lambda: _calls("rpc error: code = NotFound desc = no such cart\n" * 4),
    "gRPC calls that failed before": lambda: _calls("rpc error: code = Internal desc = x\n" * 4 + "INFO served\n" * 8),
    "a model that was asked for once": lambda: cluster(web(), *named_server(), logs={("vllm-1-1", "app"): UNKNOWN}),
}


def _calls(text: str) -> ClusterView:
    return cluster(web(), deployment("caller", ready=1), pod("caller", ready=True), logs={("caller-1-1", "app"): text})


@pytest.mark.parametrize("name", sorted(HEALTHY))
def test_what_is_well_is_called_well(name: str) -> None:
    check_healthy(HEALTHY[name])


@pytest.mark.parametrize("flag", sorted(FLAGS))
def test_every_flag_has_words_and_somebody_who_acts(flag: str) -> None:
    found = read(plain(503, flag))
    assert found is not None
    assert found.failed
    assert FLAGS[flag].means
    assert FLAGS[flag].act


def test_the_tables_fit_together() -> None:
    assert set(LONG_NAMES.values()) <= set(FLAGS)
    assert set(GRPC_MEANS) <= set(GRPC.values())


def test_a_line_is_read_in_all_formats() -> None:
    for line in (
        plain(503, "UF"),
        structured(503, "UF"),
        structured(503, "UpstreamConnectionFailure"),
        plain(503, "UF,URX"),
    ):
        found = read(line)
        assert found is not None
        assert (found.code, found.flag, found.host) == (503, "UF", "shop.acme.test")
    assert read("Listening on :8080") is None
