// Access tokens that expire during use.  Run: node build/expiry.js URL.  The server needs access tokens that live for
// seconds, and refresh tokens without a grace.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import createClient from "openapi-fetch";

import { ok, refused } from "./answers.js";
import type { paths } from "./api.js";
import { createCookieFetch } from "./cookies.js";
import { Jar } from "./jar.js";
import { createSession, type Options, type Tokens } from "./renewal.js";

const baseUrl = process.argv[2] ?? "http://127.0.0.1:8000";
const password = "correct horse battery";
const REFRESH = "/api/v1/auth/refresh";

// A `fetch` that sends cookies as a browser does, counts refreshes, and notes the bodies of changes.
const nodeFetch = globalThis.fetch;
let refreshes = 0;
let changes: string[] = [];
let unavailable = false; // whether a refresh gets 503
let meanwhile = () => {}; // runs during each refresh
let jar = new Jar();

globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  if (new URL(request.url).pathname === REFRESH) {
    refreshes += 1;
    if (unavailable) return new Response("{}", { status: 503 });
  }
  if (request.method === "PATCH") changes.push(await request.clone().text());
  if (request.credentials === "include") request.headers.set("Cookie", jar.sentTo(request.url));
  const answer = await nodeFetch(request);
  if (new URL(request.url).pathname === REFRESH) meanwhile();
  if (request.credentials === "include") jar.keep(answer);
  return answer;
};

async function refreshesOf(work: () => Promise<void>): Promise<number> {
  refreshes = 0;
  changes = [];
  await work();
  return refreshes;
}

const expiry = () => sleep(4200);

async function register(username: string, options: Options = {}) {
  const session = createSession(baseUrl, options);
  const api = createClient<paths>({ baseUrl, fetch: session.fetch });
  session.keep(ok(await api.POST("/api/v1/auth/register", { body: { username, password } })));
  return { session, api };
}

/** A store that tabs share, and a lock like `navigator.locks`. */
function sharedByTabs() {
  let stored: Tokens | null = null;
  let last: Promise<unknown> = Promise.resolve();
  const store = { get: () => stored, set: (tokens: Tokens | null) => void (stored = tokens) };
  const alone = (work: () => Promise<Response | null>) => {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return turn;
  };
  return { store, alone };
}

async function byHeader(): Promise<void> {
  const many = await register("many");
  const shared = sharedByTabs();
  const firstTab = await register("tabs", shared);
  const secondTab = createClient<paths>({ baseUrl, fetch: createSession(baseUrl, shared).fetch });
  const patient = await register("patient");
  const ended: string[] = [];
  const robbed = sharedByTabs();
  const victim = await register("victim", { ...robbed, onEnd: (code) => ended.push(code) });
  const { store } = sharedByTabs();
  store.set(robbed.store.get());
  const thief = createSession(baseUrl, { store });
  await expiry();

  // Parallel requests share one refresh, and a body is sent again.  A new name needs a fresh token, which no refresh gives.
  const once = await refreshesOf(async () => {
    const reads = Array.from({ length: 8 }, () => many.api.GET("/api/v1/users/me"));
    const write = many.api.PATCH("/api/v1/users/me", { body: { username: "many.more" } });
    for (const read of await Promise.all(reads)) ok(read);
    refused(await write, "fresh_token_required");
  });
  assert.equal(once, 1);
  assert.deepEqual(changes, [`{"username":"many.more"}`, `{"username":"many.more"}`]);

  // Two tabs share one refresh.
  const onceForBoth = await refreshesOf(async () => {
    const reads = [firstTab.api, secondTab].map((api) => api.GET("/api/v1/users/me"));
    for (const read of await Promise.all(reads)) ok(read);
  });
  assert.equal(onceForBoth, 1);

  // A 503 does not end the session.
  unavailable = true;
  assert.equal((await patient.api.GET("/api/v1/users/me")).response.status, 503);
  unavailable = false;
  ok(await patient.api.GET("/api/v1/users/me"));

  // A fresh login during a refresh: the session keeps the fresh access token and the new refresh token.
  const fresh = ok(await patient.api.POST("/api/v1/auth/fresh-login", { body: { username: "patient", password } }));
  meanwhile = () => patient.session.keep(fresh);
  assert.equal(await patient.session.renew(), null);
  meanwhile = () => {};
  const wrong = { current_password: "not the password", new_password: password };
  refused(await patient.api.PUT("/api/v1/auth/password", { body: wrong }), "invalid_credentials"); // the token is fresh
  assert.equal(await patient.session.renew(), null);

  // A refresh token that two clients use ends the session, and `onEnd` is called.
  assert.equal(await thief.renew(), null);
  refused(await victim.api.GET("/api/v1/users/me"), "token_expired");
  assert.deepEqual(ended, ["token_reused"]);
  refused(await victim.api.GET("/api/v1/users/me"), "authorization_required");
}

async function byCookies(): Promise<void> {
  const { fetch } = createCookieFetch(baseUrl, () => jar.readable());
  const api = createClient<paths>({ baseUrl, fetch });
  const params = { query: { use_cookies: true } };
  const account = ok(await api.POST("/api/v1/auth/register", { params, body: { username: "cookies", password } }));
  assert.equal(account.access_token, undefined);
  ok(await api.PATCH("/api/v1/users/me", { body: { username: "biscuits" } }));
  await expiry();

  // Parallel requests share one refresh, and the PATCH sends the new CSRF value.
  const once = await refreshesOf(async () => {
    const reads = Array.from({ length: 8 }, () => api.GET("/api/v1/users/me"));
    const write = api.PATCH("/api/v1/users/me", { body: { username: "cookies" } });
    for (const read of await Promise.all(reads)) ok(read);
    refused(await write, "fresh_token_required"); // so the CSRF value was right
  });
  assert.equal(once, 1);

  // After a logout by another client, the first request tries one refresh, and the next one none.
  const here = jar;
  jar = new Jar();
  ok(await api.POST("/api/v1/auth/login", { params, body: { username: "biscuits", password } }));
  ok(await api.DELETE("/api/v1/auth/sessions"));
  jar = here;
  refused(await api.GET("/api/v1/users/me"), "token_revoked");
  await expiry();
  const onceMore = await refreshesOf(async () => {
    refused(await api.GET("/api/v1/users/me"), "authorization_required");
    refused(await api.GET("/api/v1/users/me"), "authorization_required");
  });
  assert.equal(onceMore, 1);
}

await byHeader();
await byCookies();
console.log("No surprise.");
