"""How good warmup methods are: loss against peak learning rate, paired by seed."""
