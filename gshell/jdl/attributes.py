"""What a job description may say: names, kinds of value, and what becomes of each here."""

from __future__ import annotations

import difflib
from typing import NamedTuple

STRING, STRINGS, WHOLE, NUMBER, FLAG, EXPRESSION, AD, ANY = (
    "a string", "a string or a list of strings", "a whole number", "a number", "true or false",
    "an expression", "an ad [...]", "anything",
)  # fmt: skip


class Attribute(NamedTuple):
    name: str
    kind: str
    note: str = ""
    """Why it changes nothing here; empty: it counts."""
    warns: bool = False
    """Who wrote it will miss it."""


_GRID = "there is no such service here"
_DATA = "there are no storage elements here"


def _table() -> dict[str, Attribute]:
    used = {
        STRING: "Type SubJobType Executable Arguments StdInput StdOutput StdError "
        "InputSandboxBaseURI OutputSandboxBaseDestURI Prologue PrologueArguments Epilogue "
        "EpilogueArguments PerusalListFileURI SubmitTo BatchSystem QueueName JobStarter "
        "JobStarterArguments InteractiveAgent InteractiveAgentArguments StreamingMode "
        "MachineAccess NodeName JobName GPUModel WallTime",
        STRINGS: "JobType Environment InputSandbox OutputSandbox OutputSandboxDestURI "
        "PerusalFiles Site BannedSites Tags Tag",
        WHOLE: "NodeNumber CpuNumber HostNumber SMPGranularity GPUNumber RetryCount "
        "ShallowRetryCount DefaultNodeRetryCount DefaultNodeShallowRetryCount "
        "PerusalTimeInterval ParameterStart ParameterStep ExpiryTime CPUTime NumberOfProcessors "
        "ListenerPort Memory",
        NUMBER: "PerformanceLoss FuzzyFactor",
        FLAG: "WholeNodes WholeNode PerusalFileEnable ShortDeadlineJob Interactive FuzzyRank",
        EXPRESSION: "Requirements Rank",
        ANY: "Parameters Nodes Dependencies UserTags ParameterFactor",
    }
    table = {n.lower(): Attribute(n, kind) for kind, names in used.items() for n in names.split()}
    for kind, names, why, warns in (
        (STRING, "VirtualOrganisation", "who you are is what the relay knows of you", False),
        (STRING, "MyProxyServer HLRLocation LBAddress JobProvenance", _GRID, False),
        (STRINGS, "WMProxy WMSEndPoint", _GRID, False),
        (STRING, "MWVersion", "there is one version of it here", False),
        (STRINGS, "InputData DataAccessProtocol", _DATA + ": bring files in InputSandbox", True),
        (ANY, "DataRequirements StorageIndex ReplicaCatalog", _DATA, True),
        (STRING, "OutputSE", _DATA, True),
        (ANY, "OutputData", _DATA + ": name the files in OutputSandbox", True),
        (FLAG, "AllowZippedISB", "what is sent is compressed as it goes", False),
        (STRING, "ZippedISB", "what is sent is compressed as it goes", False),
        (STRINGS, "SignificantAttributes", "the broker finds jobs that are alike by itself", False),
        (STRING, "CERequirements", "batch systems get what `gshell site add` says", True),
        (STRING, "PerusalFilesDestURI", "`gshell fetch` reads files while the job runs", False),
        (STRING, "ListenerHost", "the terminal comes through the relay", False),
        (ANY, "JobSteps CurrentStep JobState", "checkpointable jobs are run from the start", True),
        (ANY, "Prejob Postjob", "write a DAG", True),
        (ANY, "max_running_nodes max_nodes_running", "the broker starts what it can", False),
        (STRING, "StdOutputFiles", "", False),
        (ANY, "DefaultRank DefaultRequirements", "the broker's own default is one", False),
        (STRING, "node_type edg_jobid", "", False),
        (ANY, "NodesCollocation", "write Requirements, or SubmitTo", True),
        (STRING, "ExecutionEnvironment", 'write Environment = {"NAME=value"}', True),
        (STRINGS, "GridCE GridRequiredCEs Destination", "write Site, or SubmitTo", True),
        (STRING, "Platform SystemConfig", "no place here tells one: write Requirements", True),
        (ANY, "MaxCPUTime", "write CPUTime, in seconds", True),
        (ANY, "MinNumberOfProcessors MaxNumberOfProcessors", "write NumberOfProcessors", True),
        (
            ANY,
            "Priority JobGroup LogLevel PilotType JobRequirements VirtualOrganization Owner "
            "OwnerGroup OwnerDN Origin",
            "it is for DIRAC's own services",
            False,
        ),
        (
            ANY,
            "Packages InputFile InputDataCollection Split OutputArchive",
            "AliEn's descriptions are another language: bring files in InputSandbox",
            True,
        ),
    ):
        for name in names.split():
            table[name.lower()] = Attribute(name, kind, why, warns)
    return table


ATTRIBUTES = _table()
_ALIASES = {
    "myproxy": "MyProxyServer",
    "bannedsite": "BannedSites",
    "stderr": "StdError",
    "stdout": "StdOutput",
    "stdin": "StdInput",
}


def known(name: str) -> Attribute | None:
    return ATTRIBUTES.get(name.lower())


def meant(name: str) -> str:
    """The attribute that was probably meant; empty: none is near, it is somebody's own."""
    low = name.lower()
    if low in _ALIASES:
        return _ALIASES[low]
    near = difflib.get_close_matches(low, ATTRIBUTES, 1, 0.85)
    return ATTRIBUTES[near[0]].name if near else ""
