"""The client half of the Engine API: which engine, how to reach it, requests, streams.

Part of the front: imports the standard library only, and of that as little as it can (a command must start in
milliseconds). No room of the back may be imported here.
"""
