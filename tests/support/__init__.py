"""What tests are made with: applications, accounts, servers, databases."""

import pytest

pytest.register_assert_rewrite("support.api", "support.contract", "support.serving")
