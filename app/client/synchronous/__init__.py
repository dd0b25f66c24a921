# Made from asynchronous/__init__.py by `python -m app.client.making`: change that one.
"""The client for asyncio; `app.client.synchronous` is made from it by `python -m app.client.making`."""
