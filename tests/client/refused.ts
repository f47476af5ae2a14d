// Wrong calls that do not compile.  Each `@ts-expect-error` names the error of the compiler.
// The tests compile this file, but do not run it.

import createClient from "openapi-fetch";

import { refused } from "./answers.js";
import type { components, paths } from "./api.js";

type Credentials = components["schemas"]["Credentials"];

const api = createClient<paths>();
const body = { username: "grace", password: "correct horse battery" };
const path = { user_id: 7 };

export async function wrong(): Promise<void> {
  // @ts-expect-error TS2554 there is no such path
  await api.GET("/api/v1/user");

  // @ts-expect-error TS2345 the path does not have this method
  await api.PUT("/api/v1/users", { body });

  // @ts-expect-error TS2554 a body is missing
  await api.POST("/api/v1/auth/login");

  // @ts-expect-error TS2322 a field of the body is missing
  await api.POST("/api/v1/auth/login", { body: { username: "grace" } });

  // @ts-expect-error TS2353 there is no such field
  await api.POST("/api/v1/auth/login", { body: { ...body, colour: "red" } satisfies Credentials });

  // @ts-expect-error TS2322 a name is text
  await api.POST("/api/v1/auth/login", { body: { ...body, username: 7 } });

  // @ts-expect-error TS2322 a flag cannot be null
  await api.PATCH("/api/v1/users/{user_id}", { params: { path }, body: { is_admin: null } });

  // @ts-expect-error TS2345 the id of the path is missing
  await api.GET("/api/v1/users/{user_id}", {});

  // @ts-expect-error TS2322 the id of a user is a number
  await api.GET("/api/v1/users/{user_id}", { params: { path: { user_id: "7" } } });

  // @ts-expect-error TS2322 a limit is a number
  await api.GET("/api/v1/users", { params: { query: { limit: "2" } } });

  // @ts-expect-error TS2353 there is no such parameter
  await api.GET("/api/v1/users", { params: { query: { page: 2 } } });

  // @ts-expect-error TS2353 there is no such header
  await api.PATCH("/api/v1/users/{user_id}", { params: { path, header: { "If-Mach": "*" } }, body: {} });

  // @ts-expect-error TS2345 a login never gets this error
  refused(await api.POST("/api/v1/auth/login", { body }), "token_reused");

  const { data, error } = await api.GET("/api/v1/users");

  // @ts-expect-error TS18048 an error has no page
  data.users;

  // @ts-expect-error TS2367 a listing never gets this error
  if (error?.error === "username_taken") return;

  // @ts-expect-error TS18048 only a 422 has `errors`
  if (error) error.errors["query"];

  // @ts-expect-error TS2339 there is no such field
  data?.users.map((one) => one.price);
}

export function renamed(user: components["schemas"]["User"]): string {
  // @ts-expect-error TS2339 there is no such field
  return user.name;
}
