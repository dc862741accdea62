"""Random payloads of every kind, for properties that must hold whatever a session says."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from assistant.domain import event as ev

ids = st.sampled_from(["A-0001", "A-0002", "E1", "E2", "T1", "T2", "S1", "S2", "s1"])
texts = st.one_of(ids, st.text(max_size=20))

st.register_type_strategy(str, texts)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False, width=32))
st.register_type_strategy(int, st.integers(0, 2**31))
st.register_type_strategy(
    datetime,
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
)

payloads: st.SearchStrategy[ev.Payload] = st.one_of([st.from_type(kind) for kind in ev.KINDS.values()])
