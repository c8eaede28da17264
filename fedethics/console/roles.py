"""The roles that the console has a page for. A further role is one more object."""

from __future__ import annotations

from fedethics.console.coordinator import COORDINATOR
from fedethics.console.officer import OFFICER
from fedethics.console.operator import OPERATOR
from fedethics.console.role import Role
from fedethics.errors import RunError
from fedethics.registry import Registry

ROLES: Registry[Role] = Registry("role", RunError, COORDINATOR, OPERATOR, OFFICER)
