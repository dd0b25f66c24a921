from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # Hand-written: aerich knows neither tables without a model nor this kind of index.
    return """
-- Workers that are alive, also those that have nothing to do.
CREATE TABLE workers (
    name        VARCHAR(255) PRIMARY KEY,
    alive_until TIMESTAMPTZ NOT NULL
);

-- What ended in the last hour. Attempts end about in the order in which they began: a few hundred bytes say which
-- blocks to look at, and an attempt that ends has no entry to change (as it would in a B-tree).
CREATE INDEX attempts_by_end ON attempts USING brin (ended_at) WITH (pages_per_range = 16, autosummarize = on);
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
DROP INDEX attempts_by_end;
DROP TABLE workers;
"""


MODELS_STATE = (
"eJztXW1z2zYS/isYfblmxvX4JbZz6c3NyLaSqnXkjK30+joUTMISxxSgAqBlXa///QDwnQ"
    "RpURIpSuGXxAKxIPksuNhd7C7+6kyJhRx2eDVx8VPnPfirg+EUiT+SFw5AB85mUbNs4PDB"
    "UT1N2UU1wQfGKTS5aH2EDkOiyULMpPaM2wTLviOOXvgI2AyMfjMnkBqMQ8rfqz8Rtv4YAf"
    "II+ASBGaQMWUB2l002Z8AipjtFmP9DED8jysSQo0N5W3FB3NfG40ru8Dv+HffFxWdkckIB"
    "xJbqOyfUYsCxEbAxUFgwf2SbAjLHB2CkgDE8OjZSlH6bIh69BxAwBKk5AQ8LSfk7JhiJpx"
    "BDYcLBBD4jwAmgCFrqkYn4h6pXdrH9p4sMTsZItokX/+0P0WxjC70gFvycPRmPNnKsBGNt"
    "Sw6g2g2+mKm2S3vcx/yD6isBfTBM4rhTHPWfLfiE4JDAxly2jhFGFHIk78CpKxmOXcfxZ0"
    "YwB7yHjbp4TxmjsdAjdB05bSS19wBRW8cwBrdD4743NIxOZkoFFLE54DeZBMvpKB6VKQDG"
    "8hG+/efJyenpxcnR6fm7s7cXF2fvjt6Jvup5s5cu/vYeJkLLG0ph1v/YHwzlAxEx571PQT"
    "b8rWgghx6VYkaEvj+tsizIxT9G8ToTAsiLuBA0RGyIPtb6+HBy/Pbi7bvT87ch/GFLEeoB"
    "whGi4lOyMXRKIBqjaBHVIDqGsyyaQyEn9XD63VNQigesCspOpyIgC1Aa9n5W3/qUsT8d2T"
    "D4qXt39X337ptP3Z/fqCsL/8rN7eBj0D0SDYOrm9vLFNBy7SmDdNC/PqgrnLV1gx0pAyVE"
    "RZKolRYaaRFoVmVR9UlaTDWYzqAYcHk8g+4rYenrYPsK5UQoz+J+LAtnl1K40AMaJ0qB6t"
    "isshna+deji02JGHhwbYfbmB3K+/17Swveb3+kFyzyhLDAycVlhGiKqv3iNdM0MD0NnXn2"
    "5Uv/Wg9tiiwFreva1qEk3kGAC9BTmsDpuVIEZoTxMVUXFUwCVmn5Pj5pra8ArizEHwhF9h"
    "j/iDyJ0BfPArGpk6q+Y+Q6NtRuQhu1RqsAhfPQZZCeXAID8eaIKxSuuvdX3eteR6H9AM2n"
    "OaSWkYBdXiEnJNUS9s1emp5M0y0Qi6XN8t9EPnfgliKOg0z/xbNOq+jqQaHnKuy3pPuqCy"
    "iZS4fPKEY6+g5MoYXAfIKwctM82pTx0JkETDJF7AAQKr080nXEEOdydck6ryoYfw1Pkfo/"
    "86VcCeVNL4yC/psxT7brLJrCF8NBeMwnUqYfHRWIo8A2Eb3epMwQ/9KJd63YM6QT/F+LU2"
    "5jy6gD8djVKs/50zZOU6MTQ0wuodtNqlLtkjP4/HSJCXx+mjt/5aW02Scd2Uq10+jWBaZf"
    "kqw1WTQezWdEHTgrD26WsIVX47CgSL67ATVq4LW4wu0pypm8CcoUtpZPehj8UatmOCDzb9"
    "5UZAn2P/Xuh91PnxMuuevusCevnCTccUHrN+cpURIOAv7TH34P5E/w6+2gl9bhw37DXzvy"
    "maDLiYHJ3IBWHI2gOWhK2lJSSxUvuwKHU6QbYHHDPqZ94nO08bz8bmZEU58b4qhawVjLjm"
    "bC34uFTWashn6atuXCilyQ3rRVuZChbbmwHhdUPMdqTAhJWx6sx4MV1LkEZbvWN3mtnyN7"
    "PBG88i3aDKc/OATmfGlZ0hSrHyVtVR/b8VFVn1sBe69vv1ze9MDnu95V/75/O0jyU12UTa"
    "LB9ty5d73ujc51vh3vbuhb1/h24373fM9u4Bwt7dcNCUeHINgEYABSBBiGMzYhnL0HBDsq"
    "Xg9MhcXNwANyBLWn26hmMViRb3ej99hwJGD+VtPmd5he9zzGNkTlnQyX22IKmGQ6g/xQtl"
    "xsY2v0lf2ngwInr5nYmVjWQ5mkqtFHGfxZlcJQlZc9Ahy9cEQxdLT7qvmIp8hWgrxh2kAS"
    "7OOjk7dLoC275cLtXUzivSPxrcfVqsAb81VymzuazYyCEMGAYB+mbN0hgoy41ERG2X3PFN"
    "k+IF+PsJgiy4YeUCXgTlLtRSxsaiE8O1tmITw7y18I5bXU3J7Ak7PzUtM6pNhDjM+XmdDn"
    "+dP5PDOZmf1fZDwsOCrpCErS7VNwXO2OIMxltNITWpRTrhNk+ye9KxEnU8ShtHKySP9wfz"
    "vIE9wRTdrbZpsc/A/UHVwrb7sNC1JiVKy9pBWVg6SpKQdIay/CJjalnytHZ7wkxEEQ50WQ"
    "p2hT/HkQxFUxJmyplweXt7c3CR5c9tMq4pdPlz2h1rxJ+sp04foeevkfxVLgF3wfLf5F+D"
    "MOuatZdgt0m5CiRm/K597guj/4WI835XgZZ8pxvi/lOONKEZiVC6wLCWpbUzuiq4usXUV4"
    "RokU8MwQL63ZzcpHOkO4f1pMhWhbBJfKtkrTtUF2miUxAIkTXio5O0vYwquF1xQgyUg1RC"
    "mhmsUv30eoJd4HiVG3v1ChV8YCCgnWMn92B/VK7Jw5pFif0ZkPfJymGabntvI6K2EJ5BxN"
    "Z2VyQmMUexP4tDHp/ghtx6U6R2IunnGSFtA0oFishYY/5VYIFNOQt8H/DQ0UcxBkyCBzAX"
    "0ZCypFtg/aUA1eYA819DKzBQdX+LB09G0cZpM/Lya3SsozOkbWSs7mslYXxJ6/cRn0b/WN"
    "tL7hv4NRPhpKQ9n6PzR7vTZHmoC+fAMwJGgt79XNPC95u2z5nxRVKy3ahOSvbGV1Z9aKDE"
    "5StgxuKINlRoKsjLRaFlqStrV/msbpEllRSySn+3QffrxDDszJ6UgXX9+x+L+8AmM6n/Ga"
    "EHUjP/I+gvQgQ4MMobtO18TpUg7UF+PsrPgoBgpNH5BlyQg29LLunOr5Yw39csv7MrFKpW"
    "zGjVnHxsjw42Tzob3FaEjEP68DHORwXkVD7smUXDHRNQCiIN81htXraa8Bs5ZMfx1OEFAR"
    "6PIECwjYFDpOWF/wPbBcKm+gDroQPZ8RXciig1Obi9+QA2iaSAhyYPMDMLf5BGACGBKPYA"
    "G2YELmZJNhK7+jPLXjBtIxooBgcZsxkSdpyMEYF5rDGAFXTB0KRgG+h7E48NG6mbXNq+a6"
    "1Sp/VeXS5gkkG0OaU9k5RpQOsQ1SMHZT3GtDbH2/TqhY/9S9u+wPune/6KNeLjV+oMtfhr"
    "3uuqUBlqnAGywfim/V1t9twsdQQfXdtWouBIq0ZgmK6dj5S09cnS9TcCGgG30H5tQWP7Bf"
    "+sAXu558DwoheOL/AY1tzGTFW7kFIVaBomoLm7mBXE+6Uc1d1ctm4PPd7VXv/r4/+AgmkA"
    "H0It5ajC2PcfLv63WVF+WRTmI4ZB0AiBfeYU7RiPLop/Zop+bnm+WvRzsSBLVDuzw7Ukxg"
    "hxCdE/pULjAmotjDLOBqMq3lcUEruYKTlI3y9ree4LTPXy3lKzA5Ttf6+pvMYeJyebZCGW"
    "kZI9m/EMLj42VSsI7zU7COdzClsD50q0nYNDy/WKlsiQxhM1Im9ipbv80d2gbqzXPMNpcB"
    "7TFbTXX01VaIVe0adzQuQe/CQZFDUG1do9L+QJ8sPPRKOufkoVbeoVdqJ7zI27cs+ddUNl"
    "VVSn27a5VS26DIUlDvnHXFiauq3pRncJKyZXBDGWw6hK32AccJWxdJk3ncWjGvcHRjVsxK"
    "Qag1Bw7uigZeLhJuFZ1ZAZanNwdovqI7R2GfpfVnj1QeL8CBsLAWzDs8VirC4YazLf5Wdo"
    "blxVARl7+yk76Jodvd7R3d3VbvnmVAcSLjcgzYAUmy8YIU2hLj+SWb9qm2eN1Vmnx7UCM8"
    "iopyxqhqrMW5pTjBzZXibBXCuhRCTZpIKcdUnKZ1aDdtn2B3JvTq2wQPgRN5zT2C0Bm9m1"
    "P11Q2C+Jeq3x3QTd16N1+aOV/X2nsRzwAGX25utrX5kkhD09iS6TS1fHMymxxXxqJMUo/e"
    "Az+H4ltoWbJSq7TyGPHinOcTgp5lTDW1ZXKPzM+xlT1I7fGk0Ljc8F1aO3NH7Uzt6R1FGT"
    "36czvabJ7CbJ5s6qx8qAzu30Pn8SdkcpJ3TF6cNMUB7E5ni0NsQUrhYr84MRGwPCPzayjj"
    "0m55pLc8tm4a7BBz2xCi7auxWw4h6ltoOiNCkzMXgmU6PTbVo1CTtaO+MlG7tC6bph8dhE"
    "mBfq65GAoz6AXPkEfvqGUkJgMLkv44EB3miBaGIW38PmvosyXPQ1vnHLSGKbRV5frka6+P"
    "4nkQnVFbJ7nyMU+R7WGm1ebPW9z6OtxMl8eajs/aj9JqGIpV52RsaTOqYSjXsxfVGmSrMG"
    "AnDLK1qpFsTrn1fCP3M2ginWYbv1yo1j6rjgaTPUvUbJJlJqTGqRRGeW/m17EQN5BOUiZL"
    "J8mRvXavJCGYwGekr8i05ngb9rney6JQX4vX9fTk4jz0s8ofRZ7V+0/dm5vXXamKb2WW8p"
    "BgDxXQSlL9LSH9sSw4UaZufpKoDY/yV+6GiPQuorY+58m/UijIYdTnNQmeD+6G5ejXIkLX"
    "DM7Ll6O5ZWjyJWl+HZpWlubIUvlRlUDY776H6B4fLWd1FpmdWbszr1hiwZEZuaUSa8j/3/"
    "HgvK0uZn//H0DgkZk="
)
