// The identity provider of the tests: what a company's Keycloak, Okta or Entra ID is to the broker, on loopback.
//
//     node provider.mjs '<json>'     prints {"issuer": "http://127.0.0.1:PORT"}, then serves until killed or until stdin closes
//
// Nothing here is a mock. The provider is npm `oidc-provider`, certified by the OpenID Foundation: its endpoints,
// its checks, its tokens. Only the pages a human would click through are driven: whoever `login_hint` names is
// logged in (else the first account) and consents; a name that is no account is answered `access_denied`.
// Two things are added to it, because it has neither: token exchange (RFC 8693), and `/test/`, by which a test
// rotates the keys, takes the provider down, ends sessions, and has tokens signed that no provider would sign.
//
// The configuration, each member optional:
//     port       0, any free one
//     alg        "RS256", or PS256, ES256, ES384, EdDSA; or a list, of which all have a published key and the first signs
//     resources  {"<url>": {"scope": "mcp:read …", "ttl": 300, "format": "jwt" | "opaque"}}; "*" stands for all others
//     clients    OpenID client metadata; clients may register themselves too
//     accounts   {"alice": {"name": "Alice", "groups": ["support"], …}}: claims of the human's tokens, except `acrs`,
//                {"<acr>": ["<amr>", …]}: the strengths at which this human can log in. `acr_values` picks one, else it is the first.

import * as crypto from 'node:crypto';
import http from 'node:http';
import { promisify } from 'node:util';
import * as jose from 'jose';
import { Provider, errors, interactionPolicy } from 'oidc-provider';
import { createMemoryAdapter } from 'oidc-provider/lib/adapters/memory_adapter.js';
import { buildTokenResponse, checkDpopReplay, resolveRequestedResources, validateDpop } from 'oidc-provider/lib/helpers/grants.js';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const SCOPES = 'mcp:read mcp:write mcp:admin';
const STRENGTHS = { 1: ['pwd'], 2: ['pwd', 'otp'] };

const config = {
  port: 0,
  alg: 'RS256',
  resources: { '*': {} },
  accounts: { alice: { name: 'Alice', groups: ['support'] }, bob: { name: 'Bob', groups: ['sre', 'approvers'] } },
  clients: [
    {
      client_id: 'cli', application_type: 'native', token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/callback'], grant_types: ['authorization_code', 'refresh_token', DEVICE],
    },
    { client_id: 'agent', client_secret: 'agent-secret', redirect_uris: [], response_types: [], grant_types: ['client_credentials', EXCHANGE] },
  ],
  ...JSON.parse(process.argv[2] ?? '{}'),
};
const algs = [config.alg].flat();
const accountNames = Object.keys(config.accounts);
console.info = () => {}; // the provider's notices about settings left at their defaults; its warnings stay on stderr

// Keys. An algorithm is two things here: how a key for it is made, and how node:crypto signs with it.

const rsa = ['rsa', { modulusLength: 2048 }];
const ALGORITHMS = {
  RS256: { make: rsa, hash: 'sha256' },
  PS256: { make: rsa, hash: 'sha256', options: { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } },
  ES256: { make: ['ec', { namedCurve: 'P-256' }], hash: 'sha256', options: { dsaEncoding: 'ieee-p1363' } },
  ES384: { make: ['ec', { namedCurve: 'P-384' }], hash: 'sha384', options: { dsaEncoding: 'ieee-p1363' } },
  EdDSA: { make: ['ed25519', {}], hash: null },
};

async function makeKey(alg) {
  const pair = await promisify(crypto.generateKeyPair)(...ALGORITHMS[alg].make);
  const named = { kid: crypto.randomUUID(), alg, use: 'sig' };
  const jwk = (key) => ({ ...key.export({ format: 'jwk' }), ...named });
  return { ...pair, ...named, private: jwk(pair.privateKey), public: jwk(pair.publicKey) };
}

/** Signs what it is told to. HS256 is keyed with the public key's PEM, as the well-known attack on RS256 has it. */
function signature(alg, key, input) {
  if (alg === 'none') return '';
  if (alg.startsWith('HS')) {
    const pem = key.publicKey.export({ type: 'spki', format: 'pem' });
    return crypto.createHmac(`sha${alg.slice(2)}`, pem).update(input).digest('base64url');
  }
  const { hash, options } = ALGORITHMS[alg];
  return crypto.sign(hash, Buffer.from(input), { key: key.privateKey, ...options }).toString('base64url');
}

