"""A whole federation simulated on one machine: the real coordinator and sites in one process."""
