"""OpenYurt: sites that are offline, what becomes of their pods, pools without a leader, applications without a site."""

from __future__ import annotations

from typing import Any

import pytest

from agents.expert.analyzers.autonomy import corrected, go_duration
from agents.expert.causes import Scan, scan
from assistant.domain.finding import Role
from assistant.domain.view import Log

from .objects import OLD, SOON, Raw, deployment, node, pod, service
from .platforms import Row, condition, made, undecided, verify, well, world

EDGE = "openyurt.io/is-edge-worker"
POOL = "apps.openyurt.io/nodepool"
DURATION = "node.openyurt.io/autonomy-duration"
GONE = "Kubelet stopped posting node status."


def edge_node(name: str, pool: str = "s17", *, lost: str = "", notes: Raw | None = None, **labels: str) -> Raw:
    """An edge node, lost since the time `lost`."""
    found = node(name, labels={EDGE: "true", **({POOL: pool} if pool else {}), **labels})
    found["metadata"]["annotations"] = notes or {}
    if lost:
        found["status"]["conditions"] = [condition("Ready", "Unknown", "NodeStatusUnknown", GONE, lost)]
        found["spec"]["taints"] = [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]
    return found


def pool(
    name: str = "s17", ready: int = 2, lost: int = 0, *, labels: Raw | None = None, leader: int = 0, **spec: Any
) -> Raw:
    status = {"readyNodeNum": ready, "unreadyNodeNum": lost, "nodes": [], "leaderNum": leader}
    return made("NodePool", name, "", metadata={"labels": labels or {}}, spec={"type": "Edge", **spec}, status=status)


def site(name: str, *lost: str) -> list[Raw]:
    """A pool of as many nodes as there are times at which they were lost, "" for one that is ready."""
    nodes = [edge_node(f"{name}-{i}", name, lost=at, notes={DURATION: "24h"}) for i, at in enumerate(lost)]
    gone = sum(bool(x) for x in lost)
    return [pool(name, len(lost) - gone, gone), *nodes]


def app_set(name: str = "menu", *conditions: Raw, counts: tuple[int, int] = (1, 1), **spec: Any) -> Raw:
    status = {"totalWorkloads": counts[0], "readyWorkloads": counts[1], "conditions": list(conditions)}
    return made("YurtAppSet", name, spec={"workload": {}, **spec}, status=status)


def roots(result: Scan) -> list[str]:
    return [f"{c.draft.target.kind}/{c.draft.target.name}" for c in result.roots]


PLAIN: Raw = {"name": "a", "labels": {POOL: "s17"}, "annotations": {DURATION: "24h"}}
NOT_MADE = condition("AppDispatched", "False", "CreateWorkloadError", "quota")
NOT_CONVERTED = edge_node("a")
NOT_CONVERTED["status"]["conditions"].append(
    condition("YurtNodeConversionFailed", "True", "ConvertFailed", "yurthub did not start")
)
DELEGATED = edge_node("a")
DELEGATED["spec"]["taints"] = [{"key": "node.openyurt.io/unschedulable", "effect": "NoSchedule"}]


def raven(node_name: str, *active: str) -> Raw:
    return made(
        "RavenGateway",
        "gw-s17",
        "",
        spec={"endpoints": [{"nodeName": node_name}]},
        status={"nodes": [{"nodeName": "s17-a"}], "activeEndpoints": [{"nodeName": n} for n in active]},
    )


def within(topology: str) -> list[Raw]:
    """A Service that is to keep its traffic at the site, and its pod."""
    found = service("web")
    found["metadata"]["annotations"] = {"openyurt.io/topologyKeys": topology}
    return [found, pod("web", ready=True)]


