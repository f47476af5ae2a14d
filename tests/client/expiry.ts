// Access tokens that expire while they are used: node build/expiry.js URL, of a server whose access tokens live for
// seconds, and whose refresh tokens have no grace.

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

// What a browser does besides, and what these programs want to know.
const nodeFetch = globalThis.fetch;
let refreshes = 0;
let trouble = false; // the server is
let meanwhile = () => {}; // while a refresh is under way
let jar = new Jar();

globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  if (new URL(request.url).pathname === REFRESH) {
    refreshes += 1;
    if (trouble) return new Response("{}", { status: 503 });
  }
  if (request.credentials === "include") request.headers.set("Cookie", jar.sentTo(request.url));
  const answer = await nodeFetch(request);
  if (new URL(request.url).pathname === REFRESH) meanwhile();
  if (request.credentials === "include") jar.keep(answer);
  return answer;
};

async function refreshesOf(work: () => Promise<void>): Promise<number> {
  refreshes = 0;
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

/** A store that tabs share, and a lock, as `navigator.locks` is one. */
function sharedByTabs() {
  let kept: Tokens | null = null;
  let last: Promise<unknown> = Promise.resolve();
  const store = { get: () => kept, set: (tokens: Tokens | null) => void (kept = tokens) };
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

  // Many requests, one refresh; a body is sent again, too.
  const once = await refreshesOf(async () => {
    const reads = Array.from({ length: 8 }, () => many.api.GET("/api/v1/users/me"));
    const write = many.api.PATCH("/api/v1/users/me", { body: { username: "many.more" } });
    for (const read of await Promise.all(reads)) ok(read);
    assert.equal(ok(await write).username, "many.more");
  });
  assert.equal(once, 1);

  // Two tabs, one refresh.
  const onceForBoth = await refreshesOf(async () => {
    const reads = [firstTab.api, secondTab].map((api) => api.GET("/api/v1/users/me"));
    for (const read of await Promise.all(reads)) ok(read);
  });
  assert.equal(onceForBoth, 1);

  // A server in trouble logs nobody out.
  trouble = true;
  assert.equal((await patient.api.GET("/api/v1/users/me")).response.status, 503);
  trouble = false;
  ok(await patient.api.GET("/api/v1/users/me"));

  // A fresh login while a refresh is under way: neither takes the other's token away.
  const fresh = ok(await patient.api.POST("/api/v1/auth/fresh-login", { body: { username: "patient", password } }));
  meanwhile = () => patient.session.keep(fresh);
  assert.equal(await patient.session.renew(), null);
  meanwhile = () => {};
  const wrong = { current_password: "not the password", new_password: password };
  refused(await patient.api.PUT("/api/v1/auth/password", { body: wrong }), "invalid_credentials"); // and not for its freshness
  assert.equal(await patient.session.renew(), null);

  // A refresh token in two hands ends the session, and the user is told.
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

  // Many requests, one refresh; nobody is taken for a stranger, and what changes something has the new CSRF value.
  const once = await refreshesOf(async () => {
    const reads = Array.from({ length: 8 }, () => api.GET("/api/v1/users/me"));
    const write = api.PATCH("/api/v1/users/me", { body: { username: "cookies" } });
    for (const read of await Promise.all(reads)) ok(read);
    ok(await write);
  });
  assert.equal(once, 1);

  // Log out everywhere, from elsewhere: one refresh finds out.
  const here = jar;
  jar = new Jar();
  ok(await api.POST("/api/v1/auth/login", { params, body: { username: "cookies", password } }));
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
