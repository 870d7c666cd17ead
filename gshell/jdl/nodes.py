"""Descriptions of several jobs: parametric jobs, collections and DAGs, as nodes in an order."""

from __future__ import annotations

import dataclasses

from gshell.jdl import graph, job, sequences
from gshell.jdl.description import COLLECTION, DAG, Description, Node
from gshell.jdl.errors import At, JdlError
from gshell.jdl.parse import parse
from gshell.jdl.reader import Findings, Reader
from gshell.jdl.syntax import (
    Ad,
    Entry,
    Expr,
    Index,
    Items,
    Literal,
    NotConstant,
    Ref,
    change,
    constant,
    write,
)  # fmt: skip

MOST_NODES = 10_000
_PARAM = "_PARAM_"
# Of the whole, not of each node.
_NOT_INHERITED = (
    "Type", "Nodes", "Dependencies", "NodeName", "Parameters", "ParameterStart", "ParameterStep",
    "max_running_nodes", "max_nodes_running",
)  # fmt: skip

_OF_ALL_NODES = ("node_type", "nodescollocation", "max_running_nodes", "max_nodes_running")
_DIRAC = ("%s", "%n", "%(")  # the value, the number, a value by its name


# ------------------------------------------------------------------------------------- parametric


def read_parametric(reader: Reader, options: job.Options) -> Description:
    """A job for each value of its parameter."""
    findings = reader.findings
    if options.dirac:
        values = sequences.dirac(reader)
    else:
        values = [sequences.Values(one, {}) for one in _values(reader)]
    ad = reader.ad.without(*sequences.names(reader))
    kinds = [one for one in reader.strings("JobType") if one.lower() != "parametric"]
    ad = ad.without("JobType")
    if kinds:
        items = Items(tuple(Literal(one) for one in kinds))
        ad = ad.with_(Entry("JobType", items, at=reader.at("JobType")))
    if not options.dirac:
        _in_diracs_words(reader, ad)
    if len(values) > 1 and not _mentions(ad, options.dirac):
        findings.warning(reader.at("Parameters"), f"no {_PARAM} in it: all jobs will be the same")
    findings.check()
    nodes = []
    for number, value in enumerate(values):
        one = _with_value(ad, value, number, len(values), options.dirac)
        # What is said of the first is said of all: once is enough.
        seen = Findings(findings.name, [])
        described = job.read_ad(one, seen, options)
        if number:
            described = dataclasses.replace(described, findings=())
        nodes.append(Node(f"{number}", described))
    return Description(
        findings.name, reader.ad, COLLECTION, reader.string("JobName"), nodes=tuple(nodes),
        findings=tuple(findings.found),
    )  # fmt: skip


def _in_diracs_words(reader: Reader, ad: Ad) -> None:
    """Nobody asked for DIRAC's dialect, in which a number means something else."""
    hint = "with --dirac, Parameters is how many jobs there are"
    for name in sequences.names(reader):
        if "." in name or name.lower() == "parameterfactor":
            reader.findings.warning(reader.at(name), f"{name} counts in DIRAC's dialect: {hint}")
    if any(word in write(ad) for word in _DIRAC) and not _mentions(ad, dirac=False):
        text = f"no {_PARAM} in it, but %s or %n as DIRAC has them: {hint}"
        reader.findings.warning(reader.at("Parameters"), text)


def _values(reader: Reader) -> list[str | int]:
    expr = reader.ad.get("Parameters")
    if expr is None:
        sequences.missing(reader)
        return []
    if isinstance(reader.resolved(expr), Items):
        for name in ("ParameterStart", "ParameterStep"):
            if reader.has(name):
                reader.findings.warning(reader.at(name), f"{name} counts with a number only")
        found: list[str | int] = []
        found += reader.strings("Parameters", bare=True)
        if not found:
            reader.wrong("Parameters", "Parameters is empty: no job at all")
        return found
    end = reader.whole("Parameters")
    start, step = reader.whole("ParameterStart"), reader.whole("ParameterStep")
    if end is None:
        return []
    start, step = 0 if start is None else start, 1 if step is None else step
    if step == 0:
        reader.wrong("ParameterStep", "ParameterStep = 0: that never ends")
        return []
    values = range(start, end, step)
    if not 1 <= len(values) <= MOST_NODES:
        made = f"Parameters = {end} from {start} in steps of {step} makes {len(values)} jobs"
        reader.wrong("Parameters", f"{made} (it is the end, not the count; --dirac: the count)")
        return []
    return list(values)


def _mentions(ad: Ad, dirac: bool) -> bool:
    text = write(ad)
    return _PARAM in text or (dirac and any(word in text for word in _DIRAC))


def _with_value(ad: Ad, values: sequences.Values, number: int, count: int, dirac: bool) -> Ad:
    padded = str(number).rjust(len(str(count - 1)), "0")
    value = values.plain

    def fill(text: str) -> str:
        text = text.replace(_PARAM, str(value))
        if dirac:
            text = text.replace("%s", str(value)).replace("%n", padded)
            for name, own in values.named.items():
                text = text.replace(f"%({name})s", str(own))
        return text

    def how(expr: Expr) -> Expr | None:
        if isinstance(expr, Literal) and isinstance(expr.value, str):
            return dataclasses.replace(expr, value=fill(expr.value))
        if isinstance(expr, Ref) and expr.of is None and expr.name == _PARAM:
            is_number = isinstance(value, str) and value.isascii() and value.isdigit()
            return Literal(int(value) if is_number else value, at=expr.at)
        if isinstance(expr, Ref) and _PARAM in expr.name:
            of = change(expr.of, how) if expr.of is not None else None
            return dataclasses.replace(expr, name=fill(expr.name), of=of)
        return None

    entries = [
        dataclasses.replace(one, name=one.name.replace(_PARAM, str(value))) for one in ad.entries
    ]
    found = change(dataclasses.replace(ad, entries=tuple(entries)), how)
    assert isinstance(found, Ad)
    return found


