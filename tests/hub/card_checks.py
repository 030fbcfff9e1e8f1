"""huggingface_hub before 2.2 has cards checked at huggingface.co, whatever HF_ENDPOINT is: here, at HF_ENDPOINT."""

from huggingface_hub import constants, get_session

PUBLIC_HUB = "https://huggingface.co"


def send_to_endpoint(request):
    """Hook of httpx: another address for what goes to the public Hub."""
    address = str(request.url)
    if address.startswith(PUBLIC_HUB):
        request.url = type(request.url)(address.replace(PUBLIC_HUB, constants.ENDPOINT))


def check_cards_at_endpoint():
    """Call it before the first request of a process."""
    get_session().event_hooks["request"].append(send_to_endpoint)
