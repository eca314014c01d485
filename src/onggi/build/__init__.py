"""Builds images from Dockerfiles: instructions, graph, solve."""
