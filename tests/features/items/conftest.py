import pytest

from support.api import API


@pytest.fixture
def lamp(client, as_user):
    """An item of the user's."""
    response = client.post(f"{API}/items", headers=as_user, json={"name": "Lamp", "price": "19.90"})
    assert response.status_code == 201
    return response.json
