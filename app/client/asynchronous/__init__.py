"""The client for asyncio; `app.client.synchronous` is made from it by `python -m app.client.making`."""
