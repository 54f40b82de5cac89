// The official MCP TypeScript SDK, through OAuth, against a broker:
//
//     node client-ts.mjs http://127.0.0.1:PORT/mcp [--account bob] [--era legacy|auto] [--dpop]
//
// Everything between the first 401 and the token is the SDK's own doing: protected resource metadata, authorization
// server metadata, dynamic registration, authorization code with PKCE. Only the browser is ours: a fetch that follows
// redirects and keeps cookies until it is sent to the loopback redirect URI. Then it lists the tools, calls `whoami`,
// and prints {"tools": [names], "whoami": structuredContent}.

import * as crypto from 'node:crypto';
import { parseArgs } from 'node:util';
import { Client, DpopSession, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';

const { values: options, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: { account: { type: 'string' }, era: { type: 'string', default: 'auto' }, dpop: { type: 'boolean' } },
});
const redirectUrl = 'http://127.0.0.1:33418/callback'; // nothing listens there: the browser stops before it

/** Follows the pages from `next` to the redirect URI, and answers what that was given. */
async function browse(next) {
  const cookies = new Map();
  for (let page = 0; page < 20; page += 1) {
    const cookie = [...cookies].map((pair) => pair.join('=')).join('; ');
    const response = await fetch(next, { redirect: 'manual', headers: { cookie } });
    for (const line of response.headers.getSetCookie()) cookies.set(...line.split(';', 1)[0].split(/=(.*)/, 2));
    const onward = response.headers.get('location');
    if (!onward) throw new Error(`the login ended at ${next} with ${response.status}: ${await response.text()}`);
    next = new URL(onward, next);
    if (next.href.startsWith(redirectUrl)) return next.searchParams;
  }
  throw new Error('the login goes round in circles');
}

/** What the SDK asks its host to keep, and the one thing it asks it to do. */
class Host {
  redirectUrl = redirectUrl;
  clientMetadata = {
    client_name: 'client-ts', redirect_uris: [redirectUrl], token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
  };
  #kept = {};
  #state = crypto.randomUUID();
  #dpop = options.dpop ? DpopSession.create() : undefined;

  dpop() { return this.#dpop; }
  state() { return this.#state; }
  clientInformation() { return this.#kept.client; }
  saveClientInformation(client) { this.#kept.client = client; }
  tokens() { return this.#kept.tokens; }
  saveTokens(tokens) { this.#kept.tokens = tokens; }
  codeVerifier() { return this.#kept.verifier; }
  saveCodeVerifier(verifier) { this.#kept.verifier = verifier; }
  discoveryState() { return this.#kept.discovery; }
  saveDiscoveryState(discovery) { this.#kept.discovery = discovery; }

  async redirectToAuthorization(page) {
    if (options.account) page.searchParams.set('login_hint', options.account);
    this.callback = await browse(page);
    if (this.callback.get('state') !== this.#state) throw new Error('the state that came back is not ours');
  }
}

const host = new Host();
const connect = async () => {
  const client = new Client({ name: 'client-ts', version: '1.0.0' }, { versionNegotiation: { mode: options.era } });
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: host });
  try {
    await client.connect(transport);
    return client;
  } catch (error) {
    if (!(error instanceof UnauthorizedError) || !host.callback) throw error;
    await transport.finishAuth(host.callback); // `code`, and `iss` which the SDK checks
    host.callback = undefined;
    return connect();
  }
};

const client = await connect();
const { tools } = await client.listTools();
const { structuredContent: whoami, isError } = await client.callTool({ name: 'whoami', arguments: {} });
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), whoami }));
await client.close();
process.exit(isError ? 1 : 0);