# -------------------------------------------------------------------------------- collection, DAG


def read_nodes(reader: Reader, kind: str, options: job.Options) -> Description:
    findings = reader.findings
    outer = reader.ad.without(*_NOT_INHERITED)
    found: dict[str, Node] = {}
    names: dict[str, None] = {}
    dependencies: list[Expr] = []
    own = reader.ad.get("Dependencies")
    if own is not None:
        dependencies.append(own)
    for name, entry, at in _listed(reader, dependencies):
        if name in names:
            findings.error(at, f"two nodes with the name {name}")
            continue
        names[name] = None
        described = _node(reader, outer, name, entry, at, options)
        if described is not None:
            found[name] = Node(name, described)
    if not found:
        findings.check()
        reader.wrong("Nodes", "Nodes is empty: no job at all")
    if dependencies and kind == COLLECTION:
        kind = DAG
    after = graph.dependencies(dependencies, list(names), findings)
    nodes = tuple(
        dataclasses.replace(node, after=tuple(after.get(name, ()))) for name, node in found.items()
    )
    return Description(
        findings.name, reader.ad, kind, reader.string("JobName"), nodes=nodes,
        findings=tuple(findings.found),
    )  # fmt: skip


def _listed(reader: Reader, dependencies: list[Expr]) -> list[tuple[str, Expr, At]]:
    """The nodes with their names, from a list or from an ad; dependencies inside are moved out."""
    expr = reader.ad.get("Nodes")
    if expr is None:
        at = reader.at("Type")
        reader.findings.error(at if at.line else reader.ad.at, "Nodes is missing")
        return []
    expr = reader.resolved(expr)
    listed: list[tuple[str, Expr, At]] = []
    if isinstance(expr, Ad):
        for entry in expr.entries:
            if entry.name.lower() == "dependencies":
                dependencies.append(entry.value)
            elif entry.name.lower() not in _OF_ALL_NODES:
                listed.append((entry.name, entry.value, entry.at))
    elif isinstance(expr, Items):
        for number, item in enumerate(expr.items):
            name = item.get("NodeName") if isinstance(item, Ad) else None
            said = name.value if isinstance(name, Literal) else None
            listed.append((str(said) if said else f"Node{number}", item, item.at))
    else:
        reader.wrong("Nodes", "Nodes must be a list { [...], [...] } or an ad [ a = [...]; ]")
    if len(listed) > MOST_NODES:
        reader.wrong("Nodes", f"{len(listed)} nodes are too many: {MOST_NODES} at most")
        return []
    return listed


def _node(
    reader: Reader, outer: Ad, name: str, expr: Expr, at: At, options: job.Options
) -> Description | None:
    findings = reader.findings
    if not isinstance(expr, Ad):
        findings.error(expr.at, f"node {name} must be an ad [ ... ], not {write(expr)[:40]}")
        return None
    inner = expr.get("Description")
    ad: Ad | None = inner if isinstance(inner, Ad) else expr
    if inner is not None and not isinstance(inner, Ad):
        findings.error(inner.at, f"the description of node {name} must be an ad [ ... ]")
        return None
    seen = Findings(findings.name, [])
    file = expr.get("File")
    if file is not None:
        ad, seen = _loaded(file, findings, options)
        if ad is None:
            return None
        more = expr.without("File", "NodeName", "node_type", "Description")
        ad = ad.with_(*more.entries)
    assert ad is not None
    ad = ad.without("node_type", "NodeName")
    whole = Ad(outer.entries, at=ad.at).with_(*ad.entries, Entry("NodeName", Literal(name)))
    whole = _rooted(whole, reader.ad)
    kind = whole.get("Type")
    if isinstance(kind, Literal) and str(kind.value).lower() in ("dag", "collection"):
        findings.error(at, f"node {name} is a {kind.value} itself: submit it by itself")
        return None
    try:
        return job.read_ad(whole, seen, options)
    except JdlError as error:
        here = f"node {name}: " if not error.at.line else ""
        if error.name != findings.name:
            raise
        findings.error(error.at if error.at.line else at, here + error.text)
        return None


def _loaded(file: Expr, findings: Findings, options: job.Options) -> tuple[Ad | None, Findings]:
    path = file.value if isinstance(file, Literal) else None
    if not isinstance(path, str) or not path:
        findings.error(file.at, "File must be a file's name")
        return None, findings
    if options.load is None:
        findings.error(file.at, f"File = {path!r}: files of nodes are not read here")
        return None, findings
    try:
        text = options.load(path)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        findings.error(file.at, f"cannot read {path}: {why}")
        return None, findings
    ad, warnings = parse(text, path)
    return ad, Findings(path, list(warnings))


def _rooted(ad: Ad, root: Ad) -> Ad:
    """With what refers to the whole (``root.InputSandbox[0]``) replaced by what it is there."""

    def how(expr: Expr) -> Expr | None:
        if isinstance(expr, Ref) and isinstance(expr.of, Ref) and expr.of.of is None:
            if expr.of.name.lower() in ("root", "parent"):
                return root.get(expr.name)
            return None
        if isinstance(expr, Index):
            of, index = change(expr.of, how), change(expr.index, how)
            try:
                number = constant(index)
            except NotConstant:
                number = None
            if isinstance(of, Items) and isinstance(number, int) and 0 <= number < len(of.items):
                return change(of.items[number], how)
            return dataclasses.replace(expr, of=of, index=index)
        return None

    found = change(ad, how)
    # change() asks about the ad itself first: it is none of these
    assert isinstance(found, Ad)
    return found
