from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # Hand-written: aerich knows neither tables without a model nor triggers.
    return """
CREATE TABLE webhooks (
    id              UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    url             TEXT NOT NULL,
    secret          TEXT NOT NULL,
    statuses        VARCHAR(10)[], -- NULL: both that are final.
    collections     VARCHAR(200)[], -- NULL: all.
    failures        INT NOT NULL DEFAULT 0, -- One after the other.
    failing_since   TIMESTAMPTZ,
    disabled_at     TIMESTAMPTZ,
    disabled_reason TEXT,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT webhooks_failing_since CHECK ((failures = 0) = (failing_since IS NULL)),
    CONSTRAINT webhooks_disabled_with_reason CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
);

-- No foreign keys: a document must be able to end whatever becomes of a webhook meanwhile.
CREATE TABLE webhook_deliveries (
    id               UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    webhook_id       UUID NOT NULL,
    event            JSONB, -- The document as it ended (app/models/event_log.py); NULL: a test.
    status           VARCHAR(9) NOT NULL DEFAULT 'PENDING',
    attempt          INT NOT NULL DEFAULT 0,
    failures         INT NOT NULL DEFAULT 0,
    attempts         JSONB NOT NULL DEFAULT '[]', -- The newest, oldest first: at, seconds, status_code, error.
    next_attempt_at  TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    lease_expires_at TIMESTAMPTZ,
    sent_at          TIMESTAMPTZ NOT NULL DEFAULT 'epoch', -- Its last message.
    sends            INT NOT NULL DEFAULT 0,
    created_at       TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    ended_at         TIMESTAMPTZ,
    CONSTRAINT deliveries_status_is_known CHECK (status IN ('PENDING', 'SENDING', 'DELIVERED', 'FAILED')),
    CONSTRAINT deliveries_lease_while_sending CHECK ((status = 'SENDING') = (lease_expires_at IS NOT NULL)),
    CONSTRAINT deliveries_ended_when_final CHECK ((status IN ('DELIVERED', 'FAILED')) = (ended_at IS NOT NULL))
);
CREATE INDEX deliveries_by_webhook ON webhook_deliveries (webhook_id, created_at, id);
CREATE INDEX deliveries_to_send ON webhook_deliveries (next_attempt_at) WHERE status = 'PENDING';
CREATE INDEX deliveries_in_hand ON webhook_deliveries (lease_expires_at) WHERE status = 'SENDING';
CREATE INDEX deliveries_by_end ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;

-- Written with the move that ends a document; with no webhook, a look at an empty table.
CREATE FUNCTION post_to_webhooks() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_deliveries (webhook_id, event)
    SELECT w.id, jsonb_build_object(
        'at', NEW.updated_at, 'document_id', NEW.id, 'version', NEW.version, 'attempt', NEW.attempt,
        'failures', NEW.failures, 'chunk_count', NEW.chunk_count, 'status', NEW.status,
        'collection', NEW.collection, 'external_id', NEW.external_id, 'source_name', NEW.source_name,
        'title', NEW.title, 'error', NEW.error
    )
    FROM webhooks AS w
    WHERE w.disabled_at IS NULL AND (w.statuses IS NULL OR NEW.status = ANY(w.statuses))
        AND (w.collections IS NULL OR NEW.collection = ANY(w.collections));
    RETURN NULL;
END
$$;
CREATE TRIGGER documents_ended AFTER UPDATE ON documents FOR EACH ROW
    WHEN (NEW.status IN ('COMPLETED', 'FAILED') AND OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION post_to_webhooks();
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
DROP TRIGGER documents_ended ON documents;
DROP FUNCTION post_to_webhooks;
DROP TABLE webhook_deliveries, webhooks;
"""


