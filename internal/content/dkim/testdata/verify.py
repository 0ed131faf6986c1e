"""Verify every signature of the messages in a folder with dkimpy.

usage: verify.py FOLDER: each *.eml is a message, and records.json holds the DNS records by name.
For each message that does not verify, a line says why. The last line says how many do.
"""
import json
import pathlib
import sys

import dkim
import nacl.signing  # without it, dkimpy verifies no Ed25519

folder = pathlib.Path(sys.argv[1])
records = json.loads((folder / "records.json").read_text())


def lookup(name, timeout=5):
    return records.get(name.decode().rstrip("."), "").encode()


verified = 0
for path in sorted(folder.glob("*.eml")):
    message = path.read_bytes()
    try:
        count = message.split(b"\r\n\r\n")[0].count(b"DKIM-Signature: ")
        if count != len(records):
            raise ValueError(f"{count} signatures, not {len(records)}")
        for i in range(count):
            if not dkim.DKIM(message).verify(i, dnsfunc=lookup):
                raise ValueError(f"signature {i} does not verify")
    except Exception as e:
        print(f"{path.name}: {type(e).__name__}: {e}")
    else:
        verified += 1
print(f"{verified} verified")
