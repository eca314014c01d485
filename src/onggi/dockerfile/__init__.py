"""Reads Dockerfiles: text to typed instructions, variables, ignore files, lints."""
