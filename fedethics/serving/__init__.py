"""A released model that answers over HTTP, on this machine unless told otherwise.

No input is logged or kept. A withdrawn or altered release answers nothing more.
"""
