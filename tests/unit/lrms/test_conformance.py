from types import SimpleNamespace

import pytest

from gshell.errors import LrmsError
from gshell.lrms import base, registry, slurm
from gshell.lrms.base import Allocation, Command, Done, State, Status
from gshell.lrms.conformance import METHODS, check
from kit.lrms import SAMPLES


@pytest.mark.parametrize("name", registry.NAMES)
def test_every_plug_in_of_ours_keeps_the_contract(name):
    assert check(registry.plugin(name), SAMPLES[name]) == []


def slurm_but(**changed):
    """Slurm's plug-in with something wrong in it."""
    right = {name: getattr(slurm, name) for name in (*METHODS, "name", "directive")}
    return SimpleNamespace(**{**right, **changed})


def shell(request):
    return Command(["sh", "-c", f"sbatch --parsable -J {request.name} {request.script}"])


def unquoted(request):
    return [line.replace('"', "") for line in slurm.header(request)]


def forgetful(request):
    return [line for line in slurm.header(request) if "--time" not in line]


def by_the_minute(request):
    return slurm.header(request._replace(walltime_s=request.walltime_s % 86400))


def no_slots(request):
    return slurm.header(request._replace(slots=min(request.slots, 1)))


def on_lines(request):
    return [*slurm.header(request._replace(account="")), f"#SBATCH -A {request.account}"]


def blind(done):
    return slurm.submitted(done._replace(code=0))


def trusting(done):
    return done.out.strip()


def split(ids, done):
    return {
        fields[0]: Status(fields[0], State[fields[1]])
        for fields in (line.split("|") for line in done[0].out.splitlines())
    }


def deaf(ids, done):
    return slurm.statuses(ids, [one._replace(code=0, err="") for one in done])


def hasty(ids, done):
    """What is not named has ended."""
    found = slurm.statuses(ids, done)
    return {
        one: Status(one, State.ENDED, "gone") if status.state is State.UNKNOWN else status
        for one, status in found.items()
    }


def fussy(ids, done):
    if len(done) > 1 and "|" not in done[1].out:
        raise LrmsError("broken", "no positions")
    return slurm.statuses(ids, done)


def first_only(ids, done):
    return dict(list(slurm.statuses(ids, done).items())[:1])


def ask_all(ids):
    return [Command(["squeue", "-o", "%i", "-j", ",".join(ids)])] if ids else []


def kill_all(ids):
    return Command(["scancel", *ids])


def find_as_said(prefix, user):
    return Command(["squeue", "-u", user])


def claims(env, read, now):
    return Allocation("slurm", "1", (("n1", 2), ("n2", 2)))


def careless(env, read, now):
    return slurm.allocation(env, read, now) if env["SLURM_JOB_ID"] else None


def by_task(env, read, now):
    found = slurm.allocation(env, read, now)
    return found and found._replace(hosts=tuple((host, 1) for host, _ in found.hosts))


def joined(allocation, hosts, argv):
    return [Command(["srun", "-w", host, "sh", "-c", " ".join(argv)]) for host in hosts]


def greedy(done):
    return [queue._replace(cpus_free=99) for queue in slurm.offered(done)]


def all_default(done):
    return [queue._replace(default=True) for queue in slurm.offered(done)]


def bad_code(done):
    raise LrmsError("no", "no")


def guess(text):
    return base.Headers()


def crude(text):
    try:
        return slurm.headers(text)
    except LrmsError:
        raise LrmsError("refused", "not understood")


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"status": None}, "status: there is none"),
        ({"name": None}, "name: there is none"),
        ({"submit": shell}, "submit: name 'a b;rm' gets into what a shell reads"),
        ({"submit": lambda request: "sbatch"}, "submit: not a Command but str"),
        ({"submit": lambda request: Command("sbatch x")}, "submit: argv is not a list"),
        ({"header": unquoted}, "header: name 'a b;rm' does not come back"),
        ({"header": forgetful}, "submit: walltime_s is not asked for"),
        ({"header": by_the_minute}, "header: a walltime of 90061 s comes back as 3661 s"),
        ({"header": no_slots}, "header: 1 nodes with 4 slots come back as 1"),
        ({"header": on_lines}, "header: account 'x\\ny' is not on one line"),
        ({"header": lambda request: []}, "headers: does not read what header wrote"),
        ({"submitted": blind}, "submitted: does not look at the exit code"),
        ({"submitted": trusting}, "submitted: finds an id in nothing"),
        ({"submitted": bad_code}, "submitted: LrmsError with the code 'no'"),
        ({"statuses": split}, "statuses: raised "),
        ({"statuses": deaf}, "statuses: a command that failed is taken for an answer"),
        ({"statuses": hasty}, "an answer that is cut off after"),
        ({"statuses": fussy}, "statuses: command 2 only adds, but spoils everything"),
        ({"statuses": first_only}, "statuses: no answer for"),
        ({"status": ask_all}, "status: '-rf' gets into the command"),
        ({"cancel": kill_all}, "cancel: makes a command of what is no id"),
        ({"find": find_as_said}, "find: user '-rf' is taken for an option"),
        ({"found": lambda done: {}}, "found: {}, not {"),
        ({"found": lambda done: done.out.split()[0]}, "found: raised IndexError"),
        ({"offered": greedy}, "offered: main has 16 and 99 of them are free"),
        ({"offered": all_default}, "offered: more than one queue is the default"),
        ({"allocation": claims}, "allocation: takes the environment of oar for its own"),
        ({"allocation": careless}, "allocation: raised KeyError"),
        ({"allocation": by_task}, "allocation: (('n1', 1), ('n2', 1)) in slurm, not "),
        ({"ended_at": lambda done, now: float(done.out)}, "ended_at: raised ValueError"),
        ({"ended_at": lambda done, now: 1.0}, "ended_at: knows an end from a command that failed"),
        ({"on_nodes": joined}, "on_nodes: the words do not arrive as they were"),
        ({"on_nodes": lambda *_: []}, "on_nodes: starts nothing"),
        ({"headers": guess}, "headers: finds some where there are none"),
        ({"headers": crude}, "headers: does not say which line is wrong"),
    ],
)
def test_what_is_wrong_with_a_plug_in_is_said(changed, complaint):
    complaints = check(slurm_but(**changed), SAMPLES["slurm"])
    assert any(complaint in each for each in complaints), complaints


def test_an_unknown_state_is_no_guess():
    guessing = slurm_but(
        statuses=lambda ids, done: {
            one: status._replace(state=State.RUNNING) if "POND" in status.reason else status
            for one, status in slurm.statuses(ids, done).items()
        }
    )
    assert check(guessing, SAMPLES["slurm"]) == [
        "statuses: a state that nobody knows is not UNKNOWN"
    ]


def test_a_sample_that_says_otherwise_is_a_complaint():
    wrong = SAMPLES["slurm"]._replace(id="2", submitted=Done(0, "1\n"))
    assert check(slurm, wrong) == ["submitted: '1', not '2'"]
