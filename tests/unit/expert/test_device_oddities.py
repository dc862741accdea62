"""Objects of dynamic resource allocation that no API server would send break no analyzer."""

from __future__ import annotations

import copy

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from agents.expert.causes import scan
from assistant.domain.view import ClusterView

from . import test_device_states, test_devices, test_plugins
from .test_health import spoil

CASES = {**test_devices.case.rows, **test_device_states.case.rows, **test_plugins.case.rows}


@st.composite
def spoiled_views(draw: st.DrawFn) -> ClusterView:
    whole = CASES[draw(st.sampled_from(sorted(CASES)))].build()
    odd = ClusterView("shop")
    for resource in whole.resources:
        things = whole.all(resource)
        raws = [spoil(copy.deepcopy(dict(t.raw)), draw) for t in things]
        odd.add(resource, raws, "GET /", api_version=things[0].api_version, kind=things[0].kind)
    for log in whole.logs:
        odd.add_log(log)
    return odd


@settings(max_examples=100, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(spoiled_views())
def test_objects_of_an_odd_form_break_no_analyzer(odd: ClusterView) -> None:
    result = scan(odd, "what is wrong")
    assert not [g for g in result.gaps if "could not judge" in g], result.gaps
