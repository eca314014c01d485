"""onggid: reads its configuration, is born into a clean world, builds the objects, recovers, serves, stops.

The composition root: it may import everything below it, and nothing imports it. Start-up in order:
``options`` (the command line), ``config`` (with daemon.json), ``locks``, ``birth``, ``engine``, ``idle``.
"""
