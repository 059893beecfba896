"""What the kernels cost on this machine, beside its floors and their peers: ``python -m cpp_ext.bench``."""
