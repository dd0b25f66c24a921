from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # The checks and the partial indexes are hand-written: aerich does not know such things. The checks repeat
    # the rules of app/models/document.py, so that no other writer can leave a row that makes no sense.
    return """
ALTER TABLE documents ADD processing_errors TEXT;
ALTER TABLE documents ADD status VARCHAR(10) NOT NULL DEFAULT 'PENDING';
-- Documents of the earlier table, whatever was done with them then, are ingested (again).
UPDATE documents SET stage = 'queued', lease_owner = NULL, lease_expires_at = NULL, error = NULL, completed_at = NULL;
ALTER TABLE documents
    ADD CONSTRAINT documents_status_is_known
        CHECK (status IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED')),
    ADD CONSTRAINT documents_lease_while_processing
        CHECK ((status = 'PROCESSING') = (lease_expires_at IS NOT NULL)),
    ADD CONSTRAINT documents_completed_at_when_completed
        CHECK ((status = 'COMPLETED') = (completed_at IS NOT NULL)),
    ADD CONSTRAINT documents_error_when_failed
        CHECK ((status = 'FAILED') = (error IS NOT NULL)),
    ADD CONSTRAINT documents_stage_until_final
        CHECK ((status IN ('PENDING', 'PROCESSING')) = (stage IS NOT NULL));
CREATE INDEX documents_to_send ON documents (send_at) WHERE status = 'PENDING';
CREATE INDEX documents_leased ON documents (lease_expires_at) WHERE status = 'PROCESSING';
CREATE INDEX documents_by_status ON documents (status, created_at, id);
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    # The indexes and checks that name `status` go with the column.
    return """
