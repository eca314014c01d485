"""HTTP/1.1 for the Engine API: heads by h11, bodies and answers by own framing, and the hijack."""
