"""What the engine's side of monitors reads of runs that another engine began."""

from onggi.containers.supervisor import Supervisor


def test_the_group_of_a_run_is_told_by_its_link(tmp_path):
    supervisor = Supervisor(str(tmp_path), "build", "/parent", None, None)
    assert supervisor._cgroup_of("id", str(tmp_path)) == "/parent/c/id"
    (tmp_path / "cgroup").symlink_to("/other/c/id")
    assert supervisor._cgroup_of("id", str(tmp_path)) == "/other/c/id"
