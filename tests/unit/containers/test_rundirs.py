"""What the engine's side of monitors reads of runs that another engine began."""

from onggi.containers.rundirs import RunDirectories


def test_the_group_of_a_run_is_told_by_its_link(tmp_path):
    directories = RunDirectories(str(tmp_path), "/parent/c")
    assert directories.cgroup("id", str(tmp_path)) == "/parent/c/id"
    for text in ("/other/c/", "/other/c/id"):  # as monitors write it, and those of an earlier version did
        (tmp_path / "cgroup").symlink_to(text)
        assert directories.cgroup("id", str(tmp_path)) == "/other/c/id"
        (tmp_path / "cgroup").unlink()
