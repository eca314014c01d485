"""What a person types: one module per command, imported only when its command is typed.

Part of the front: standard library and ``onggi.client`` only; no ``re``, ``json``, ``enum``, ``typing``,
``argparse`` on the way of a command that should be fast.
"""