ALTER TABLE documents DROP COLUMN processing_errors;
ALTER TABLE documents DROP COLUMN status;
"""


MODELS_STATE = (
    "eJztXP9T4jgU/1cy/HLujMcIKnrOzc2gsrvcKu4ou7dfp4Q2QsY2YZNU5Pb83y8pbSltWi"
    "xCBZZflL7kJennvbz38pL0Z8mhFrJ5+ZyaroOIKJ2AnyUCHSR/JMp2QQkOBpMSRRCwa3uV"
    "Lb+WR4VdLhg0VXO30OZIkizETYYHAlOiqtcBo0NAb0EnZOyUQZNwAYmJOIAMAU7ggPep4C"
    "eAEnsERB8Bh97L0i6yJbfZh6SHPLJsrKw6lo3JnjHpLbEPl+AfLjIE7SFJZrKnr98lGRML"
    "PSAePA7ujFuMbGsKUWypBjy6IUYDj/bhQ/P8tVdTjb9rmNR2HTKpPRiJPiVhddfFVlnxqL"
    "IeIohBgawI0MS1bV8oAWk8YkkQzEXhUK0JwUK30LWVuEp/3rrEVFICqifDFViqgEmdARRl"
    "RTn6yx9nhMcwWldt46bRNoxSQtRqPDHJ+CSTEqUmWCmNROlx3O4EHY9aUh2cva1f7+zXXn"
    "l4UC56zCv0sCs9eoxQwDGrJ4EJ5BJOG3kvlIT+rA+ZHvpprpgI5KDnAT8gTNCfzI0QyuDn"
    "kjAuOfDBsBHpib58rO7tZYD+sX7t4S5recBTOaPHc73lF1XHZUoAE8DRg0CMQNvQKXs64j"
    "G2uSD3tTkX4gF0Swe7slc9eALaqloq3OPCabzvEeNa7W4SoYc6whGDGY+t/DI0u7IskHtq"
    "BL9XKwdHB8f7tYNjWcUbZUg5ykC92WrH4BRYSPYEmG2pn3o0Q4ZNUNkMqNqNT23VssP5Dz"
    "uqljuX9U+exjojv+TiqvUmqB5R47OLq9MY2py6zESG95jDWMTYNgH5YoyFgywMx0DlgHua"
    "qzhvWBjc1cPDpzjCw8N0R6jKYrrdh9XDWi61Djk2EOPaUxS6lq7OtYQyc/wvMrojgXgS5F"
    "PcS/V/03zFucBlQj32gn9Uq/v7R9W9/drx4cHR0eHxXugOk0VZfvG0+Ua5xilRJH2lHISQ"
    "qyrjDo3yBddTbJtnvZdiThwkoFrlJJH+++aqlWa4JzwxmC1sCvAfsDFfmr5H1pJdF9sCE1"
    "5W3b7EClJhlB29xAOV3emlpmogEb0IKFyN8cmw8CFHgWvK943WebP1ppg1ZeUpS8pK+oqy"
    "klhQSsx6+aLDgKEwy1KSVV1krSvCA0aVmnNDvrTIg3SCcfNs+RLRtijR6HVq2JLgmytyWT"
    "WwF7x8D0ESVEB7HnRDxi28WnhNCZLs0kCMUaZxfumZEi3zJliMorMmHnp54sCQ4VlB4Pqg"
    "vpRobwgZkePRqHw68FGe1QjAVX8bE4BDIZAz0IQsqWY+wlHcwn9vTaz7LcS2y3TplFQ8oy"
    "xbQOOAEukLDV/l5P8krucSGIEdpAdXwx43Ij5/OfhRaO6qRYc7r5bkN5uXjZt2/fL9lM04"
    "r7cbqqQ65TgD6k4tZkfCRsA/zfZboB7Bl6tWI25awnrtLyU1JugKahA6NKAVRSMgB6QpUd"
    "sIcmTQoYQ+zwoqxrYJ0VABubAxauhhgKUE55hYOv4FzKwVE8QmTS+OiDWHoCNsW8u5wqLN"
    "E3KE9bfxRjze8N/ByH8mRMO5zX9odrz6LrmTsLkkz6IjxrXV2wSsDKk3n8PAT3NubfyK2n"
    "h3YM0p4GnOrYBXVMDqhLCN5pzDMd5tJL5qklYH2m/vIuerFaELzbshZJYxVRLzlbqjOT7f"
    "63fXyIYpZ6z9uwdnqo1CJ/VCBT6h+jrpIUmrNA3K6aJoYGdjggz/5Ew6plcEtan8MxvZ4F"
    "bH2aTJtZxTeoidqhOD2IEE9rxRquYUcwoQGTdgIljNvggTCOuJF2LafQS8M2nqwgoE3IG2"
    "DYK2ToDlMtUBwMS7iyLD9BGQdtPBQj5DAaBpooHgAItdMMSiDwgFHMkhWICPuEBO8nrM0n"
    "v8Rr6RC8h6iAFKZDc9CgT1GuNC2q4eAq5UHQY6Ab7lyMmwznPv2oRyyHfpJsZW7O2bl3FB"
    "z7pdk2aQMIFslHn+TwNveChzPc299iSlv5UVuvaP9evTZqt+/Vm/A3yq2fo6/dxu1KUkcr"
    "jhpJ9Jzoyk1AL34cktuCg324es62RI+A5JZnAYGpO4MZAIyPeWkao3a+o3Z/XzRukxw4Hn"
    "dEXjaEfjgMIwKN3tTKKt2b6mI9CD6ADMQeer2YfMkIJm4sT7iYj1vaM8grLTA8g4soCqrk"
    "hYmvsAkt8ks58s6iR9y1J6WPDFy6wj4lrjr0nU+Eqzsope5LnwdC+xJlfU1igPSZklHWye"
    "820Rji2iunt/0gIl4cy49ufX34ibOkUfYJu4hFxZ9CjTVom12xNj/5oXVZ9li6nuyKv29k"
    "H6OWL93YPt7pmk9BG09Cco64zBlNVilCkG6q9ydlIZ1a/f4w6L3iGSeysyxrWd8Ro1RU4X"
    "WUrnkri+hfbtR2QKmvYViyhrDFziOoNRmVhQ6foawpyBYV/Cco/MGI6rl4FbXQRn5OASmZ"
    "+nZHNeU4Zwj7xDowLyOasB7RIyOjPSaovL/oztys0AmqikyQFFi3ezMkH3XkWDq5o5Nh8o"
    "8T5xNU7uq765/zEs2QEY9ilXewCq5TF9nG8CfXiP9FsLz2xvwcmeG7W78auke/arR7XQCa"
    "qHLP93c1m/uJidw/HklsQ146MhAcNGrJALONRsYWmYVNYrz2HIaaZtOOeHc8/aKVmcSa8j"
    "hs2+zpr7JZmGHE7qzLLg6eAu2I7+Kib0mYuJOXLh6ZY0PRm+taUptlRNqhwI+9U3EN3Kkz"
    "7xWMn4xGMl+YnH1F3/9Iuw6Xv+BdyDfZkl3cJuvL6oM3v8Hze2O94="
)
