"""What a tool says it needs of the cluster is held against what the identity may do, before anything is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assistant.domain.toolserver import ToolClass
from assistant.tools.mcp.access import KEY, Access, May, checked, needs_of
from assistant.tools.mcp.catalog import Tool, judged
from assistant.tools.mcp.classes import class_of
from assistant.tools.mcp.definition import Definition, define
from assistant.tools.mcp.faults import McpAccessError, McpCallError
from assistant.tools.mcp.pins import Pins, Verdict, pin_of
from assistant.tools.mcp.request import secret_in
from assistant.tools.mcp.servers import Server
from tests.unit.mcp.conftest import Desks
from tests.unit.mcp.servers.scripted import MODERN
from tests.unit.mcp.test_eras import Endpoint, served

TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
IN_NAMESPACE = {"argument": "namespace"}
PODS = {"verbs": ["list"], "target": {"resource": {"resource": "pods"}}, "namespace": IN_NAMESPACE}
ALL_PODS = {**PODS, "namespace": {"all": True}}
NODES = {"verbs": ["get"], "target": {"resource": {"resource": "nodes"}}}
EXEC = {
    "verbs": ["get", "create"], "target": {"resource": {"resource": "pods", "subresource": "exec"}},
    "namespace": IN_NAMESPACE,
}  # fmt: skip
KIND = {
    "verbs": ["get"], "target": {"gvk": {"apiVersionArgument": "apiVersion", "kindArgument": "kind"}},
    "namespace": IN_NAMESPACE,
}  # fmt: skip
ROUTES = {
    "verbs": ["list"], "target": {"resource": {"apiGroup": "route.openshift.io", "resource": "routes"}},
    "namespace": IN_NAMESPACE,
}  # fmt: skip


def meta(*requirements: Any, version: str = "v1alpha1") -> dict[str, Any]:
    return {KEY: {"version": version, "bounded": {"requirements": list(requirements)}}}


def denying(*denied: tuple[str, str, str, str]) -> May:
    return lambda verb, group, resource, namespace: (verb, group, resource, namespace) not in denied


def lacking(may: May, arguments: dict[str, Any], *requirements: Any, named: bool = True) -> Access:
    return checked(needs_of(json.dumps(meta(*requirements))), arguments, may, may_name_namespace=named)


NO_PODS = denying(("list", "", "pods", "shop"), ("list", "", "pods", ""))


def test_a_call_is_barred_by_what_its_first_resource_lacks() -> None:
    assert lacking(NO_PODS, {"namespace": "shop"}, PODS) == Access(("list pods in namespace shop",), True)
    assert lacking(NO_PODS, {"namespace": "web"}, PODS) == Access()


def test_where_the_server_decides_on_the_namespace_nothing_is_certain() -> None:
    assert lacking(NO_PODS, {}, PODS) == Access()
    assert lacking(NO_PODS, {}, ALL_PODS) == Access()
    assert lacking(NO_PODS, {}, ALL_PODS, named=False).barred
    assert lacking(denying(("get", "", "nodes", "")), {}, NODES).barred


def test_what_is_needed_at_most_is_told_and_bars_nothing() -> None:
    may = denying(("list", "route.openshift.io", "routes", "shop"))
    assert lacking(may, {"namespace": "shop"}, PODS, ROUTES) == Access(("list routes in namespace shop",), False)


def test_a_connection_is_opened_by_one_of_two_verbs() -> None:
    get, create = ("get", "", "pods/exec", "shop"), ("create", "", "pods/exec", "shop")
    assert lacking(denying(get), {"namespace": "shop"}, PODS, EXEC) == Access()
    assert lacking(denying(get, create), {"namespace": "shop"}, PODS, EXEC).barred


@pytest.mark.parametrize(
    ("version", "kind", "barred"), [("v1", "Secret", True), ("v1", "Pod", False), ("a.example/v1", "Secret", False)]
)
def test_a_kind_is_looked_at_where_its_resource_is_certain(version: str, kind: str, barred: bool) -> None:
    may = denying(("get", "", "secrets", "shop"))
    assert lacking(may, {"apiVersion": version, "kind": kind, "namespace": "shop"}, KIND).barred is barred


def test_not_known_keeps_nobody_back() -> None:
    assert lacking(lambda *asked: None, {"namespace": "shop"}, PODS, EXEC) == Access()


@pytest.mark.parametrize(
    "said",
    [
        "", "{", "[]", "{}", json.dumps({KEY: {"version": "v1alpha1", "none": {}}}),
        json.dumps({KEY: {"version": "v1alpha1", "unbounded": {"reason": "a chart"}}}),
        json.dumps(meta(PODS, version="v2")), json.dumps(meta(*[PODS] * 100)), json.dumps(meta(3, {"verbs": "list"})),
        json.dumps(meta({"verbs": ["create"], "target": {"manifest": {"argument": "resource"}}})),
        json.dumps({KEY: {"version": "v1alpha1", "bounded": {"requirements": {}}}}),
    ],
)  # fmt: skip
def test_what_says_nothing_that_can_be_checked_needs_nothing(said: str) -> None:
    assert needs_of(said) == ()


def tool(about: dict[str, Any] | None = None) -> Definition:
    return define("kube", "pods_list", "Lists.", {"type": "object"}, {}, (), about)


def test_meta_is_pinned_shown_and_bounded_and_lowers_no_class() -> None:
    assert tool(meta(PODS)).digest != tool().digest
    assert any(line.startswith("meta: ") and "rbac" in line for line in tool(meta(PODS)).lines)
    assert "_meta is larger" in tool({"x": "y" * 20_000}).refused
    none = {KEY: {"version": "v1alpha1", "none": {}}, "readOnlyHint": True}
    assert class_of(Server("kube", "other"), tool(none)) is ToolClass.ASK


async def test_who_may_not_is_told_before_the_call(desks: Desks) -> None:
    about = {"_meta": meta(NODES)}
    async with desks(web={"as": about}, may=denying(("get", "", "nodes", ""))) as desk:
        await desk.approve("web")
        assert (await desk.hub.look("web")).tools[0].notes == ("It may not get nodes.",)
        assert await desk.hub.search("echo") == ()
        with pytest.raises(McpAccessError, match="may not do: get nodes"):
            await desk.hub.prepare("web__echo", {})
        assert desk.calls("web") == 0
    async with desks(web={"as": about}, may=denying()) as desk:
        await desk.approve("web")
        assert (await desk.call("web__echo")).ok


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ({"text": f"Authorization: Bearer {TOKEN}"}, "text"),
        ({"a": {"b": ["fine", TOKEN]}}, "a.b[1]"),
        ({"password": "hunter2-hunter2"}, "password"),
        ({"env": [{"name": "DB_PASSWORD", "value": "hunter2-hunter2"}]}, "env"),
        ({"o": {"kind": "Secret", "apiVersion": "v1", "data": {"a": "aHVudGVyMg=="}}}, "o.data"),
        ({TOKEN: "x"}, "(a name)"),
    ],
)
async def test_a_secret_in_the_arguments_is_not_sent(desks: Desks, arguments: dict[str, Any], where: str) -> None:
    async with desks(web={}) as desk:
        await desk.approve("web")
        with pytest.raises(McpCallError, match="looks like a secret") as caught:
            await desk.hub.prepare("web__echo", arguments)
        assert f"argument {where}" in caught.value.meaning
        assert TOKEN not in str(caught.value)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"namespace": "shop", "name": "web-5d8c7b9f4-x2x7q", "labelSelector": "app=web,tier in (a, b)"},
        {"apiVersion": "v1", "kind": "Secret", "namespace": "shop", "name": "db-password"},
        {"query": 'sum(rate(http_requests_total{job="web"}[5m])) by (code)'},
    ],
)
def test_ordinary_arguments_hold_none(arguments: dict[str, Any]) -> None:
    assert secret_in(arguments) is None


def test_a_server_elsewhere_is_said_to_be_elsewhere(tmp_path: Any) -> None:
    far = Server("notes", url="https://mcp.example.com/mcp", reads=("pods_list",))
    made = judged(far, [tool()], Pins(tmp_path / "pins.json"))[0]
    assert made.kind is ToolClass.READ
    assert "goes to mcp.example.com" in made.notes[0]
    assert "goes to mcp.example.com" in made.function["function"]["description"]
    assert "sends: what stands in calls, over the network to mcp.example.com" in pin_of(far).lines
    near = Server("notes", url="http://127.0.0.1:8080/mcp")
    assert judged(near, [tool()], Pins(tmp_path / "pins.json"))[0].notes == ()
    assert Tool(tool(), ToolClass.READ, Verdict(made.verdict.standing)).notes == ()


async def test_a_server_that_has_an_identity_of_its_own_is_not_judged_by_ours(desks: Desks) -> None:
    orders: dict[str, Any] = {"as": {"_meta": meta(NODES)}}
    endpoint = Endpoint(MODERN, "", **orders)
    async with served(endpoint) as server, desks(server, environ={"T": "t"}, may=lambda *_: False) as desk:
        await desk.approve("far")
        (offered,) = (await desk.hub.look("far")).tools
        assert offered.notes == ()
        assert (await desk.call("far__echo", "hello")).text == "said hello"
    async with desks(near={"as": {"_meta": meta(NODES)}}, may=lambda *_: False) as desk:
        await desk.approve("near")
        with pytest.raises(McpAccessError):
            await desk.call("near__echo")
