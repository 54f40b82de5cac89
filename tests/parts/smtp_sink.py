"""A mail server that keeps what it is sent, by aiosmtpd:

    venv/bin/python smtp_sink.py PORT [CERT KEY implicit|starttls USER PASSWORD] [--reject CODE]

Prints `ready` once it listens on 127.0.0.1, and then each message as a line of JSON. Ends when its standard input does.
"""

import json
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


class Sink:
    reject = None

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.reject:
            return f"{self.reject} not here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": server.transport.get_extra_info("sslcontext") is not None,
            "login": session.auth_data.login.decode() if session.auth_data else None,
            "mail": envelope.content.decode(),
        }
        print(json.dumps(mail), flush=True)
        return "250 taken"


arguments = sys.argv[1:]
sink = Sink()
if "--reject" in arguments:
    at = arguments.index("--reject")
    sink.reject = arguments[at + 1]
    del arguments[at : at + 2]
port = int(arguments.pop(0))
options = {}
if arguments:
    certificate, key, way, user, password = arguments

    def authenticate(server, session, envelope, mechanism, data):
        good = isinstance(data, LoginPassword) and data == LoginPassword(user.encode(), password.encode())
        return AuthResult(success=good, handled=False, auth_data=data)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    options = {"authenticator": authenticate, "auth_required": True}
    if way == "implicit":
        # Within TLS from the first byte, aiosmtpd does not know that it is.
        options |= {"ssl_context": context, "auth_require_tls": False}
    else:
        options |= {"tls_context": context, "require_starttls": True}
Controller(sink, hostname="127.0.0.1", port=port, **options).start()
print("ready", flush=True)
sys.stdin.read()
