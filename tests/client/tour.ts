// The steps of docs/tour.sh with the generated client.  Run: node build/tour.js http://127.0.0.1:8000

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import createClient from "openapi-fetch";

import { ok, refused } from "./answers.js";
import type { components, paths } from "./api.js";
import { api, baseUrl, credentials, logIn, run, session } from "./login.js";

type Item = components["schemas"]["Item"];

const stranger = createClient<paths>({ baseUrl });

async function signUpAndLogIn(): Promise<void> {
  const account = ok(await api.POST("/api/v1/auth/register", { body: credentials }));
  assert.equal(account.expires_in, 900);
  session.keep(account);
  refused(await api.POST("/api/v1/auth/register", { body: credentials }), "username_taken");
  assert.equal(await logIn("wrong wrong"), "The name or the password is wrong.");
  assert.match(await logIn(""), /Shorter than minimum length/);
  assert.equal(await logIn(credentials.password), `Hello, ${credentials.username}.`);

  assert.deepEqual(ok(await api.GET("/api/v1/users/me")), account.user);
  refused(await stranger.GET("/api/v1/users/me"), "authorization_required");
}

async function makeItems(): Promise<void> {
  for (const [number, price] of ["19.9", "24.5", "3", "80", "0.01"].entries()) {
    const item = ok(await api.POST("/api/v1/items", { body: { name: `Tour ${run} lamp ${number}`, price } }));
    assert.match(item.price, /^\d+\.\d\d$/);
    assert.equal(item.description, null);
  }
  const again = { name: `Tour ${run} lamp 0`, price: "1", description: "Another one." };
  refused(await api.POST("/api/v1/items", { body: again }), "item_exists");

  const badly = await api.POST("/api/v1/items", { body: { name: "", price: "a lot" } });
  const { errors } = refused(badly, "validation_failed");
  assert.deepEqual(Object.keys(errors["json"] ?? {}).sort(), ["name", "price"]);
}

async function* allItems(query: paths["/api/v1/items"]["get"]["parameters"]["query"]): AsyncGenerator<Item> {
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const page = ok(await api.GET("/api/v1/items", { params: { query: { ...query, ...(cursor && { cursor }) } } }));
    if ("message" in page) throw new Error(page.message); // without a token, the page has only names
    yield* page.items;
    cursor = page.next_cursor;
  }
}

async function listItems(): Promise<void> {
  const prices: string[] = [];
  const query = { q: `tour ${run} LAMP`, owner: "me", min_price: "0.02", sort: "-price", limit: 2 } as const;
  for await (const item of allItems(query)) prices.push(item.price);
  assert.deepEqual(prices, ["80.00", "24.50", "19.90", "3.00"]);

  const names = ok(await stranger.GET("/api/v1/items"));
  assert.ok("message" in names);
  assert.deepEqual(Object.keys(names.items[0] ?? {}), ["name"]);
  const byPrice = { params: { query: { sort: "price" } } } as const;
  refused(await stranger.GET("/api/v1/items", byPrice), "authorization_required");
}

async function changeItem(): Promise<void> {
  for await (const { id } of allItems({ q: `tour ${run}`, limit: 1 })) {
    const path = { item_id: id };
    const read = await api.GET("/api/v1/items/{item_id}", { params: { path } });
    const etag = read.response.headers.get("ETag") ?? "";
    assert.equal(ok(read).id, id);
    const unchanged = await api.GET("/api/v1/items/{item_id}", { params: { path, header: { "If-None-Match": etag } } });
    assert.equal(unchanged.response.status, 304);

    const ifUnchanged = { path, header: { "If-Match": etag } };
    const first = await api.PATCH("/api/v1/items/{item_id}", { params: ifUnchanged, body: { price: "25" } });
    assert.equal(ok(first).price, "25.00");
    const second = await api.PATCH("/api/v1/items/{item_id}", { params: ifUnchanged, body: { price: "26" } });
    refused(second, "precondition_failed");
    refused(await api.DELETE("/api/v1/items/{item_id}", { params: { path } }), "admin_required");
    return;
  }
  assert.fail("the listing is empty");
}

async function sendTwice(): Promise<void> {
  const params = { header: { "Idempotency-Key": randomUUID() } };
  const body = { name: `Tour ${run} key`, price: "3" };
  const first = await api.POST("/api/v1/items", { params, body });
  const second = await api.POST("/api/v1/items", { params, body });
  assert.equal(ok(second).id, ok(first).id);
  assert.equal(first.response.headers.get("Idempotency-Replayed"), null);
  assert.equal(second.response.headers.get("Idempotency-Replayed"), "true");
  const another = await api.POST("/api/v1/items", { params, body: { ...body, price: "4" } });
  refused(another, "idempotency_key_reused");
}

async function refresh(): Promise<void> {
  assert.equal(await session.renew(), null);
  const body = { name: `Tour ${run} chair`, price: "80" };
  refused(await api.POST("/api/v1/items", { body }), "fresh_token_required");
  session.keep(ok(await api.POST("/api/v1/auth/fresh-login", { body: credentials })));
  ok(await api.POST("/api/v1/items", { body }));
}

async function logOut(): Promise<void> {
  ok(await stranger.POST("/api/v1/auth/login", { body: credentials })); // another device
  const state = ok(await api.GET("/api/v1/auth/session"));
  assert.equal(state.user.username, credentials.username);
  assert.ok(state.is_fresh && state.session_expires_in > 2_591_000);
  const { sessions } = ok(await api.GET("/api/v1/auth/sessions"));
  assert.deepEqual(sessions.map((one) => one.current).sort(), [false, true]);
  const mine = sessions.find((one) => one.current)?.id ?? "";
  assert.equal(mine, state.session.id);
  ok(await api.POST("/api/v1/auth/logout"));
  refused(await api.GET("/api/v1/users/me"), "token_revoked");
  refused(await api.DELETE("/api/v1/auth/sessions/{session_id}", { params: { path: { session_id: mine } } }), "token_revoked");
  assert.equal((await session.renew())?.status, 401);
  refused(await api.GET("/api/v1/users/me"), "authorization_required"); // the session has deleted its tokens
}

async function leave(): Promise<void> {
  await logIn(credentials.password);
  const { message } = ok(await api.DELETE("/api/v1/users/me"));
  assert.match(message, /deleted/);
  refused(await api.GET("/api/v1/users/me"), "token_revoked");
}

await signUpAndLogIn();
await makeItems();
await listItems();
await changeItem();
await sendTwice();
await refresh();
await logOut();
await leave();
console.log("No surprise.");
