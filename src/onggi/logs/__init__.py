"""Container output on disk: formats, rotation, reading and following.

Runs in the monitor (writing) and in onggid (reading), so it imports the standard library and ``kernel`` only.

    <directory>/<container id>-json.log        json-file: docker's lines, one JSON object each
    <directory>/<container id>-json.log.1      the file before, then .2 ...; .gz where ``compress`` is set
    <directory>/<container id>-local.log       local: binary records, same numbering

Files are 0600; the directory belongs to one container and is made by the caller.
"""
