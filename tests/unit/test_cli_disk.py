"""``system df``: docker's rows out of the engine's answer."""

from onggi.cli.commands.system_df import account_table, disk_usage
from onggi.cli.commands.system_fsck import line, summary


def test_what_no_container_uses_is_reclaimable():
    usage = {
        "LayersSize": 4000,
        "Images": [
            {"Id": "one", "Size": 1000, "SharedSize": 200, "Containers": 2},
            {"Id": "two", "Size": 3000, "SharedSize": 200, "Containers": 0},
        ],
        "Containers": [
            {"ImageID": "one", "State": "running", "SizeRw": 100},
            {"ImageID": "one", "State": "exited", "SizeRw": 300},
        ],
    }
    columns = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
    rows = [tuple(row[name] for name in columns) for row in disk_usage(usage)]
    assert rows == [
        ("Images", "2", "1", "4kB", "3.2kB (80%)"),
        ("Containers", "2", "1", "400B", "300B (75%)"),
        ("Local Volumes", "0", "0", "0B", "0B"),
        ("Build Cache", "0", "0", "0B", "0B"),
    ]


def test_the_accounts_end_with_their_sum():
    accounts = {
        "DataRoot": "/data",
        "Size": 3000,
        "Accounts": [
            {"Kind": "layers", "Count": 2, "Size": 2000, "Reclaimable": 1000},
            {"Kind": "blobs", "Count": 1, "Size": 1000, "Reclaimable": 0},
        ],
    }
    lines = account_table(accounts).splitlines()
    assert lines[0] == "Disk usage of /data:"
    assert [line.split("  ")[0] for line in lines[2:]] == ["TYPE", "Image layers", "Image archives", "Total"]
    assert lines[-1].split() == ["Total", "3", "3kB", "1kB", "(33%)"]


def test_a_finding_is_a_line_that_says_what_a_repair_does():
    finding = {"Object": "blob x", "Problem": "its file is missing", "Remedy": "it is removed"}
    assert line(finding | {"Repaired": False}) == "blob x: its file is missing; with --repair: it is removed"
    assert line(finding | {"Repaired": True}) == "blob x: its file is missing; repaired: it is removed"
    assert line(finding | {"Repaired": False, "Remedy": ""}) == "blob x: its file is missing"


def test_the_summary_counts():
    counts = {"Blobs": 2, "Bytes": 3000, "Layers": 1, "Findings": 0, "Repaired": 0}
    assert summary(counts) == "checked 2 blobs (3kB) and 1 layers: 0 problems"
    assert summary(counts | {"Findings": 2, "Repaired": 1}).endswith(": 2 problems, 1 repaired")
