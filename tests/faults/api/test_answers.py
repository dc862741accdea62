"""Answers that make no sense, lead elsewhere, or carry hostile text; API versions and clocks that are not expected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assistant.domain.proposal import CheckResult, ProposalState
from assistant.domain.view import Knowledge
from assistant.errors import GateError, PilothouseError
from tests.faults.api.bench import Bench, bench
from tests.faults.api.wire import DEPLOYMENT, PODS, Fault, Wire, answering, failing, http_date
from tests.gate.conftest import not_decided, says

State = ProposalState
LOGIN = b"<html>\x1b[2J<title>Sign in</title>" + b"<p>corporate proxy</p>" * 40 + b"</html>"
ESC = "\x1b[31mred\x1b]0;title\x07 \u202ereversed [bold]markup[/bold] [@click=app.quit]here[/]"


def page(status: int, body: bytes = LOGIN, content_type: str = "text/html; charset=utf-8") -> Fault:
    return answering(status, body, Content_Type=content_type)


def clean(text: str) -> bool:
    return not any(ord(char) < 32 and char != "\n" for char in text) and "\u202e" not in text and "\x7f" not in text


class TestAPageInsteadOfAnAnswer:
    @pytest.mark.parametrize("status", [200, 403, 503])
    async def test_is_quoted_by_its_beginning_and_cleaned(self, it: Bench, status: int) -> None:
        it.wire.faults["list"] = [page(status)] * 3
        ended = await it.read("list")
        assert not ended.ok
        why = "".join(why for _, _, _, why in it.reader.view.gaps())
        assert "Sign in" in why
        assert "text/html" in why
        assert clean(why)
        assert "␛[2J" in why, "made visible, not dropped"
        assert why.count("corporate proxy") < 12, "cut after 200 characters"

    async def test_is_no_log(self, it: Bench) -> None:
        # A log may be any text, so only the status tells: a page with 200 is what the server says the log is.
        it.wire.faults["log"] = [page(502)] * 3
        assert not (await it.read("log")).ok
        assert it.reader.view.log("shop", "web-1", "web") is None

    async def test_on_a_watch_about_pods_is_withheld_with_its_beginning(self, it: Bench) -> None:
        it.wire.faults["watch"] = [page(200)]
        async with it.lab.client() as client, client.get(PODS + "?watch=true") as answer:
            message = (await answer.json())["message"]
        assert answer.status == 502
        assert "Sign in" in message
        assert clean(message)

    async def test_on_a_dry_run_makes_it_unknown(self, it: Bench) -> None:
        it.wire.faults["dry run"] = [page(200)]
        proposal = await it.propose()
        assert {c.name: c for c in proposal.checks}["dry run"].result is CheckResult.UNKNOWN

    @pytest.mark.parametrize("status", [200, 503])
    async def test_on_a_change_makes_it_unknown(self, it: Bench, status: int) -> None:
        outcome = await it.change(page(status))
        assert outcome.state is State.UNKNOWN
        assert "Sign in" in outcome.message
        assert clean(outcome.message)
        assert "the object is as it was" in outcome.message
        assert len(it.wire.of("mutate")) == 1


class TestBrokenJson:
    @pytest.mark.parametrize(
        ("body", "content_type", "said"),
        [
            (b'{"kind":"PodList","items":[', "application/json", "The answer is not JSON."),
            (b'{"kind":"PodList","items":[{"a":"\xff\xfe"}]}', "application/json", "The answer is not JSON."),
            (b"", "application/json", "The answer is not JSON."),
            (b"\x00\x01\x02", "application/json", "The answer is not JSON."),
            (b"[1, 2]", "application/json", "The answer is not a JSON object."),
            (b"{}", "application/json", "The answer is not a list of objects."),
            (b'{"kind":"Status","status":"Success"}', "application/json", "The answer is not a list of objects."),
            (b'{"kind":"PodList","items":[]}', "application/yaml", "not JSON"),
            (b"k8s\x00\n\x0c", "application/vnd.kubernetes.protobuf", "not JSON"),
        ],
    )
    async def test_is_a_failure_and_no_empty_list(self, it: Bench, body: bytes, content_type: str, said: str) -> None:
        it.wire.faults["list"] = [page(200, body, content_type)] * 3
        ended = await it.read("list")
        assert not ended.ok
        assert said in ended.result
        assert clean(ended.result)
        assert it.reader.view.knowledge("pods", "shop") is Knowledge.FAILED

    async def test_holds_no_secret_when_it_is_quoted(self, it: Bench) -> None:
        secret = "hun" + "ter2-" + "value99"
        it.wire.faults["other"] = [page(200, b'{"items":[{"password": "' + secret.encode() + b'", ')] * 3
        with pytest.raises(PilothouseError) as caught:
            await it.client.get_json("/api/v1/namespaces/shop/services")
        assert secret not in caught.value.detail
        assert "items" in caught.value.detail

    async def test_of_a_change_that_was_taken_is_unknown(self, it: Bench) -> None:
        outcome = await it.change(page(200, b'{"kind":"Deploy', "application/json"))
        assert outcome.state is State.UNKNOWN
        assert "is no object" in outcome.message


class TestARedirection:
    """Whoever it leads to gets no byte, and least of all a credential."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("operation", ["list", "log", "watch", "dry run", "mutate"])
    async def test_is_never_followed(self, tmp_path: Path, operation: str, status: int) -> None:
        elsewhere = Wire()
        await elsewhere.start()
        there = f"{elsewhere.url}/login?token=abc"
        said = ""
        async with bench(tmp_path) as it:
            it.wire.faults[operation] = [answering(status, Location=there)] * 3
            if operation in ("list", "log"):
                ended = await it.read(operation)
                assert not ended.ok
                said = ended.result
            elif operation == "watch":
                async with it.lab.client() as client, client.get(PODS + "?watch=true") as answer:
                    assert answer.status == 502
                    assert "Location" not in answer.headers
                    said = (await answer.json())["message"]
            elif operation == "dry run":
                check = {c.name: c for c in (await it.propose()).checks}["dry run"]
                assert check.result is CheckResult.UNKNOWN
                said = check.text
            else:
                proposal = await it.propose()
                await it.lab.control.decide(says(proposal))
                outcome = await it.lab.control.execute(proposal.id)
                assert outcome.state is State.UNKNOWN
                said = outcome.message
            assert len(it.wire.of(operation)) == 1, "not tried again either"
        elsewhere.stop()
        assert elsewhere.connections == 0
        assert elsewhere.url in said
        assert "not followed" in said
        assert "abc" not in said


