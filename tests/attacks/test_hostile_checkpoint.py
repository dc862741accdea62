"""A checkpoint that names code: nothing of it is run, whoever wrote the row."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langgraph.checkpoint.serde import jsonplus

from agents.checkpoint import open_checkpoints

KINDS = ("EXT_CONSTRUCTOR_SINGLE_ARG", "EXT_CONSTRUCTOR_POS_ARGS", "EXT_CONSTRUCTOR_KW_ARGS", "EXT_METHOD_SINGLE_ARG")
CODES = {name: getattr(jsonplus, name) for name in KINDS}


def row(name: str, path: Path) -> bytes:
    """Return a value that would make a folder when it is read by somebody who rebuilds objects."""
    given: dict[str, tuple[Any, ...]] = {
        "EXT_CONSTRUCTOR_SINGLE_ARG": ("os", "mkdir", str(path)),
        "EXT_CONSTRUCTOR_POS_ARGS": ("os", "mkdir", [str(path)]),
        "EXT_CONSTRUCTOR_KW_ARGS": ("os", "mkdir", {"path": str(path)}),
        "EXT_METHOD_SINGLE_ARG": ("pathlib", "Path", str(path), "mkdir"),
    }
    inner = ormsgpack.packb(given[name])
    return ormsgpack.packb({"v": 4, "id": "1", "channel_values": {"x": ormsgpack.Ext(CODES[name], inner)}})


@pytest.mark.parametrize("name", CODES)
async def test_a_row_that_names_a_function_does_not_call_it(tmp_path: Path, name: str) -> None:
    saver = await open_checkpoints(tmp_path / "checkpoints.db")
    try:
        saver.serde.loads_typed(("msgpack", row(name, tmp_path / "made")))
        with sqlite3.connect(tmp_path / "checkpoints.db") as raw:
            raw.execute(
                "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, type, checkpoint, metadata)"
                " VALUES ('s1.1', '', '1', 'msgpack', ?, '{}')",
                (row(name, tmp_path / "made"),),
            )
        await saver.aget_tuple({"configurable": {"thread_id": "s1.1"}})
    finally:
        await saver.conn.close()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["EXT_CONSTRUCTOR_SINGLE_ARG", "EXT_CONSTRUCTOR_POS_ARGS"])
def test_the_rows_do_so_where_nobody_forbids_it(tmp_path: Path, name: str) -> None:
    open_to_all = jsonplus.JsonPlusSerializer(allowed_msgpack_modules=True)
    open_to_all.loads_typed(("msgpack", row(name, tmp_path / "made")))
    assert (tmp_path / "made").is_dir()


@pytest.mark.parametrize("kind", ["pickle", "json", "bytes", "unknown"])
async def test_another_kind_of_value_is_no_way_around(tmp_path: Path, kind: str) -> None:
    import pickle

    class Bad:
        def __reduce__(self) -> tuple[Any, ...]:
            import os

            return os.mkdir, (str(tmp_path / "made"),)

    saver = await open_checkpoints(None)
    hostile = {
        "pickle": pickle.dumps(Bad()),
        "json": b'{"lc": 2, "type": "constructor", "id": ["os", "mkdir"], "kwargs": {"path": "%s"}}'
        % str(tmp_path / "made").encode(),
    }
    try:
        saver.serde.loads_typed((kind, hostile.get(kind, b"x")))
    except Exception as error:
        assert error
    finally:
        await saver.conn.close()
    assert not (tmp_path / "made").exists()
