"""``system df``: docker's rows out of the engine's answer."""

from onggi.cli.commands.system_df import disk_usage


def test_what_no_container_uses_is_reclaimable():
    usage = {
        "LayersSize": 4000,
        "Images": [{"Id": "one", "Size": 1000}, {"Id": "two", "Size": 3000}],
        "Containers": [
            {"ImageID": "one", "State": "running", "SizeRw": 100},
            {"ImageID": "one", "State": "exited", "SizeRw": 300},
        ],
    }
    rows = [tuple(row.values()) for row in disk_usage(usage)]
    assert rows == [
        ("Images", "2", "1", "4kB", "3kB (75%)"),
        ("Containers", "2", "1", "400B", "300B (75%)"),
        ("Local Volumes", "0", "0", "0B", "0B"),
        ("Build Cache", "0", "0", "0B", "0B"),
    ]
