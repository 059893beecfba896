"""What the kernels cost on this GPU, beside its ceilings and torch: ``python -m cpp_ext.bench.gpu``."""