MODELS_STATE = (
"eJztXVtz2zYW/isYv2wz43osO7az7s7OyLaSqnXkjK102yYdCiJhiWMKUAHQsrab/74AeB"
    "EvIC1KokSxfEksAAckv4PLwbnhr4MJsZDDjq7HLn46uAR/HWA4QeKPeMUhOIDT6aJYFnA4"
    "dFRLUzZRRXDIOIUmF6WP0GFIFFmImdSecptg2XbA0QsfAJuBwRdzDKnBOKT8Uv2JsPXHAJ"
    "BHwMcITCFlyAKyuSyyOQMWMd0JwvwfgvgZUSa6HBzJx4oK8Vwbj0p5wlf8FXdF5TMyOaEA"
    "Yku1nRFqMeDYCNgYKCyY37NNAZnhQzBQwBgeHRsoSr9MEQ8uAQQMQWqOwXAuKb9igpF4C9"
    "EVJhyM4TMCnACKoKVemYh/qPpkF9t/usjgZIRkmfjwL3+IYhtb6AWx4Of0yXi0kWPFGGtb"
    "sgNVbvD5VJVd2aMu5u9VWwno0DCJ407wov10zscEhwQ25rJ0hDCikCP5BE5dyXDsOo4/Mo"
    "Ix4L3soon3lhEaCz1C15HDRlJ7L7AoOzCM3l3feOj0DeMgNaQCisgY8ItMguVwFK/KFAAj"
    "+Qrf//Pk5PT04uT49Pzd2duLi7N3x+9EW/W+6aqLb97LLNDyulKYdT90e335QkSMeW8qyI"
    "JvigZy6FEpZizQ94dVmgWZ+EcoXmdCAHkeF4KCBRsWk3V7fDhpvb14++70/G0If1iSh3qA"
    "8AJRMZVsDJ0CiEYoGkQ1iI7gNI1mX6yTejj95gkoxQuWBeXBQUlA5qDU7/yq5vqEsT8dWd"
    "D7pX1//WP7/ruP7V/fqJq5X3N71/sQNF8sDb3r27urBNBy7ymCdNB+e1CXOGq3DfZCGCiw"
    "VMSJmtVCs1oEklVRVH2SBlMNplMoOlwez6D5Slj6MlhdoRwL4Vk8j6XhbFMK53pAo0QJUB"
    "2blTZCD/716GJTIgaGru1wG7Mj+bx/72jD+/JHcsMiTwgLnFxcZBFNUDUzXjNMg6OnoTue"
    "ff7cvdFDmyBLQOu6tnUkifcQ4Bz0lCRweq4EgSlhfERVpYJJwCpPvo9P2tNXAFca4veEIn"
    "uEf0beitAV7wKxqVtVfcXITaSr/YR2UbrYBSichSqD5OASGIgvR1yhcN1+uG7fdA4U2kNo"
    "Ps0gtYwY7LKGnJBESdg2XTU5mSRLIBZbm+V/iXzvQC1FHAeZ/oenlVaL2sNczVXYbkn1VR"
    "tQMpMKn0GEdPADmEALgdkYYaWmebQp46EyCZhkgtghIFRqeaTqiCHO5e6SVl6V0P8amiL1"
    "f2qmXAvhTb8YBe03czzZrbJoAl8MB+ERH8s1/fg4ZzkKziai1ZvEMcSvOvHq8jVDuoX/76"
    "KU29g26kA8crXCc/awjdJsUYkhBpeQ7cZliXbxEXx+usQAPj/NHL+yKnnsk4psJdppZOuc"
    "o1+crDmyaDSaz4g6cFoc3DRhA28aXjaFJtLK2Q8T6DiZ6EbpaoTr6cnFeQip/JGH5sPH9u"
    "1tGlKMXrixKq4p4gbcGLgUockQWVIhYTDbP5TEAb4RuHB7gvQAaztIgGz5PRwFf+wf5HnK"
    "jO7HzkO//fFTTKt80+53ZM1JTKMclH53ntgNw07Af7r9H4H8CX6/63WSx9CwXf/3A/lO0O"
    "XEwGRmQCuKSVAcFGXyHFFKaJrnPz3c9V7nd0ic5LdtcvA/sKQ2a384LVHJNx0krQQJ7skO"
    "kqYDxqGDAkP+anMwo4tmFlZ5FpoUSdwNqFEY5bM7TrkBLm9Oh9Qjs+/eNAz2OCH1WXKZLM"
    "7hBGkzkavM54WL2vJ+Twua7RksjsuVRrfi+xSzDOORWARXQz9J23BhRS5Iu9uqXEjRNlxY"
    "jwvK83M1JoSkDQ/W48EK4lyMstnrq7zXz5A9Ggte+brvFKffOwRmzLQ0aYLVj5K2rMnWOi"
    "5ruuWw9+bu89VtB3y671x3H7r+2Tnkp6qURaLA9gy/9532rc7Ivhs7cGiF11iBoxb6bBtw"
    "YEYtbAEOCQdHIHAXYABSBBiGUzYmnF0Cgh3l2Q8m5FnUDpEjqD3ZRhWLzvKswBt9xoZjBr"
    "KdUjbvi/K6jTLiOiWfZLjcFkPAJJMp5Eey5GIXTlSveKoc5piDzZgPw7K2zDjVFq2ZwZ9l"
    "CQxl2eMXgKMXjiiGjtaCkY14gmwlyCsmDcTBbh2fvF0CbdksE26vMo73nkTCtMoVgTdm1e"
    "Q2dzRa6ZxggoCgDkN228EEjLjUREZRD6kEWR2Q385iMUGWDT2gCsAdp6pF1ExiIzw7W2Yj"
    "PDvL3ghlXWJsj+HJ2XmhYR1S1BDj82UG9Hn2cD5PDWZm/xcZwzlHBRVBcbo6udFvXRGEuf"
    "RrfkLzYsJ1jKx+q3cpy8kEcShPOWmksz0YojRrOS5sLAxHPnYXJ8hS/BnEmdiUeq4MmfGK"
    "EAdBnBVrlqBN8GcoiMtiTFiyXR5c3d3dxnhw1U2KiJ8/XnWEWPMmrivTBfZ56GVPiqXAz5"
    "kfDf55+DMOuavZdnNkm5Bii9qUT53eTbf3YTvalNYyypRWti6llVKlCMyKueCHBFvbUw9E"
    "UxdZ+4rwlBK5wDNDfLTGmpWNdIqwflJMiWhbBBeKy07S1cizeXOx7gFInPBCaVzShA28Wn"
    "hNAVLoC6zZ/LJ1hFriOqwY29YXFvbhbvy2N3DOmUGK9bkfsoGP0lTj6LmrDBClsARyjibT"
    "ItkjIhS1cXza2Or+CG3HpTpFYiaeUZIGUG0kmz/kVnAU05A3zv8VdRRzEGTIIDMBfZETVI"
    "KsDtLQFrTAHmroZWoLDq4wsXT0jR9mlacXk6aS4oyOkDUrZ3VZq3NizzZcBu0beSMpb/jf"
    "YBT3htJQNvoPja3X5kjj0Jd9AAwJmpP36sc8L81L0USBCapmtWhSl+TiusHsGsa6AmpeP4"
    "2gWmVpponyrzmD3am1IoPjlA2DK8pgGeYjE5OuFtoZp23W6qpxukCo4RIZH3y69z/fIwdm"
    "BEol7z7aM6fab8EYT+T31Rli1oSovTDO1BGkofS3M8SBcLImTleyo67oZ2+Xj3ygvIRj0i"
    "0Uvaw7pjp+X33/tpO6DKxCcdBRDZFjY2T4zufZ0N5h1Cfin9cBDgKjrxdd1mRIrhg9HgCR"
    "E0Qewer1WPKAWUvGlPfHCKiwDnmBHARMHuXD9N6XwHKpfIC6Z060fEZ0LnN+T2wufkMOoG"
    "kisZADmx+Cmc3HABPAkHgFC7A5E2tOOsK89CfKS/NuIR0hCggWjxkReZGd7IxxITmMEHDF"
    "0KFgEOB7FAmuGKwbrl69yxR2mmS7rAD1rAXJxpBmXKwSIUr6rQdxTfu53Gv91n1laShY/9"
    "K+v+r22ve/6V3JrjTK1avf+p32uvk2lrkAI9g+FN/Kvf6iCpOhhMsv1kpkEgjSmi0oImNn"
    "bz1Rcb5IFpOAbvADmFFb/MB+PhF/2fXW9yC7iLf8D9HIxkxeOCHtemIXyEthspkHyP2kvb"
    "jyQrWyGfh0f3fdeXjo9j6AMWQAvYivFn3LW1T953pNZaW8UVV0h6xDAPHcu0t10aO8ebW5"
    "WbX6QZzZ+9GeeBbukel0TzJ07BGiM0KfinmbLShqGFpfTvoCeVvnSqrgOGWltP2NJjip81"
    "db+QpMjtI1uv4qc5i4XF5tVmS1jJDUzy+31VomrrGVHdfY2sM43e2hW04UtOHpxQqFIKUI"
    "qxGHVKsUGE1A3i5Qr55itroMaG65raqib2vZjZXV+ECjEvQqDvMUgsp0jQrrA32y8M5ZqZ"
    "yTd8p6d84qS3ietm9Z8r9TLmKVfvjtvqUfbpwiC0G9d6crTlyVSqo4g+OUDYMrymDTIWy1"
    "CRwlbFQkVeZxc4p5haMbO8Ws5IS6ZcfBfZHAi3nCrSIzK8Cy5OYAzVdk54XbZ2H52SOVd3"
    "ZwIE5YcwZmY4SVIBwanG3xtzpnWJ4PFXH5K5b0TXTdWLf31Lqtvj3NgPzo4OUYsAcrycaz"
    "vGjz9mfnQatTwv48+aeM1Gf+eVCzeORluo1QbTHB7Y78BDeX37YRCLclEGrCRAoppqI0jU"
    "K7anaC/RnQq5sJhoESeU0bQaiM3s+h+qqBIDpT9dYB3dDdrvGlmuN1LduLeAfQ+3x7uyvj"
    "SywMTXOWTIapZR8n08FxRU6UcerBJfBjKL6HliXTH8tTHiOen/NsTNCz9KmmtgzukfE5tj"
    "oPUns0zj1cbvgpzTlzT8+Z2itx8iJ69JfhNNE8udE86dBZ+VIp3H+EzuMvyOQk6+7JKGmC"
    "A9idTOdH2IKUwnm9ODEWsDwjU3/OrJfFsjF5JE0eOz8a7BFzGxei3YuxO3Yh6lpoMiVCkj"
    "PngmU6OTbRIleStRdtZaB2YVk2ST84DIMC/Vhz0RVm0HOeIY/e/eVIDAYWBP1xIBrMEM11"
    "Q9r4c9aQZwteMrjO5YIVE2jLivXJll4fxfsgOqW2buXKxjxBVsNIq81fYrrzfbiaKo81FZ"
    "9bv5+uYiiWHZOxI2NUxVDeji2qOZCtwoC9OJCtlY1kc8Ktpxt5kMmNdZJttDpXrH1WDQ2V"
    "JbmwTBsjHlwCCNQTDqWalMnkSbKaARNiMEQyjdIUUmR5rvEImmM/EwXEVphLSZXkCrjlPn"
    "TD2tv83NRrZKWumLy7blLqbLnW184XyhwQpamhRNs6X0Y2SC6MEdngPHVRuZxBRRAOCWoI"
    "bympGSyxW2OZIKTI5SFxosadzZe0KrIFtxG19TFqfk3uxgsXbV7bcbPB3fBu9XcxNK7pTJ"
    "m9WWWmDcpeSbPzBjVracZaKidVAYT95jVEt3W8nJYgT02Q1hNkJbfMuTcoM7XlFvI17Lkz"
    "5U43s2//B4UhzgE="
)