ROWS: dict[str, Row] = {
    "site is offline": Row(
        lambda: [
            pool("s42", 0, 2),
            edge_node("s42-a", "s42", lost="2026-03-01T11:20:00Z", notes={DURATION: "24h"}),
            edge_node("s42-b", "s42", lost="2026-03-01T11:20:05Z", notes={"x": "y"}),
        ],
        "edge",
        "NodePool/s42",
        "status.unreadyNodeNum",
        ("2 nodes are NotReady", "all at once", "site's link", "s42-a stay", "s42-b are evicted"),
        "Check the link and the power of site s42",
    ),
    "site is offline, by its own count": Row(
        lambda: [pool("s42", 0, 3)],
        "edge",
        "NodePool/s42",
        "status.unreadyNodeNum",
        ("3 nodes",),
        "link",
    ),
    "one node of a site with autonomy": Row(
        lambda: [pool(), edge_node("a", lost="2026-03-01T11:20:00Z", notes={DURATION: "24h"}), edge_node("b")],
        "edge",
        "Node/a",
        "status.conditions",
        ("not ready", "stay until 2026-03-02 11:20 UTC", "no eviction", "last known"),
        "delete and drain nothing",
    ),
    "one node with autonomy for ever": Row(
        lambda: [pool(), edge_node("a", lost=OLD, notes={DURATION: "0"}), edge_node("b")],
        "edge",
        "Node/a",
        "status.conditions",
        ("however long",),
        "delete and drain nothing",
    ),
    "one node that is bound": Row(
        lambda: [pool(), edge_node("a", lost=OLD, notes={"apps.openyurt.io/binding": "true"}), edge_node("b")],
        "edge",
        "Node/a",
        "status.conditions",
        ("without an end",),
        "on site",
    ),
    "one node without autonomy": Row(
        lambda: [
            pool(),
            edge_node("a", lost="2026-03-01T11:20:00Z", notes={"x": "y"}),
            edge_node("b", notes={DURATION: "12h"}),
        ],
        "edge",
        "Node/a",
        "status.conditions",
        ("no autonomy", "evicted 300 s after that, at 2026-03-01 11:25 UTC"),
        "autonomy of 12h",
    ),
    "the only node of its site": Row(
        lambda: [pool(ready=0, lost=1), edge_node("a", lost=OLD, notes={DURATION: "1h"})],
        "edge",
        "Node/a",
        "status.conditions",
        ("stay until 2026-03-01 12:00 UTC",),
        "power and network",
    ),
    "autonomy of a word that is none": Row(
        lambda: [pool(), edge_node("a", notes={DURATION: "1d"}), edge_node("b")],
        "edge",
        "Node/a",
        DURATION,
        ("'1d' cannot be read",),
        "to 24h",
    ),
    "node of no pool": Row(
        lambda: [pool(), edge_node("s17-c", "")],
        "edge",
        "Node/s17-c",
        POOL,
        ("no NodePool",),
        "to pool s17",
    ),
    "node of a pool that is none": Row(
        lambda: [pool("store-17"), edge_node("a", "stroe-17")],
        "edge",
        "Node/a",
        POOL,
        ("stroe-17", "does not exist"),
        "Take the label off",
    ),
    "autonomy of a node that is no edge worker": Row(
        lambda: [pool(), {**edge_node("a", notes={DURATION: "24h"}), "metadata": PLAIN}, edge_node("b")],
        "edge",
        "Node/a",
        EDGE,
        ("no autonomy", "no effect"),
        "Edge pool",
    ),
    "node that was not converted": Row(
        lambda: [pool(), NOT_CONVERTED],
        "edge",
        "Node/a",
        "conditions",
        ("ConvertFailed", "yurthub did not start"),
        "conversion",
    ),
    "heartbeats through the coordinator": Row(
        lambda: [pool(), DELEGATED],
        "edge",
        "Node/a",
        "spec.taints",
        ("coordinator", "its pods stay"),
        "link to the cloud",
    ),
    "no leader, by mark": Row(
        lambda: [
            pool(enableLeaderElection=True, leaderElectionStrategy="mark", leaderNodeLabelSelector={"leader": "ture"}),
            edge_node("a", leader="true"),
            edge_node("b"),
        ],
        "edge",
        "NodePool/s17",
        "leaderNodeLabelSelector",
        ("no leader", "leader=ture"),
        "leader=true",
    ),
    "no leader, by chance": Row(
        lambda: [pool(enableLeaderElection=True, leaderElectionStrategy="random"), edge_node("a")],
        "edge",
        "NodePool/s17",
        "status.leaderNum",
        ("no leader",),
        "yurt-manager",
    ),
    "application that reaches no site": Row(
        lambda: [
            pool(labels={"region": "north"}),
            app_set(
                "menu",
                condition("PoolFound", "False", "NoFindPools", "There are no matched nodepools"),
                counts=(0, 0),
                nodepoolSelector={"matchLabels": {"region": "nord"}},
            ),
        ],
        "edge",
        "YurtAppSet/menu",
        "spec.nodepoolSelector",
        ("reaches no site", "region=nord"),
        "region=north",
    ),
    "application of a pool that is none": Row(
        lambda: [pool("store-17"), app_set(pools=["store-17", "stroe-17"])],
        "edge",
        "YurtAppSet/menu",
        "spec.pools[1]",
        ("stroe-17",),
        "store-17",
    ),
    "application that cannot be made": Row(
        lambda: [pool(), app_set("menu", NOT_MADE, pools=["s17"])],
        "edge",
        "YurtAppSet/menu",
        "status.conditions",
        ("CreateWorkloadError", "quota"),
        "controller says",
    ),
    "application of a pool that is none, in the older form": Row(
        lambda: [pool("store-17"), app_set(topology={"pools": [{"name": "stroe-17"}]})],
        "edge",
        "YurtAppSet/menu",
        "spec.topology.pools[0].name",
        ("stroe-17",),
        "store-17",
    ),
    "sites that are not connected": Row(
        lambda: [raven("s17-x"), edge_node("s17-a"), pool()],
        "edge",
        "Gateway/gw-s17",
        "spec.endpoints[0].nodeName",
        ("no active endpoint", "s17-x does not exist"),
        "node s17-a",
    ),
    "topology that is none": Row(
        lambda: within("openyurt.io/nodepol"),
        "edge",
        "Service/web",
        "topologyKeys",
        ("nodepol", "leaves the site"),
        "openyurt.io/nodepool",
    ),
    "topology without any pool": Row(
        lambda: within("openyurt.io/nodepool"),
        "edge",
        "Service/web",
        "topologyKeys",
        ("no NodePool",),
        "Create the NodePools",
    ),
}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_cause_at_the_edge_is_found(name: str) -> None:
    verify(ROWS[name])