// The provider. Rotation replaces it by one with other keys over the same store; `provider` is always the serving one.

const store = createMemoryAdapter(15);
const cookieKeys = [crypto.randomBytes(32).toString('base64url')];
const sessions = new Map(); // session uid -> account
const grants = new Map(); // grant id -> account
let keys = await Promise.all(algs.map(makeKey));
let issuer;
let provider;

const without = (members, unwanted) => Object.fromEntries(Object.entries(members).filter(([name, value]) => !unwanted(name, value)));
const isAccount = (name) => Object.hasOwn(config.accounts, name);
const strengths = (name) => config.accounts[name].acrs ?? STRENGTHS;
const claimsOf = (name) => without(config.accounts[name], (claim) => claim === 'acrs');

function resourceInfo(_ctx, url) {
  const resource = config.resources[url] ?? config.resources['*'];
  if (!resource) throw new errors.InvalidTarget('unknown resource');
  return {
    audience: url,
    scope: resource.scope ?? SCOPES,
    accessTokenTTL: resource.ttl ?? 300,
    accessTokenFormat: resource.format ?? 'jwt',
    jwt: { sign: { alg: algs[0] } },
  };
}

/** What an access token says of its human beside `sub`: the account's claims, and how and when the human logged in. */
function extraTokenClaims(ctx, token) {
  if (token.extra || !token.accountId) return token.extra;
  const { AuthorizationCode, DeviceCode, RefreshToken } = ctx.oidc.entities;
  const { acr, amr, authTime } = AuthorizationCode ?? DeviceCode ?? RefreshToken;
  return { ...claimsOf(token.accountId), acr, amr, auth_time: authTime };
}

/** When to ask, by the provider's own rules and one more: log in again if `acr_values` asks for what the session has not. */
function policy() {
  const prompts = interactionPolicy.base();
  const tooWeak = ({ oidc: { params, result, acr } }) => !result?.login && !(params.acr_values?.split(' ').includes(acr) ?? true);
  prompts.get('login').checks.add(new interactionPolicy.Check('acr_values', 'another login is required', tooWeak));
  return prompts;
}

function serve() {
  provider = new Provider(issuer, {
    adapter: store,
    jwks: { keys: keys.map((key) => key.private) },
    clients: config.clients,
    clientDefaults: { id_token_signed_response_alg: algs[0] },
    enabledJWA: { idTokenSigningAlgValues: Object.keys(ALGORITHMS) },
    cookies: { keys: cookieKeys },
    scopes: ['openid', 'offline_access', ...Object.values(config.resources).flatMap((resource) => (resource.scope ?? SCOPES).split(' '))],
    acrValues: accountNames.flatMap((name) => Object.keys(strengths(name))),
    claims: { openid: ['sub', 'acr', 'amr', 'auth_time', ...accountNames.flatMap((name) => Object.keys(claimsOf(name)))] },
    conformIdTokenClaims: false, // the account's claims are in the ID token too, as most companies' providers have it
    findAccount: (_ctx, sub) => (isAccount(sub) ? { accountId: sub, claims: () => ({ sub, ...claimsOf(sub) }) } : undefined),
    extraTokenClaims,
    interactions: { policy: policy() },
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    renderError: (ctx, out) => { ctx.body = out; },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: (ctx, form, _out, error) => { ctx.body = error ? error.message : form; },
        successSource: (ctx) => { ctx.body = 'approved'; },
      },
      devInteractions: { enabled: false },
      dPoP: { enabled: true },
      introspection: { enabled: true },
      registration: { enabled: true },
      resourceIndicators: { enabled: true, useGrantedResource: () => true, getResourceServerInfo: resourceInfo },
      revocation: { enabled: true },
    },
  });
  provider.registerGrantType(EXCHANGE, exchange, ['subject_token', 'actor_token', 'audience', 'resource', 'scope']);
  provider.on('session.saved', (session) => sessions.set(session.uid, session.accountId));
  provider.on('grant.saved', (grant) => grants.set(grant.jti, grant.accountId));
  provider.on('server_error', (_ctx, error) => console.error(error));
}

