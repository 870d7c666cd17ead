"""What an agent tells of the MPIs on its node."""

from gshell.agent.slots import software


def test_the_mpis_on_path_are_told_by_the_names_that_descriptions_ask_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert software() == []
    for tool in ("ompi_info", "mpichversion"):
        (tmp_path / tool).write_text("")
        (tmp_path / tool).chmod(0o755)
    assert software() == ["OPENMPI", "MPICH", "MPICH2"]
