"""A submitter against a real door, broker and journal."""


def register(relay, *pilots):
    one = relay.client()
    site = {"name": "slurm", "lrms": "slurm"}
    answer = one.control.ask("submitter", host="fe", sites=[site], pilots=list(pilots))
    assert answer["ok"], answer
    return one


def test_pilots_are_told_once_and_again_after_the_broker_began_anew(relay):
    submitter = register(relay)
    answer = relay.client().control.ask("pilot-start", site="slurm", n=2)
    first, second = answer["pilots"]
    assert [submitter.control.get("pilot-submit")["pilot"] for _ in "12"] == [first, second]
    report = {"m": "pilot", "pilot": first, "state": "queued", "lrms_id": "7"}
    submitter.control.say(report)
    relay.until(lambda: relay.broker._core.books.pilots[first].state == "queued")
    relay.stop_broker()
    relay.start_broker()
    relay.until(lambda: submitter.control.error)
    submitter = register(relay, first)
    assert submitter.control.get("pilot-submit")["pilot"] == second
    pilots = relay.client().control.ask("pilots")["pilots"]
    assert {p["pilot"]: (p["state"], p["lrms_id"]) for p in pilots} == {
        first: ("queued", "7"), second: ("asked", ""),
    }  # fmt: skip
