"""Commands of a person who uses a server, near or far: they know its client, `app.client`."""
