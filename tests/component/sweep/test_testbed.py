"""Sites, clusters and hosts: from values, files, batch systems and a small reference API."""

import http.server
import json
import pathlib
import threading

import pytest

from gshell.errors import UsageError
from gshell.sweep import (
    Host,
    g5k_configuration,
    get_cluster_attributes,
    get_cluster_hosts,
    get_cluster_site,
    get_g5k_clusters,
    get_g5k_hosts,
    get_g5k_sites,
    get_host_attributes,
    get_host_cluster,
    get_host_site,
    get_site_clusters,
    get_site_hosts,
    group_hosts,
    testbed,
)

TOML = """
[sites.lyon]
clusters.edel = { hosts = 3, cores = 8 }
clusters.old = { hosts = ["n1", "n2"], cores = 2, architecture.platform_type = "x86_64" }
[sites.lyon.clusters.mixed.hosts]
mixed-1 = { cores = 8 }
mixed-2 = { cores = 16, network_address = "10.0.0.2" }
[sites.nancy.clusters.stremi]
hosts = 1
cores = 24
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setitem(g5k_configuration, "testbed", None)
    monkeypatch.setitem(g5k_configuration, "cache", str(tmp_path / "cache"))
    monkeypatch.delenv("GSHELL_TESTBED", raising=False)
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path / "home"))
    testbed.forget()
    yield
    testbed.forget()


def cores(host):
    return get_host_attributes(host)["architecture"]["nb_cores"]


def check():
    assert get_g5k_sites() == ["lyon", "nancy"]
    assert get_g5k_clusters() == ["edel", "old", "mixed", "stremi"]
    assert get_site_clusters("lyon") == ["edel", "old", "mixed"]
    assert get_cluster_hosts("edel") == ["edel-1", "edel-2", "edel-3"]
    assert get_site_hosts("nancy") == ["stremi-1"]
    assert len(get_g5k_hosts()) == 8
    assert get_cluster_site("stremi") == "nancy"
    assert [cores(one) for one in ("edel-1", Host("n2"), "mixed-2", "10.0.0.2", "old-2")] == [
        8, 2, 16, 16, 2,
    ]  # fmt: skip
    assert get_host_attributes("n1")["architecture"]["platform_type"] == "x86_64"
    assert get_host_site(Host("n1")) == "lyon"
    assert get_host_cluster("edel-3.lyon.grid5000.fr") == "edel"
    assert "hosts" not in get_cluster_attributes("edel")
    assert group_hosts(["n1", "stremi-1", Host("edel-2")]) == {
        "lyon": {"old": ["n1"], "edel": [Host("edel-2")]}, "nancy": {"stremi": ["stremi-1"]},
    }  # fmt: skip


def test_from_a_file(tmp_path, monkeypatch):
    (tmp_path / "bed.toml").write_text(TOML)
    monkeypatch.setenv("GSHELL_TESTBED", str(tmp_path / "bed.toml"))
    check()


def test_from_the_configuration_s_own_file(tmp_path):
    folder = tmp_path / "home" / "config"
    folder.mkdir(parents=True)
    (folder / "testbed.toml").write_text(TOML)
    check()


def test_from_values_and_from_a_directory_of_sites(tmp_path, monkeypatch):
    import tomllib

    said = tomllib.loads(TOML)
    monkeypatch.setitem(g5k_configuration, "testbed", said)
    check()
    for site, about in said["sites"].items():
        (tmp_path / f"{site}.json").write_text(json.dumps(about))
    monkeypatch.setitem(g5k_configuration, "testbed", str(tmp_path))
    check()


def test_from_a_reference_repository(tmp_path, monkeypatch):
    folder = tmp_path / "sites" / "lyon" / "clusters" / "edel" / "nodes"
    folder.mkdir(parents=True)
    for number in (10, 2):
        (folder / f"edel-{number}.json").write_text(
            json.dumps({"uid": f"edel-{number}", "architecture": {"nb_cores": number}})
        )
    monkeypatch.setitem(g5k_configuration, "testbed", str(tmp_path))
    assert get_cluster_hosts("edel") == ["edel-2", "edel-10"]
    assert cores("edel-10.lyon.grid5000.fr") == 10


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: get_cluster_site("edle"), "cluster 'edle' is not known to the testbed"),
        (lambda: get_host_attributes("edel-4"), "host 'edel-4' is not known"),
        (lambda: get_host_attributes("edel-0"), "host 'edel-0' is not known"),
        (lambda: get_host_site("edel-1.nancy.grid5000.fr"), "is not known"),
        (lambda: get_site_clusters("paris"), "site 'paris' is not known"),
    ],
)
def test_unknown_names_are_refused_with_what_there_is(monkeypatch, ask, words):
    monkeypatch.setitem(
        g5k_configuration, "testbed",
        {"sites": {"lyon": {"clusters": {"edel": {"hosts": 3, "cores": 8}}}}},
    )  # fmt: skip
    with pytest.raises(UsageError, match=words) as refused:
        ask()
    assert refused.value.hint
    assert refused.value.__notes__ == [refused.value.hint]  # a Python shell shows them


def test_a_cluster_that_this_host_s_batch_system_does_not_have_can_be_described(
    tmp_path, monkeypatch
):
    tool = tmp_path / "bin" / "oarnodes"
    tool.parent.mkdir()
    row = {"type": "default", "network_address": "n1", "core": 1, "cluster": "edel"}
    tool.write_text(f"#!/bin/sh\necho '{json.dumps({'1': row})}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    with pytest.raises(UsageError, match="'stremi-1' is not known") as refused:
        cores("stremi-1")
    said, _, path = refused.value.hint.partition("; others: describe them in ")
    assert said == "known clusters: edel"
    description = pathlib.Path(path)
    description.parent.mkdir(parents=True)
    for number in (1, 24):
        description.write_text(f"[sites.nancy.clusters.stremi]\nhosts = 44\ncores = {number}\n")
        assert cores("stremi-1") == number


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sites = 3", "sites should be a table"),
        ("[sites.a]", "sites.a.clusters should be a table"),
        ("[sites.a.clusters.b]", "clusters.b.hosts should be"),
        ("[sites.a.clusters.b]\nhosts = 1\ncores = 'x'", "cores is 'x'"),
        ("[sites.a]\nask = 'pbs'", "one of oar, slurm"),
        ("[", "bed.toml"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_with_its_place(
    tmp_path, monkeypatch, text, words
):
    (tmp_path / "bed.toml").write_text(text)
    monkeypatch.setenv("GSHELL_TESTBED", str(tmp_path / "bed.toml"))
    with pytest.raises(UsageError, match=words):
        get_g5k_sites()


class Api(http.server.ThreadingHTTPServer):
    def __init__(self, answers):
        self.answers, self.asked = answers, []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.server_port}/3.0"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.removeprefix("/3.0").rstrip("/") or "/"
        self.server.asked.append(path)
        found = self.server.answers.get(path)
        body = json.dumps(found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


def items(*names, **more):
    return {"items": [{"uid": name, **more} for name in names]}


@pytest.fixture
def api(monkeypatch):
    server = Api({
        "/": {"version": "a1"},
        "/sites": items("lyon", "nancy"),
        "/sites/lyon/clusters": items("edel"),
        "/sites/nancy/clusters": items("stremi"),
        "/sites/lyon/clusters/edel/nodes": items("edel-10", "edel-2", architecture={"nb_cores": 8}),
        "/sites/nancy/clusters/stremi/nodes": items("stremi-1", architecture={"nb_cores": 24}),
    })  # fmt: skip
    monkeypatch.setitem(g5k_configuration, "testbed", server.uri)
    yield server
    server.shutdown()
    server.server_close()


def test_from_a_reference_api_that_is_read_once_for_each_version(api):
    assert get_cluster_hosts("edel") == ["edel-2", "edel-10"]
    assert cores("stremi-1") == cores("stremi-1.nancy.grid5000.fr") == 24
    assert get_host_site("edel-2.lyon.grid5000.fr") == "lyon"
    assert len(api.asked) == 6
    testbed.forget()
    assert cores("edel-2") == 8
    assert api.asked[6:] == ["/"]
    api.answers["/"] = {"version": "a2"}
    api.answers["/sites/lyon/clusters/edel/nodes"] = items("edel-1", architecture={"nb_cores": 9})
    testbed.forget()
    assert cores("edel-1") == 9


def test_an_api_that_is_away_is_replaced_by_what_it_said_before(api, capsys):
    assert cores("edel-2") == 8
    api.answers.clear()
    testbed.forget()
    assert cores("edel-2") == 8
    assert "what was read before is used" in capsys.readouterr().out


def test_an_api_that_never_answered_is_an_error(api):
    api.answers.pop("/sites/lyon/clusters/edel/nodes")
    with pytest.raises(UsageError, match="edel/nodes: 404"):
        cores("edel-2")
    api.answers["/sites/lyon/clusters/edel/nodes"] = {"items": [{}]}
    with pytest.raises(UsageError, match="uid"):
        cores("edel-2")


def test_from_the_batch_system_of_this_host(tmp_path, monkeypatch):
    def tool(name, text):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n/bin/cat <<'E'\n{text}\nE\n")
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with pytest.raises(UsageError, match="no testbed is described"):
        get_g5k_sites()
    tool("sinfo", "n1|4|1|2000|idle|debug\nn1|4|1|2000|idle|long\nn2|8|2|2000|idle|debug")
    tool("scontrol", "Configuration data\nClusterName             = big\nX = 3")
    assert get_cluster_hosts("big") == ["n1", "n2"]
    assert cores("big-2") == 8
    assert get_host_attributes("n1")["partitions"] == ["debug", "long"]
    row = {"type": "default", "state": "Alive"}
    tool("oarnodes", json.dumps({
        str(number): {**row, "network_address": f"n{host}", "core": number, "cluster": "edel"}
        for number, host in enumerate((1, 1, 10, 2), 1)
    }))  # fmt: skip
    testbed.forget()
    assert get_cluster_hosts("edel") == ["n1", "n2", "n10"]
    assert [cores(f"edel-{number}") for number in (1, 2, 3)] == [2, 1, 1]


def test_clusters_are_those_that_a_queue_leads_to_where_that_is_known(monkeypatch):
    clusters = {
        "edel": {"hosts": 1, "cores": 8, "queues": ["default", "admin"]},
        "grat": {"hosts": 1, "cores": 8, "queues": ["production"]},
        "sol": {"hosts": 1, "cores": 8},
    }
    monkeypatch.setitem(g5k_configuration, "testbed", {"sites": {"lyon": {"clusters": clusters}}})
    assert get_site_clusters("lyon") == ["edel", "grat", "sol"]
    assert get_site_clusters("lyon", queues="default") == ["edel", "sol"]
    assert get_g5k_clusters(queues=["production", "admin"]) == ["edel", "grat", "sol"]
    assert get_site_hosts("lyon", "production") == ["grat-1", "sol-1"]
