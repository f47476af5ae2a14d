// Code for a browser.  The tests compile it, but do not run it.

import createClient from "openapi-fetch";

import type { components, paths } from "./api.js";
import { createCookieFetch } from "./cookies.js";
import { createSession } from "./renewal.js";

const baseUrl = "https://example.com";

export const session = createSession(baseUrl, {
  store: {
    get: () => JSON.parse(localStorage.getItem("tokens") ?? "null"),
    set: (tokens) => localStorage.setItem("tokens", JSON.stringify(tokens)),
  },
  alone: async (work) => navigator.locks.request("tokens", work),
  onEnd: (code) => location.assign(`/login?because=${code}`),
});
export const api = createClient<paths>({ baseUrl, fetch: session.fetch });

export async function logInByCookies(credentials: components["schemas"]["Credentials"]) {
  const api = createClient<paths>({ baseUrl, fetch: createCookieFetch(baseUrl).fetch });
  return api.POST("/api/v1/auth/login", { params: { query: { use_cookies: true } }, body: credentials });
}