class TestHostileWords:
    @pytest.mark.parametrize("status", [403, 404, 409, 422, 500])
    async def test_of_the_server_reach_no_screen_as_they_are(self, it: Bench, status: int) -> None:
        it.wire.faults["list"] = it.wire.faults["log"] = [failing(status, ESC)] * 6
        await it.read("list")
        await it.read("log")
        for text in (*it.screen.plain, *it.screen.frames):
            assert clean(text)
        assert any("␛[31mred" in line for line in it.screen.plain)
        assert any("[bold]markup[/bold]" in frame for frame in it.screen.frames), "shown as text, not as markup"

    @pytest.mark.parametrize("status", [403, 404, 409, 422])
    async def test_of_a_refused_change_are_clean_and_nothing_was_changed(self, it: Bench, status: int) -> None:
        outcome = await it.change(failing(status, f'admission webhook "x" denied the request: {ESC}'))
        assert outcome.state is State.FAILED
        assert "denied the request" in outcome.message
        assert clean(outcome.message)
        assert len(it.wire.of("mutate")) == 1

    async def test_of_a_refused_dry_run_stand_in_the_way_of_the_approval(self, it: Bench) -> None:
        it.wire.faults["dry run"] = [failing(403, f'admission webhook "x" denied the request: {ESC}')]
        proposal = await it.propose()
        assert not proposal.approvable
        assert "denied the request" in proposal.not_approvable
        assert clean(proposal.not_approvable)
        assert await not_decided(it.lab.control, says(proposal))

    async def test_a_conflict_leads_to_a_new_proposal_and_no_rebase(self, it: Bench) -> None:
        outcome = await it.change(failing(409, "the object has been modified"))
        assert outcome.state is State.FAILED
        assert "changed since you looked" in outcome.message
        it.wire.touch()
        again = await it.propose()
        assert again.id != outcome.proposal
        assert again.resource_version == "99"
        assert len(it.wire.of("mutate")) == 1


