"""The pages for people at `/`: HTML made on the server, and small scripts that keep it live."""