// Token exchange: the subject's human, the actor (else the client) in front of whoever acted before.

async function claimsOfToken(token, name) {
  const opaque = await provider.AccessToken.find(token);
  if (opaque) return { ...opaque.extra, sub: opaque.accountId, scope: opaque.scope, aud: opaque.aud, exp: opaque.exp };
  try {
    const published = jose.createLocalJWKSet({ keys: keys.map((key) => key.public) });
    return (await jose.jwtVerify(token, published, { issuer })).payload;
  } catch (cause) {
    throw new errors.InvalidRequest(`${name} is not valid: ${cause.message}`);
  }
}

/** Claims that belong to the subject's token, not to the subject. */
const OF_THE_TOKEN = ['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'scope', 'client_id', 'cnf', 'sid', 'nonce', 'at_hash'];

async function exchange(ctx) {
  const { client, params } = ctx.oidc;
  if (!params.subject_token) throw new errors.InvalidRequest('subject_token is missing');
  const dPoP = await validateDpop(provider, ctx);
  const subject = await claimsOfToken(params.subject_token, 'subject_token');
  const actor = params.actor_token ? (await claimsOfToken(params.actor_token, 'actor_token')).sub : client.clientId;
  if (subject.may_act && subject.may_act.sub !== actor) throw new errors.InvalidRequest(`${actor} may not act for the subject`);

  params.resource ??= params.audience ?? subject.aud;
  const [resource] = await resolveRequestedResources(provider, ctx);
  const granted = subject.scope?.split(' ') ?? [...resource.scopes];
  const wanted = params.scope?.split(' ') ?? granted;
  if (wanted.some((scope) => !granted.includes(scope))) throw new errors.InvalidScope('wider than the subject token', params.scope);

  const token = new provider.AccessToken({
    client,
    accountId: subject.sub,
    resourceServer: resource,
    scope: wanted.filter((scope) => resource.scopes.has(scope)).join(' '),
    expiresIn: Math.max(1, Math.min(resource.accessTokenTTL, subject.exp - Math.floor(Date.now() / 1000))),
  });
  const act = { sub: actor, ...(subject.act && { act: subject.act }) };
  token.extra = { ...without(subject, (claim) => OF_THE_TOKEN.includes(claim)), act };
  if (dPoP) {
    await checkDpopReplay(provider, ctx, dPoP, client.clientId);
    token.setThumbprint('jkt', dPoP.thumbprint);
  }
  ctx.body = buildTokenResponse(provider, {
    accessToken: await token.save(),
    expiresIn: token.expiration,
    issuedTokenType: 'urn:ietf:params:oauth:token-type:access_token',
    scope: token.scope,
    tokenType: token.tokenType,
  });
}

// The human. A test may name one on the request itself, which counts before `login_hint`.

const HUMAN = 'x-test-account';

async function interact(request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    const accountId = request.headers[HUMAN] ?? params.login_hint ?? accountNames[0];
    if (!isAccount(accountId)) {
      return provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'the human refused' });
    }
    const known = strengths(accountId);
    const acr = params.acr_values?.split(' ').find((wanted) => Object.hasOwn(known, wanted)) ?? Object.keys(known)[0];
    return provider.interactionFinished(request, response, { login: { accountId, acr, amr: known[acr] } });
  }
  const { missingOIDCScope = [], missingOIDCClaims = [], missingResourceScopes = {} } = prompt.details;
  const grant = (grantId && await provider.Grant.find(grantId))
    || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(missingOIDCScope);
  grant.addOIDCClaims(missingOIDCClaims);
  for (const [resource, scopes] of Object.entries(missingResourceScopes)) grant.addResourceScope(resource, scopes);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

/** Goes through the device pages as a browser does: the form, its xsrf token, the cookies, the redirects. */
async function approveDevice({ user_code, account = accountNames[0], deny = false }) {
  const cookies = new Map();
  const visit = async (url, form) => {
    const headers = { [HUMAN]: account, cookie: [...cookies].map((pair) => pair.join('=')).join('; ') };
    const post = form && { method: 'POST', body: new URLSearchParams(form) };
    const response = await fetch(new URL(url, issuer), { redirect: 'manual', headers, ...post });
    for (const line of response.headers.getSetCookie()) cookies.set(...line.split(';', 1)[0].split(/=(.*)/, 2));
    const onward = response.headers.get('location');
    return onward ? visit(onward) : response.text();
  };
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(await visit('/device'))?.[1];
  const page = await visit('/device', { xsrf, user_code, [deny ? 'abort' : 'confirm']: 'yes' });
  return page === 'approved' ? { approved: true } : { approved: false, page };
}

