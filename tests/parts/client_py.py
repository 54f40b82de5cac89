"""The official MCP Python SDK, through OAuth, against a broker:

    venv/bin/python client_py.py http://127.0.0.1:PORT/mcp [--account bob] [--era legacy|auto]

Everything between the first 401 and the token is the SDK's own doing: protected resource metadata, authorization
server metadata, dynamic registration, authorization code with PKCE. Only the browser is ours: a client that follows
redirects and keeps cookies until it is sent to the loopback redirect URI. Then it lists the tools, calls `whoami`,
and prints {"tools": [names], "whoami": structuredContent}.
"""

import argparse
import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

REDIRECT = "http://127.0.0.1:33419/callback"  # nothing listens there: the browser stops before it


class Storage:
    """What the SDK asks its host to keep."""

    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Browser:
    """Goes where the SDK sends the human, and tells it what came back."""

    def __init__(self, account):
        self.account = account
        self.callback = None

    async def open(self, page):
        page = httpx2.URL(page)
        if self.account:
            page = page.copy_set_param("login_hint", self.account)
        async with httpx2.AsyncClient() as http:
            for _ in range(20):
                response = await http.get(page)
                if response.next_request is None:
                    raise RuntimeError(f"the login ended at {page} with {response.status_code}: {response.text}")
                page = response.next_request.url
                if str(page).startswith(REDIRECT):
                    self.callback = page.params
                    return
        raise RuntimeError("the login goes round in circles")

    async def answer(self):
        if "code" not in self.callback:
            raise RuntimeError(f"no code came back: {self.callback}")
        return AuthorizationCodeResult(**{name: self.callback.get(name) for name in ("code", "state", "iss")})


async def main(url, account, era):
    browser = Browser(account)
    metadata = OAuthClientMetadata(
        client_name="client_py", redirect_uris=[REDIRECT], token_endpoint_auth_method="none"
    )
    oauth = OAuthClientProvider(url, metadata, Storage(), browser.open, browser.answer)
    async with httpx2.AsyncClient(auth=oauth, timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=era) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            result = await client.call_tool("whoami", {})
            print(json.dumps({"tools": tools, "whoami": result.structured_content}))
            return 1 if result.is_error else 0


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("url")
    arguments.add_argument("--account")
    arguments.add_argument("--era", default="auto")
    sys.exit(asyncio.run(main(**vars(arguments.parse_args()))))
