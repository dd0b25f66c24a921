from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # Hand-written: aerich knows neither tables without a model nor triggers.
    return """
-- What happened to documents, for a day or so (app/models/event_log.py). Whole in itself: what is told again is told
-- in the same words, whatever became of the document since. No key: nothing ever looks for one row of it.
CREATE TABLE document_events (
    xid            XID8 NOT NULL DEFAULT pg_current_xact_id(),
    id             BIGINT GENERATED ALWAYS AS IDENTITY, -- Of one document, in the order of its moves.
    at             TIMESTAMPTZ NOT NULL,
    document_id    UUID NOT NULL,
    version        INT NOT NULL,
    attempt        INT NOT NULL,
    failures       INT NOT NULL,
    chunk_count    INT NOT NULL,
    progress_done  INT,
    progress_total INT,
    progress_unit  VARCHAR(10),
    status         VARCHAR(10), -- NULL: it was deleted.
    stage          VARCHAR(10),
    collection     VARCHAR(200) NOT NULL,
    external_id    VARCHAR(1024),
    source_name    VARCHAR(1024),
    title          TEXT,
    error          JSONB
);
CREATE INDEX document_events_by_xid ON document_events (xid);

-- The last transaction of which events have been forgotten.
CREATE TABLE forgotten_events (xid XID8 NOT NULL);
INSERT INTO forgotten_events VALUES ('0');

-- Once a statement, however many documents come or go with it.
CREATE FUNCTION log_document_events() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO document_events (at, document_id, version, attempt, failures, chunk_count, status, stage, collection,
                                 external_id, source_name, title)
    SELECT CASE TG_OP WHEN 'INSERT' THEN updated_at ELSE now() END, id, version, attempt, failures, chunk_count,
        CASE TG_OP WHEN 'INSERT' THEN status END, CASE TG_OP WHEN 'INSERT' THEN stage END, collection, external_id,
        source_name, title
    FROM changed;
    RETURN NULL;
END
$$;
CREATE TRIGGER documents_came AFTER INSERT ON documents
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION log_document_events();
CREATE TRIGGER documents_went AFTER DELETE ON documents
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION log_document_events();

-- Most updates are beats and notes, which the condition lets go before anything is called.
CREATE FUNCTION log_document_event() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO document_events (at, document_id, version, attempt, failures, chunk_count, progress_done,
                                 progress_total, progress_unit, status, stage, collection, external_id, source_name,
                                 title, error)
    VALUES (NEW.updated_at, NEW.id, NEW.version, NEW.attempt, NEW.failures, NEW.chunk_count, NEW.progress_done,
            NEW.progress_total, NEW.progress_unit, NEW.status, NEW.stage, NEW.collection, NEW.external_id,
            NEW.source_name, NEW.title, NEW.error);
    RETURN NULL;
END
$$;
CREATE TRIGGER documents_moved AFTER UPDATE ON documents FOR EACH ROW
    WHEN ((OLD.status, OLD.stage, OLD.attempt, OLD.version)
        IS DISTINCT FROM (NEW.status, NEW.stage, NEW.attempt, NEW.version))
    EXECUTE FUNCTION log_document_event();
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
DROP TRIGGER documents_moved ON documents;
DROP TRIGGER documents_went ON documents;
DROP TRIGGER documents_came ON documents;
DROP FUNCTION log_document_event;
DROP FUNCTION log_document_events;
DROP TABLE forgotten_events, document_events;
"""