// What only a test may ask for.

const log = [];
let down = false;

const tests = {
  /** Every request so far, but these and what `approve-device` made. */
  'GET log': () => log,

  /** An outage: everything but these answers 503. */
  'POST down': ({ on = true }) => { down = on; return { down }; },

  /** The human at the device page: {"user_code", "account", "deny"}. */
  'POST approve-device': approveDevice,

  /** New keys, of which tokens are signed with at once; the old ones stay published or not. */
  async 'POST rotate'({ keep = true }) {
    keys = [...await Promise.all(algs.map(makeKey)), ...(keep ? keys : [])];
    serve();
    return { kids: keys.map((key) => key.kid) };
  },

  /** Any claims and header members over the standard ones, null for none; `payload` is a text in place of all claims.
   *  An algorithm without a published key is signed with a key that nobody knows. */
  async 'POST token'({ claims = {}, header = {}, alg = algs[0], payload }) {
    const key = keys.find((known) => known.alg === alg) ?? (ALGORITHMS[alg] ? await makeKey(alg) : keys[0]);
    const [resource = 'https://resource.example/mcp'] = Object.keys(config.resources).filter((url) => url !== '*');
    const now = Math.floor(Date.now() / 1000);
    const sub = accountNames.includes(claims.sub) ? claims.sub : accountNames[0];
    const standard = {
      ...claimsOf(sub), iss: issuer, sub, aud: resource, client_id: 'test', iat: now, exp: now + 300,
      jti: crypto.randomUUID(), scope: resourceInfo(null, resource).scope,
    };
    const text = (members) => JSON.stringify(without(members, (_name, value) => value === null));
    const parts = [text({ alg, typ: 'at+jwt', kid: key.kid, ...header }), payload ?? text({ ...standard, ...claims })];
    const input = parts.map((part) => Buffer.from(part).toString('base64url')).join('.');
    return { token: `${input}.${signature(alg, key, input)}` };
  },

  /** Ends what an account, or everybody, has: sessions, grants, and with them codes, refresh tokens, opaque tokens. */
  async 'POST revoke-sessions'({ account }) {
    const theirs = (map) => [...map].filter(([, name]) => account === undefined || name === account).map(([id]) => id);
    const ended = { sessions: theirs(sessions), grants: theirs(grants) };
    for (const uid of ended.sessions) {
      await (await provider.Session.findByUid(uid))?.destroy();
      sessions.delete(uid);
    }
    for (const id of ended.grants) {
      await provider.AccessToken.revokeByGrantId(id); // of every kind, not of access tokens alone
      await provider.Grant.adapter.destroy(id);
      grants.delete(id);
    }
    return ended;
  },
};

const answer = (response, status, body) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

async function handle(request, response) {
  const { pathname } = new URL(request.url, issuer);
  if (pathname.startsWith('/test/')) {
    const test = tests[`${request.method} ${pathname.slice('/test/'.length)}`];
    if (!test) return answer(response, 404, { error: 'no such test endpoint' });
    const chunks = await request.toArray();
    return answer(response, 200, await test(JSON.parse(Buffer.concat(chunks).toString() || '{}')));
  }
  if (!(HUMAN in request.headers)) log.push({ method: request.method, path: pathname });
  if (down) return answer(response, 503, { error: 'temporarily_unavailable' });
  if (pathname.startsWith('/interaction/')) return interact(request, response);
  return provider.callback()(request, response);
}

const server = http.createServer((request, response) => {
  handle(request, response).catch((error) => answer(response, 500, { error: String(error) }));
});
// A slow test must not find its connection closed between two requests.
server.keepAliveTimeout = 60_000;
server.listen(config.port, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  serve();
  console.log(JSON.stringify({ issuer }));
});
process.stdin.resume().on('close', () => process.exit(0));
