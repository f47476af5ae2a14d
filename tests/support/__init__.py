"""The test kit: applications, accounts, servers, databases."""

import pytest

pytest.register_assert_rewrite("support.api", "support.contract", "support.serving")
