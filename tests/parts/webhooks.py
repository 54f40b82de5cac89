"""The other end of a webhook, by the Standard Webhooks library:

    venv/bin/python webhooks.py verify < {"secret": "whsec_…", "headers": {…}, "body": "…"}
    venv/bin/python webhooks.py sign < {"secret": "whsec_…", "id": "…", "timestamp": seconds, "body": "…"}

`verify` ends with 0 if the signature is good, with 1 if it is not; `sign` prints the signature.
"""

import datetime
import json
import sys

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

given = json.load(sys.stdin)
webhook = Webhook(given["secret"])
if sys.argv[1] == "sign":
    at = datetime.datetime.fromtimestamp(given["timestamp"], tz=datetime.timezone.utc)
    print(webhook.sign(msg_id=given["id"], timestamp=at, data=given["body"]))
else:
    try:
        webhook.verify(given["body"], given["headers"])
    except WebhookVerificationError as error:
        sys.exit(f"not verified: {error}")
