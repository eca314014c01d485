"""One module per command; each exports ``COMMAND``."""
