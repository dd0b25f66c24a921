from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return """
-- Whether title and metadata come from a PATCH: then an update that has none of its own leaves them.
ALTER TABLE documents
    ADD patched_title BOOL NOT NULL DEFAULT FALSE,
    ADD patched_metadata BOOL NOT NULL DEFAULT FALSE;
"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
ALTER TABLE documents DROP COLUMN patched_title, DROP COLUMN patched_metadata;
"""


MODELS_STATE = (
"eJztXW1z2rgW/isavtx2JpsJpEl6s3fuDElol92UdBLau7ttxyi2AE2MxEpyCHdv//uV/P"
    "4iOxgwAeovbZB0ZPs58tHRo3PkvxsTaiGbH16OHfLQOAd/NwicIPlHsuIANOB0GhWrAgHv"
    "bbelqZq4RfCeCwZNIUuH0OZIFlmImwxPBaZEtR0I9CQGAHMw+GKOITO4gEycu38iYn0bAD"
    "oEYozAFDKOLKCaqyIsOLCo6UwQEf+Qwo+Icdnl4FBdVlbI62IyquQKX8lX0pWVj8gUlAFI"
    "LLftjDKLAxsjgAlwseB+z5gBOiMHYOACY3hyfOBK+mWu8OAcQMARZOYY3M+V5FdCCZJ3Ib"
    "siVIAxfERAUMAQtNxbpvIf5j6yQ/BfDjIEHSFVJh/8yzdZjImFnhAPfk4fjCFGtpVQLLZU"
    "B265IeZTt+wCj7pEvHPbKkDvDZPazoRE7adzMaYkFMBEqNIRIohBgdQVBHOUwolj2/7ICM"
    "aAd7NRE+8uYzIWGkLHVsNGSXs3EJU1DKN30zfuOn3DaGSGVCARGwN+kUmJGo7yVrkLwEjd"
    "wk//bLWOj89aR8enb0/enJ2dvD16K9u695utOvvu3UyElteVi1n3fbfXVzdE5Zj3XgVV8N"
    "2VgQJ6Uq4yIvT9YZVVQS7+MYnnlRBAXqSFoCBSQ/Sybk4Preabszdvj0/fhPCHJUWoBwhH"
    "iMpXCRNol0A0JlEjqkF0BKdZNPvSTurh9JunoJQ3WBWUjUZFQBag1O/87r7rE87/slVB73"
    "P79vKX9u2rD+3fX7s1c7/m+qb3PmgemYbe5fXNRQpoNfeUQTpovzmoKxy1mwY7cgZKmIqk"
    "UG0tNNYi8KzKouqL1JhqMJ1C2eHieAbNl8LS98H2FcqxdJ7l9XgWzjZjcK4HNC6UAtXGvL"
    "IR2vjX0CGmQgzcO9gWmPBDdb1/v9CE9+VbesKiD4hInBxSxoimpOo3XjNMg6WnoVueffrU"
    "vdJDmxJLQes42DpUwjsIcAF6ridwfOo6AlPKxYi5lS5MEla18h0+aFdfAVxZiN9RhvCI/I"
    "Y8i9CV9wKJqbOqPjFyFetqN6GNSqNZgMFZSBmkB5fEQD45Ei4Kl+27y/ZVp+GifQ/Nhxlk"
    "lpGAXdXQFk2VhG2zVZPWJF0CiZzaLP9J1H0HtBS1bWT6D54lraLag0LmKmy3IH3VBozOFO"
    "EziIkOfgYTaCEwGyPi0jRDzLgIySRg0gniB4AyxfIo6ogjIdTskiWvKuh/BabI/T/zplxK"
    "501vjIL261mevCxZNIFPho3ISIyVTT86KjBHwdpEtnqdWob4VS2vrpgZ0hn+H4WUW9s0ak"
    "MycrTOc/6wjctskMSQg0v6duOqXLvkCD49XmAAnx7njl9VlV72KSLbde00vnXB0i8pVi9Z"
    "NIzmI2I2nJYHNytYw6shLBhSz25AjRt4JWsEnqCcwZuQTGFr+aKHwR8b9Qx7dPbqdUUrwe"
    "6Hzl2//eFjgpK7avc7qqaVoOOC0lenKVMSdgL+0+3/AtRP8OdNr5P24cN2/T8b6p6gI6hB"
    "6MyAVhyNoDgoSq6llJcqH3YJDadE16DiLXuZ9knP0cbz4ruZkczmaIijag3jRnY0E3wvkW"
    "syYzn007K1FpbUgmLTltVCRrbWwmpacOM5llNCKFrrYDUdLOHOJSTruX7b5voMkfsyXGPI"
    "9GqYxjgLnM8zBlRdaZYxFBwcgoCS5gAyBDiBUz6mgp8DSmw3egxM5PqPg3tkS2lvpnWLZW"
    "dFTONar7HmuLT8jY/173c8z4PFtufUlQxHYDkETDqZQnGoSs5eYqPumd2QgwLK0Uzw5Ivy"
    "ZUmpDTJmwZ9VTV9Vcb4R4OhJIEagrd3ly0c8JbYU5Fs2NyXBbh613iyAtmqWC7dXmcR7R6"
    "Itm9U6ZGtjzgQWtoZaLwhYCwT2YchuOmCNU4eZyCi7C5cS2wfkN2MsJsjC0AOqBNxJqb2I"
    "zExNhCcni0yEJyf5E6GqS43tMWydnJYa1qHEHmJ8usiAPs0fzqeZwczxf5FxPxeoJC2RlN"
    "unUK2N0xJEqNiZBzQv51wnxPbPeldiTiZIQLXKySL9691NL89wRzJp7gebAvwPbDrUU132"
    "JVaQCqNi7yXtqBwkl5qqg7T3ItfE5hjJS+l9xgtKbQRJXjxzSjaln3spXJViwpLN6uDi5u"
    "Y6oYOLbtpF/PThoiPdGlchshEWOZYnQC//pVgI/IL3o8a/CH8uoHA0026BbxNKbJBN+djp"
    "XXV77zfDpjQXIVOa+VxKM0OlSMzKhXmFAhubUxuyqYOsXUV4yqgy8NyQD63ZW8lHOiO4f1"
    "5MhWhblJTK/UnL1SFfmikxAElQUSpVOCtYw6uF15QgqbgpxBhlmskvnyPUCu+Dxdg0X+ii"
    "V2YFFAqstPzZHdQrWefMICP6/MJ84OMy27H0fKksw0pUAoVAk2mZDMWYxN6E4azNug8hth"
    "2mIxJz8YyL1ICmASVyLjT8IbdE2JJGvA5F36KwpUQ+EoIcGXQmoS+zgkqJ7YM3tAEW2EMN"
    "PU2x1OASL5ZOvo4K3ObXi6utkvKKjonVlnN7VasLqc7fuAza1/5G2t/wn8EoHw2lkaz5D8"
    "1eLxZIE9CXvwAMBeqV9/LLPC+VuOxhNCmp2lrU6bE/2MzqTK0lFZyUrBW8pQpWGQnqnJ7l"
    "cqKSsvX6Z9s0XSIraoFUaV/u3W+3yIY5OR3po8B3LP4v77grHWe8IkTtiEfeR5DQ5B5Zlg"
    "rMQk+rQtXx++r7Z9ruC16lMhHjazQbE2T44Z/50N4Q1Kfyn+cBDlITL6Mud9JQ6yFeIn8z"
    "AKIgjTOG1fPZnIGyFszq7I8RcAOr1WcCIOATaNvhIW7nwHKYuoD7NQHZUq645+pktwkW8j"
    "cUAJomkvYJYHEAZliMAaGAI3kLFuBzLs1ONsez8iuqTyNcQzZCDFAiLzOi6nMFqjMu5IQ4"
    "QsCRQ4eBQYDvYSy8ebBqwuj2HZn5okepVZUimmeQMIEs5/jcmFA6cjTILNhNc6+NHPXpit"
    "Bf/Ny+vej22rd/6IM5LjT0xsUf/U5bd3RpmYz3RY45DaYPV2/VHnK6DS9DBUecrnSUQOAf"
    "aqagmOuYP/XEvdQy5wgEcoOfwYxh+YP4Gf2+2fXse5Df75n/ezTChKtjRRWzLmeBokME1n"
    "MBNZ+0o4NN3VaYg4+3N5edu7tu7z0YQw7Qk3xq2bf6Vo5/Xa+pqlTfzZHdIesAQDL3vpgT"
    "9ai+r1N/P2f706jy56Mdie3Zoc2LHcmR3yFEZ5Q9lIv3iCT2MLm1mgRi9U2WpRjOpORWkd"
    "g1wZmmst2pfAklx+VqCnubNUwdoQ6wL2MtYyL7FxnXbC6SWdTMzyxq7mCm3ObQrSYP0fB4"
    "sVJJABnB7cgE2Ksk9Dol5iVQ3z5idnsVUH/LaFuJvo2dL5rYCdUwg+md0nx6MLs/W4YkTE"
    "oPzoFP4/8kvTmVA6s4NU49qm02puhR0XoMq/0ltUWEXa6O4dG4kClc81VqIm9HiTztuUhF"
    "m0r6E5HqDaXCDaVs9Ia6qQzuv0B7+Nn9Tn2OWxQXTWmAOJPp/JBYUH1Oc780MZawPCLzRw"
    "iQrYmJNDFRe7G1F1t7sQt7sV0LTaZUenLmXKpM58emWhR6sjhqq2KFSvuyafnBQbgv7Yc7"
    "ya4Ihx75QYfeIfZIDgYe7DsLIBvMECv8TOfar7OCP1vypMlVTpjcMoe2qu2mfO91KO8HsS"
    "nDOsuVj3lKbA83+9Z/ku2Lz8O7w+Y9G+f3gocUbhmKVW8L+K6+ZolbdPZmTGq5Ize3DOWi"
    "Ve76DtysF2TLKGAnFmQrBcSuz7n1uJG7KTSRzrONVxe6tY9uQ4OrliXSBlSko/I4XYdRXZ"
    "v7oZTyAook5Sp6X/XslXvJXmAMH5E+KWDF/tbMud6pvIQfhXU9bp2dhjyr+lHErN59aF9f"
    "P0+lunorM5WHAnvogFYSbWZJ609UzGOZE0mSQnWkpD9zb4lJbyOGzbHOmvs1hYYcRm2es+"
    "D54K7Zjv4oJnTFON18O5obCZ1vSfNDoWtbmmNL1UtVAmG/+R6i21zoC4PNgi8MNrNfGMzN"
    "1ys4jCg3W28DIWg7Hvb0opPZ9/8DTsGKlA=="
)
