from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # Hand-written: aerich knows no tables without a model. A handful of rows, so its key is all the index there is.
    return """
CREATE TABLE uploads (
    key        VARCHAR(255) PRIMARY KEY,
    started_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP
);
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
DROP TABLE uploads;
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
    "S0WUqFktFKuFL1nlRdUjaTBVYDqHosP18fSbb4SlJ4PVGcqcwzNM0kCahHQqziPieSwJaZ"
    "dSuFSDGiaKgWqZrLBJ3/rXo411iRgY26bFTcyO5fP+vScZ4ssfcRmAPCEscLJxnn0pRtUs"
    "ooph6p/mNdWJ9/Pn/o0a2hhZDFrbNo1jSXyAAGeg5whXZx1HtpoTxifUqXRgErBKZcLjk/"
    "JA68OVhPg9ocic4J+RuyL0xbtArKs2Kk/XdBPq6jChXZWudgEKF4EWJj64BAbiyxF3ULju"
    "Plx3b3otB+0x1J8WkBpaBHZZQ05JrCRom6yanc7iJRCL7c3wvkS+t6/pI5aFdO/Dk3rAVe"
    "1RpjIwaLemRrALKFlIHdooRDr6AcyggcBiirCj+Xo0KeOBfg7oZIbYESBUKs6kNo4hzuXu"
    "ktQHFtD/Fso35//ETLkW8rB6MfLb7+bEt1/92wy+aBbCEz6Va/rJScZy5B/3RKs3sZOdV3"
    "Xq1mUr21QL/99Fz7mzbdSCeGIrzyPpwzZMU6JeSAwuIdtNixLtoiO4c7bGAO6cpY5fWRU/"
    "SUvbgCPaKWTrjNN0lKw5siiUxM+IWnCeH9wkYQNvEl42hzpSytkPM2hZqeiG6WqE69npRS"
    "eAVP7IQvPhY/f2NgkpRi9c2xTXBHEDbgRcitBsjAypkNCY6R1KogDfCFy4OUNqgJUdxEA2"
    "vB6O/T8OD/IsZUb/Y+9h2P34KaKov+kOe7LmNKKk90u/68R2w6AT8J/+8Ecgf4Lf7wa9+D"
    "E0aDf8vSXfCdqcaJgsNGiEMfGL/aJUniNKCU3y/KeHu8Hr/A6I4/w2dQ7+B9bUZh0OpyUq"
    "2daYuOElxj3ZQdwawzi0kO8bsdkcTOmimYVVnoU6RRJ3DSoURtnsjlLugMu70yENyOK7Nw"
    "2DXU5IfZZcJvNzOEbaTOQq83nl9be+K9mKpjyDxUmx0mgp7mQRYzueiEVwM/TjtA0XNuSC"
    "tLttyoUEbcOF7bjgONNuxoSAtOHBdjzYQJyLUDZ7fZX3+gUyJ1PBK0/3neD0e4vAlJmWJI"
    "2x+lHSFjXZ2idFTbcM9t7cfb667YFP973r/kPfOzsH/HQqZZEoMF3D732ve6sysu/HDhxY"
    "4RVW4LCFPt0G7JtRc1uAA8LRMfDdBRiAFAGG4ZxNCWeXgGDLCZYAM/IsasfIEtSubOMUi8"
    "6yrMA7fcaOwzDSnVJ274vyuo0y5Doln6TZ3BRDQCezOeTHsuRiH05Ur3iqHGWYg/WID8O6"
    "tswoVYnWTP/PogSGouzxK8DRC0cUQ0tpwUhHPEa2EeQVkwaiYLdPTt+ugbZslgq3WxnF+0"
    "CCi9rFisA7s2pyk1sKrXRGfIZPUIchW3Z8BiM21ZGW10MqRlYH5MtZLGbIMKELVA64o1S1"
    "CESKbYTn5+tshOfn6RuhrIuN7Sk8Pe/kGtYBRQ0x7qwzoDvpw7mTGMzM/C/SxkuOciqCon"
    "R1cqMvXRGEufRrfkLLfMJ1hKx+q3chy8kMcShPOUmk0z0YwjRbOS7sLAxHPnYfJ8hC/BnE"
    "mViXeq4UmfGKEAtBnBZvFqON8WcsiItiTFBSLg+u7u5uIzy46sdFxM8fr3pCrHkT1ZWpAv"
    "xc9NInxVrgZ8yPBv8s/BmH3FZsuxmyTUBRojblU29w0x98KEeb0l5HmdJO16W0E6oUgVk+"
    "F/yAoLQ9tSWa2sg4VITnlMgFnmnioxXWrHSkE4T1k2IKRNsgOFeoe5yuRp7Nu4t590HihO"
    "fKjJMkbOBVwqsLkAJfYMXml64jVBLXYcUoW1+Y24e78dvewTlnASlW535IBz5MU42j574y"
    "QBTCEsg5ms3zZI8IUdTG8Wlnq/sjNC2bqhSJqXiGSRpAlZFs3pDbwFFMQd44/1fUUYzbVG"
    "F9zlLA+xS1mTYl690tBBnSyELglOfMGiOrg/xZgt7dRQ29zE0xZzZYylT0jedrlRc0Jo1T"
    "+RkdImv2quqyVhU2kG4q9tvXZqvamYTnfYOW3/9MQdlonBTWdZMjhQtl+pE7IGh0HZsfrN"
    "3EOnlTM8aomtWiSRaTiesO85lo2wqoWf00gmqVpZkmr0LNGWzPjQ0ZHKVsGFxRBsvAKpkK"
    "drNg2ihts1ZXjdM5gjvXyLHh0b3/+R5ZMCU0LX6B14G5MX/zx3gso7LK9LUlRN2VOayOII"
    "2lh6MmDoSzLXG6kh31RT8Hu3xkA+WmeJOOuOhl2zHV8/oaelf21GVg5Yo8D2uILBMjzXP3"
    "T4f2DqMhEf+8DrAfin696rImQ3LDeH0fiIyw/RBWr0fv+8xaM4p/OEXACaSRtyBCwORRPk"
    "iofgkMm8oHOJclipbPiC5llvWZycVvyAHUdSQWcmDyI7Aw+RRgAhgSr2AAtmRizUnG9Bf+"
    "RHnz4y2kE0QBweIxEyJvY5SdMS4khwkCthg6FIx8fI9D4SyjbRMEVO/6ir2mNS8qJUDagm"
    "RiSFOusgkRxSMF/Eiyw1zulWZoT1kaCNa/dO+v+oPu/W9q570rhXL16rdhr7tthpN1rhzx"
    "tw+Hb8VeOFKFyVDAdSNbpY7xBWnFFhSSsdO3nrA4nydvjE83+gEsqCl+YC+Di7fsuuu7n8"
    "/FXf7HaGJiJq/4kHY9sQtkJY3ZzQPkftJdXTLitDIZ+HR/d917eOgPPoApZAC9iK8Wfcur"
    "gL3nuk1lpbwWWHSHjCMA8dK9EHjVo7w+uLkeuPruO+n70YH4ch6Q6fRAcqIcEKILQp/yeZ"
    "utKGqYzKCYhBHyytmNVMFRykpp+xtNcFzn72zlGzA5TNfo+qvMYWJzeZlcntUyRFI/v9x2"
    "e51I0nZ6JGn7ACOjy0O3mLhzzdWL5Qr6ShBWI/KrVklHmhDIfaBePcVsdRnQ3CtcVUVfaf"
    "mkHatxS6ESdCuOshSCjuka5dYHemTBLb9SOSdv8XVv+XUs4VnavnXJ/07Zn52Ez28PLeFz"
    "4xSZC+qDO11xYjvJu/IzOErZMLiiDNYtwjabwGHCRkVSZR43p5hXOLqzU8xGTqglOw4eig"
    "SezxNuE5nZASxNbvbRfEV2Xrl95pafXVJ5SwoH4oS1ZGAxRdgRhAODsyn+ds4ZhutDRWz+"
    "iiV9F1031u0DtW47355kQHZ08HoMOICVZOd5dZQ3JaRnnqvTFQlZ8k8Ryea886Bi8cjKLR"
    "yiKjGl8J78BHeXUbgRCMsSCBVhIrkUU2GaRqFdNTvB4Qzozc0EY1+JvKWNIFBGH+ZQfdVA"
    "EJ6pauuAauiWa3yp5njdyvYi3gEMPt/e7sv4EglDU5wl42Fq6cfJZHBcnhNllHp0CbwYiu"
    "+hYciE0/KUx4jr57yYEvQsfaqpKYN7ZHyO6ZwHqTmZZh4ud/yU5px5oOdM5SVEWRE96uuH"
    "mmiezGieZOisfKkE7j9C6/EXpHOSdttnmDTGAWzP5stjbEBK4bJenJgKWJ6Rrj5n1sti2Z"
    "g84iaPvR8NDoi5jQvR/sXYPbsQ9Q00mxMhyelLwTKVHBtrkSnJmqu2MlA7tywbpx8dBUGB"
    "Xqy56Aoz6DrPkEf3xngkBgPzg/44EA0WiGa6Ie38OVvIszmvddzmOseKCbRFxfqkS6+P4n"
    "0QnVNTtXKlYx4jq2Gk1e6vjd37PlxNlceWis/SbwSsGIpFx2TsyRhVMZTLsUU1B7JNGHAQ"
    "B7KtspHsTrh1dSMPMrmxSrINV2eKtc9OQ83Jkpxbpo0Qjy4BBM4TjqSalMnkSbKaAR1iME"
    "YyjdIcUmS4rvEI6lMvEwXERpBLySnJFHCLfeiOtbfZuam3yEpdMXl326TU6XKtp53PlTkg"
    "TFNDibbdWUc2iC+MIdmgk7gaXs6gPAgHBDWEt5DUDIbYrbFMEJLn8pAoUePO5klaFdmCu4"
    "ia6hg1ryZz44WrNq/tuOng7ni3+rsYGrd0pkzfrFLTBqWvpOl5g5q1NGUtlZMqB8Je8xqi"
    "2z5ZT0uQpSZI6gnSkltm3BuUmtqyhHwNB+5MudfN7Nv/AYcdqM0="
)