class TestAnApiThatWasRemoved:
    async def test_is_known_to_be_absent(self, it: Bench) -> None:
        it.wire.faults["list"] = [failing(404, "the server could not find the requested resource")]
        ended = await it.read("list")
        assert not ended.ok
        assert "could not find the requested resource" in ended.result
        assert it.reader.view.knowledge("pods", "shop") is Knowledge.ABSENT

    async def test_is_named_when_it_is_to_be_changed(self, it: Bench) -> None:
        del it.wire.objects[DEPLOYMENT]
        it.wire.faults["dry run"] = [failing(404, "the server could not find the requested resource")]
        proposal = await it.propose()
        assert not proposal.approvable
        assert "could not find the requested resource" in proposal.not_approvable

    async def test_of_a_group_of_which_the_server_knows_nothing_is_left_out(self, it: Bench) -> None:
        await it.reader.read([("rollouts.argoproj.io", "shop")], it.screen)
        assert it.reader.view.knowledge("rollouts.argoproj.io", "shop") is Knowledge.ABSENT

    async def test_the_version_of_the_server_is_told(self, it: Bench) -> None:
        assert (await it.lab.control.info()).server_version == "v1.36.2"


class TestClocksThatDiffer:
    @pytest.mark.parametrize(
        ("hours", "said"), [(1, "60 min ahead of"), (-1, "60 min behind"), (-5, "5 h behind"), (99, "4 days ahead of")]
    )
    async def test_by_an_hour_are_named(self, tmp_path: Path, hours: int, said: str) -> None:
        wire = Wire(date=lambda: http_date(datetime.now(UTC) + timedelta(hours=hours)))
        async with bench(tmp_path, wire) as it:
            (note,) = (await it.lab.control.info()).notes
        assert said in note

    async def test_are_what_a_recorded_cluster_is_expected_to_have(self, tmp_path: Path) -> None:
        wire = Wire(date=lambda: http_date(datetime.now(UTC) - timedelta(days=30)))
        async with bench(tmp_path, wire, recorded=True) as it:
            assert (await it.lab.control.info()).notes == ()

    @pytest.mark.parametrize("seconds", [0, 60, -60])
    async def test_by_little_are_not_worth_a_word(self, tmp_path: Path, seconds: int) -> None:
        wire = Wire(date=lambda: http_date(datetime.now(UTC) + timedelta(seconds=seconds)))
        async with bench(tmp_path, wire) as it:
            assert (await it.lab.control.info()).notes == ()

    @pytest.mark.parametrize("date", ["yesterday", "", "Thu, 99 Foo 2026"])
    async def test_of_a_server_that_tells_no_time_are_not_guessed(self, tmp_path: Path, date: str) -> None:
        async with bench(tmp_path, Wire(date=lambda: date)) as it:
            assert (await it.lab.control.info()).notes == ()


async def test_what_cannot_be_read_stops_a_proposal_and_says_why(it: Bench) -> None:
    it.wire.raw[DEPLOYMENT] = (200, {"Content-Type": "text/html"}, LOGIN)
    with pytest.raises(GateError) as caught:
        await it.propose()
    assert "not JSON" in caught.value.meaning
    assert it.wire.of("mutate") == []