MODELS_STATE = (
    "eJztXVtz2zYW/isYvWwz43osO5az7s7OyLaSqnXkjK102yYdCiJhiWMKUAHQsrab/74Ab+"
    "IFpEVJpCiWL4kF4IDkd3A5ODf81ZoRA1ns+Hpq46fWJfirheEMiT+iFUegBefzVbEs4HBs"
    "OS112cQpgmPGKdS5KH2EFkOiyEBMp+acmwTLtiOOXvgImAyMvuhTSDXGIeWXzp8IG3+MAH"
    "kEfIrAHFKGDCCbyyKTM2AQ3Z4hzP8hiJ8RZaLL0bF8rKgQzzXxpJAnfMVfcV9UPiOdEwog"
    "Npy2C0INBiwTARMDBwvm9WxSQBb4CIwcYDSXjo0cSq/MIR5dAggYglSfgvFSUn7FBCPxFq"
    "IrTDiYwmcEOAEUQcN5ZSL+oc4n29j800YaJxMky8SHf/lDFJvYQC+I+T/nT9qjiSwjwljT"
    "kB045Rpfzp2yK3PSx/y901YCOtZ0YtkzvGo/X/IpwQGBibksnSCMKORIPoFTWzIc25bljQ"
    "x/DLgvu2rivmWIxkCP0LbksJHU7gusylqaNrgbag+9oaa1EkPKpwiNAa9IJ1gOR/GqzAFg"
    "Il/h+3+enp6dXZyenHXenb+9uDh/d/JOtHXeN1l18c19mRVablcOZv0P/cFQvhARY96dCr"
    "Lgm0MDOXSpHGas0PeGVZIFqfiHKF5ngg95Fhf8ghUbVpO1PD6ctt9evH131nkbwB+UZKHu"
    "I7xCVEwlE0MrB6IhigZRBaITOE+iORTrpBpOr3kMSvGCRUHZahUEZAZKw96vzlyfMfanJQ"
    "sGv3Tvr3/s3n/3sfvrG6dm6dXc3g0++M1XS8Pg+vbuKga03HvyIO23Lw/qAkdt2WCvhIEc"
    "S0WUqFktFKuFL1nlRdUjaTBVYDqHosP18fSbb4SlJ4PVFcqpEJ7F81gSzi6lcKkGNEwUA9"
    "UyWWEjtPWvRxvrEjEwtk2Lm5gdy+f9e08b3pc/4hsWeUJY4GTjPItojKqZ8Yph6h89NdXx"
    "7PPn/o0a2hhZDFrbNo1jSXyAAGeg50gCZx1HEJgTxifUqXRgErDKk+/jk/L05cOVhPg9oc"
    "ic4J+RuyL0xbtArKtWVU8xchPq6jChXZWudgEKF4HKID64BAbiyxF3ULjuPlx3b3otB+0x"
    "1J8WkBpaBHZZQ05JrCRom6yanc7iJRCLrc3wvkS+t6+WIpaFdO/Dk0qrVe1RpuYqaLem+q"
    "oLKFlIhc8oRDr6AcyggcBiirCjpnk0KeOBMgnoZIbYESBUanmk6oghzuXuklReFdD/Fpoi"
    "5//ETLkWwpt6MfLb7+Z4sl9l0Qy+aBbCEz6Va/rJScZy5J9NRKs3sWOIV3Xq1mVrhlQL/9"
    "9FKbezbdSCeGIrhef0YRumKVGJIQaXkO2mRYl20RHcOVtjAHfOUsevrIof+6Qi2xHtFLJ1"
    "xtEvStYcWRQazWdELTjPD26SsIE3CS+bQx0p5eyHGbSsVHTDdDXC9ez0ohNAKn9kofnwsX"
    "t7m4QUoxeubYprgrgBNwIuRWg2RoZUSGjM9A4lUYBvBC7cnCE1wMoOYiAbXg/H/h+HB3mW"
    "MqP/sfcw7H78FNEq33SHPVlzGtEo+6XfdWK7YdAJ+E9/+COQP8Hvd4Ne/BgatBv+3pLvBG"
    "1ONEwWGjTCmPjFflEqzxGlhCZ5/tPD3eB1fgfEcX6bOgf/A2tqsw6H0xKVbNNB3EoQ457s"
    "IG46YBxayDfkbzYHU7poZmGVZ6FOkcRdgwqFUTa7o5Q74PLudEgDsvjuTcNglxNSnyWXyf"
    "wcjpE2E7nKfF65qK3v97SiKc9gcVKsNFqK71PEMownYhHcDP04bcOFDbkg7W6bciFB23Bh"
    "Oy44np+bMSEgbXiwHQ82EOcilM1eX+W9foHMyVTwytN9Jzj93iIwZaYlSWOsfpS0RU229k"
    "lR0y2DvTd3n69ue+DTfe+6/9D3zs4BP51KWSQKTNfwe9/r3qqM7PuxAwdWeIUVOGyhT7cB"
    "+2bU3BbggHB0DHx3AQYgRYBhOGdTwtklINhyPPvBjDyL2jGyBLUr2zjForMsK/BOn7HjmI"
    "F0p5Td+6K8bqMMuU7JJ2k2N8UQ0MlsDvmxLLnYhxPVK54qRxnmYD3iw7CuLTNKVaI10/+z"
    "KIGhKHv8CnD0whHF0FJaMNIRj5FtBHnFpIEo2O2T07droC2bpcLtVkbxPpBImHaxIvDOrJ"
    "rc5JZCK50RTOAT1GHIlh1MwIhNdaTl9ZCKkdUB+XIWixkyTOgClQPuKFUtomZiG+H5+Tob"
    "4fl5+kYo62JjewpPzzu5hnVAUUOMO+sM6E76cO4kBjMz/4u08ZKjnIqgKF2d3OhLVwRhLv"
    "2an9Ayn3AdIavf6l3IcjJDHMpTThLpdA+GMM1Wjgs7C8ORj93HCbIQfwZxJtalnitFZrwi"
    "xEIQp8WaxWhj/BkL4qIYE5SUy4Oru7vbCA+u+nER8fPHq54Qa95EdWWqwD4XvfRJsRb4Gf"
    "OjwT8Lf8YhtxXbboZsE1CUqE351Bvc9AcfytGmtNdRprTTdSnthCpFYJbPBT8gKG1PbYmm"
    "NjIOFeE5JXKBZ5r4aIU1Kx3pBGH9pJgC0TYIzhWXHaerkWfz7mLdfZA44bnSuCQJG3iV8O"
    "oCpMAXWLH5pesIlcR1WDHK1hfm9uFu/LZ3cM5ZQIrVuR/SgQ/TVOPoua8MEIWwBHKOZvM8"
    "2SNCFLVxfNrZ6v4ITcumKkViKp5hkgZQZSSbN+Q2cBRTkDfO/xV1FOM2VVifsxTwPkVtpk"
    "3JencLQYY0shA45TmzxsjqIH+WoHd3UUMvc1PMmQ2WMhV94/la5QWNSeNUfkaHyJq9qrqs"
    "VYUNpJuK/fa12ap2JuF536Dl9z9TUDYaJ4V13eRI4UKZfuQOCBpdx+YHazexTt7UjDGqZr"
    "VoksVk4rrDfCbatgJqVj+NoFplaabJq1BzBttzY0MGRykbBleUwTKwSqaC3SyYNkrbrNVV"
    "43SO4M41cmx4dO9/vkcWTAlNi982dWBuzN/8MR7LqKwyfW0JUXdlDqsjSGPp4aiJA+FsS5"
    "yuZEd90c/BLh/ZQLkp3qQjLnrZdkz1vL6G3v0ydRlYuSLPwxoiy8RI89z906G9w2hIxD+v"
    "A+yHol+vuqzJkNwwXt8HIiNsP4TV69H7PrPWjOIfThFwAmnklX0QMHmUDxKqXwLDpvIBzs"
    "1+ouUzokuZZX1mcvEbcgB1HYmFHJj8CCxMPgWYAIbEKxiALZlYc5Ix/YU/UV5TeAvpBFFA"
    "sHjMhMirA2VnjAvJYYKALYYOBSMf3+NQOMto2wQB1bu+Yq9pzYtKCZC2IJkY0pSrbEJE8U"
    "gBP5LsMJd7pRnaU5YGgvUv3fur/qB7/5vaee9KoVy9+m3Y626b4WSdK0f87cPhW7EXjlRh"
    "MhRw3chWqWN8QVqxBYVk7PStJyzO58kb49ONfgALaoof2Mvg4i277vru53Nxl/8xmpiYyS"
    "s+pF1P7AJZSWN28wC5n3RXl4w4rUwGPt3fXfceHvqDD2AKGUAv4qtF3/LeWu+5blNZKe+w"
    "Fd0h4whAvHRvr131KO+6be6yrb77Tvp+dCC+nAdkOj2QnCgHhOiC0Kd83mYrihomMygmYY"
    "S8H3UjVXCUslLa/kYTHNf5O1v5BkwO0zW6/ipzmNhcXiaXZ7UMkdTPL7fdXieStJ0eSdo+"
    "wMjo8tAtJu5cc/ViuYK+EoTViPyqVdKRJgRyH6hXTzFbXQY09wpXVdFXWj5px2rcUqgE3Y"
    "qjLIWgY7pGufWBHllwy69UzslbfN1bfh1LeJa2b13yv1P2Zyfh89tDS/jcOEXmgvrgTlec"
    "2E7yrvwMjlI2DK4og3WLsM0mcJiwUZFUmcfNKeYVju7sFLORE2rJjoOHIoHn84TbRGZ2AE"
    "uTm300X5GdV26fueVnl1TeksKBOGEtGVhMEXYE4cDgbIq/nXOG4fpQEZu/YknfRdeNdftA"
    "rdvOtycZkB0dvB4DDmAl2XleHeVNCemZ5+p0RUKW/FNEsjnvPKhYPLJyC4eoSkwpvCc/wd"
    "1lFG4EwrIEQkWYSC7FVJimUWhXzU5wOAN6czPB2Fcib2kjCJTRhzlUXzUQhGeq2jqgGrrl"
    "Gl+qOV63sr2IdwCDz7e3+zK+RMLQFGfJeJha+nEyGRyX50QZpR5dAi+G4ntoGDLhtDzlMe"
    "L6OS+mBD1Ln2pqyuAeGZ9jOudBak6mmYfLHT+lOWce6DlTeQlRVkSP+vqhJponM5onGTor"
    "XyqB+4/QevwF6Zyk3fYZJo1xANuz+fIYG5BSuKwXJ6YClmekq8+Z9bJYNiaPuMlj70eDA2"
    "Ju40K0fzF2zy5EfQPN5kRIcvpSsEwlx8ZaZEqy5qqtDNTOLcvG6UdHQVCgF2suusIMus4z"
    "5NG9MR6JwcD8oD8ORIMFopluSDt/zhbybM5rHbe5zrFiAm1RsT7p0uujeB9E59RUrVzpmM"
    "fIahhptftrY/e+D1dT5bGl4rP0GwErhmLRMRl7MkZVDOVybFHNgWwTBhzEgWyrbCS7E25d"
    "3ciDTG6skmzD1Zli7bPTUHOyJOeWaSPEo0sAgfOEI6kmZTJ5kqxmQIcYjJFMozSHFBmuaz"
    "yC+tTLRAGxEeRSckoyBdxiH7pj7W12buotslJXTN7dNil1ulzraedzZQ4I09RQom131pEN"
    "4gtjSDboJK6GlzMoD8IBQQ3hLSQ1gyF2aywThOS5PCRK1LizeZJWRbbgLqKmOkbNq8nceO"
    "GqzWs7bjq4O96t/i6Gxi2dKdM3q9S0QekraXreoGYtTVlL5aTKgbDXvIbotk/W0xJkqQmS"
    "eoK05JYZ9walprYsIV/DgTtT7nUz+/Z/Qac+eA=="
)
