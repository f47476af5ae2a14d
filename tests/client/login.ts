// A login with the generated client, and what to tell the user when it fails.

import { randomUUID } from "node:crypto";

import createClient from "openapi-fetch";

import type { paths } from "./api.js";
import { createSession } from "./renewal.js";

export const baseUrl = process.argv[2] ?? "http://127.0.0.1:8000";
export const run = Date.now();
export const credentials = { username: `tour-${run}`, password: randomUUID() };

const session = createSession(baseUrl);
const api = createClient<paths>({ baseUrl, fetch: session.fetch });

/** Log in, and return a message for the user. */
export async function logIn(password: string): Promise<string> {
  const { data, error } = await api.POST("/api/v1/auth/login", { body: { ...credentials, password } });
  if (data) {
    session.keep(data);
    return `Hello, ${data.user.username}.`;
  }
  switch (error.error) {
    case "invalid_credentials":
      return "The name or the password is wrong.";
    case "validation_failed":
      return Object.values(error.errors["json"] ?? {}).flat().join(" ");
    case "too_many_attempts":
    case "overloaded":
      return "Try again later.";
    default:
      return error.message;
  }
}

export { api, session };