def test_a_site_explains_its_nodes_and_their_pods() -> None:
    result = scan(world(*site("s17", OLD, OLD), *site("s18", "", ""), pod("web", node="s17-0")), "web is down")
    assert roots(result) == ["NodePool/s17"]
    kinds = [c.draft.target.kind for c in result.claims if c.role is Role.CONSEQUENCE]
    assert kinds.count("Node") == 2


def test_all_sites_at_once_are_the_clouds_fault() -> None:
    result = scan(world(*site("s17", OLD, OLD), *site("s18", OLD, "2026-03-01T11:00:20Z")), "all shops are down")
    assert len(result.roots) == 1
    draft = result.roots[0].draft
    assert "All 2 sites" in draft.summary and "cloud" in draft.summary
    assert "API server" in draft.fixes[0].title
    told = {c.draft.target.name for c in result.claims if c.role is Role.CONSEQUENCE}
    assert {"s17", "s18", "s17-0", "s18-1"} <= told


def test_sites_that_went_hours_apart_have_causes_of_their_own() -> None:
    result = scan(world(*site("s17", "2026-03-01T03:00:00Z", "2026-03-01T03:00:09Z"), *site("s18", OLD, OLD)), "down")
    assert sorted(roots(result)) == ["NodePool/s17", "NodePool/s18"]


def test_no_way_out_of_an_edge_outage_destroys_anything() -> None:
    result = scan(world(*site("s17", OLD, OLD), pod("web", node="s17-0")))
    for claim in result.claims:
        for fix in claim.draft.fixes:
            assert fix.action is None or fix.action.method == "PATCH", fix


def test_pods_of_a_node_are_evicted_as_they_say_themselves() -> None:
    short = [
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
    ]
    lost = edge_node("a", lost="2026-03-01T11:20:00Z")
    result = scan(world(pool(), lost, edge_node("b"), pod("web", node="a", tolerations=short)))
    assert "evicted 30 s after that, at 2026-03-01 11:20 UTC" in result.roots[0].draft.summary


