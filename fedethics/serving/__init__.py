"""A released model that answers over HTTP, by default on this machine only.

No input is logged or kept. A withdrawn or altered release answers nothing more.
"""