@pytest.mark.parametrize(
    "objects",
    [
        [pool(leader=1, enableLeaderElection=True, leaderElectionStrategy="random"), edge_node("a"), edge_node("b")],
        [made("NodePool", "core", "", spec={"type": "Cloud"}, status={"readyNodeNum": 3, "unreadyNodeNum": 0})],
        [pool(enableLeaderElection=False), edge_node("a")],
        [pool(), edge_node("a", notes={DURATION: "1h30m"}), edge_node("b", notes={DURATION: "-5m"})],
        [pool(labels={"region": "north"}), app_set(nodepoolSelector={"matchLabels": {"region": "north"}})],
        [pool("s17"), app_set("menu", condition("PoolFound", "True", "FindPools"), pools=["s17"], counts=(3, 2))],
        [pool("s17"), app_set("menu", condition("AppReady", "False", "Progressing", since=SOON), pools=["s17"])],
        [pool("s17", 0, 0)],
        [raven("s17-a", "s17-a"), edge_node("s17-a"), pool()],
    ],
)
def test_a_site_that_is_well_is_no_fault(objects: list[Raw]) -> None:
    well(*objects)


def test_an_older_word_of_missing_pools_is_not_diagnosed_from() -> None:
    old = condition("AppDispatched", "False", "CreateWorkloadError", observedGeneration=1)
    app = app_set("menu", old, pools=["s17"])
    app["metadata"]["generation"] = 2
    undecided(pool(), app, word="has not seen the last change")


def test_an_application_that_no_controller_has_seen_is_undecided() -> None:
    app = app_set(pools=["s17"])
    del app["status"]
    undecided(pool(), app, word="no controller has taken it up")


def test_a_lost_node_that_is_no_edge_node_is_read_as_before() -> None:
    result = scan(world(node("n7", ready="Unknown", message=GONE)))
    assert [c.draft.category for c in result.roots] == ["node"]
    assert "autonomy" not in result.roots[0].draft.summary


def test_nodes_are_in_no_pool_where_openyurt_is_not_installed() -> None:
    well(edge_node("a", ""), absent=("NodePool", "YurtAppSet"))


def test_a_site_of_others_is_a_note_in_a_namespace_without_pods_there() -> None:
    well(*site("s17", OLD, OLD), namespace="shop")


def test_a_site_counts_in_a_namespace_whose_applications_go_there() -> None:
    down = site("s17", OLD, OLD)
    app = app_set(pools=["s17"], counts=(1, 0))
    by_set = scan(world(*down, app, namespace="lab"), "the menu is down")
    assert roots(by_set) == ["NodePool/s17"]
    waiting = deployment("menu", nodeSelector={POOL: "s17"})
    by_selector = scan(world(*down, waiting, namespace="shop"), "the menu is down")
    assert roots(by_selector) == ["NodePool/s17"]


def test_a_node_that_its_pool_lists_needs_no_label() -> None:
    listed = pool()
    listed["status"]["nodes"] = ["a"]
    well(listed, edge_node("a", ""))


def test_yurthub_without_a_certificate() -> None:
    hub = pod("yurt-hub", 1, owner_kind="Node", node="a")
    log = "I0301 11:00 waiting for hub certificate to be issued\n" * 3
    name = hub["metadata"]["name"]
    hub["metadata"]["namespace"] = "kube-system"
    built = world(pool(), edge_node("a"), hub, namespace="")
    built.add_log(Log("kube-system", name, "app", False, log, "GET /log"))
    result = scan(built)
    assert any("has no certificate" in c.draft.summary for c in result.roots)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("24h", 86400), ("1h30m", 5400), ("0", 0), ("-1h", -3600), ("1.5h", 5400), ("90", None), ("1d", None), ("", None)],
)
def test_durations_are_those_of_go(text: str, seconds: float | None) -> None:
    assert go_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "right"), [("1d", "24h"), ("24 hours", "24h"), ("90 min", "90m"), ("90", ""), ("soon", "")]
)
def test_a_duration_in_other_words_is_only_corrected_where_it_is_certain(text: str, right: str) -> None:
    assert corrected(text) == right
